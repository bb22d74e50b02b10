"""`remora signal publish | check` and `remora detect fills`: signals from a file onto the log, checked against the contract."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine.config import load_settings
from engine.contracts.audit import PublishSignals, RunDetector
from engine.log.note import note
from ops.commands.common import Json, asked, emit, emit_rows

app = typer.Typer(help="Signals: check them against the contract, publish them by hand.", no_args_is_help=True)
detect = typer.Typer(help="Detectors that read recordings.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A JSON signal, or a list of them.")]


@app.command()
def check(file: File, json: Json = False) -> None:
    """Say for each signal of a file whether it follows the contract, and which field does not; exit 5 when one does not."""
    from engine.contracts.files import check_file

    verdicts = check_file(file)
    emit_rows([asdict(verdict) for verdict in verdicts], json)
    if not all(verdict.accepted for verdict in verdicts):
        raise typer.Exit(5)


@app.command()
def publish(file: File, json: Json = False) -> None:
    """Publish the signals of a JSON file (one, a list, or one a line); nothing is published unless all follow the contract."""
    from engine.contracts.files import read_signals
    from ops.player import play

    settings, signals = load_settings(), read_signals(file)
    if signals:
        first, last = signals[0].signal_id, signals[-1].signal_id
        asyncio.run(note(settings, asked(PublishSignals, signals=len(signals), first_signal_id=first, last_signal_id=last)))
    emit({"published": asyncio.run(play(settings, signals, restamp=False))}, json)


@detect.command()
def fills(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Recorded fills, plain or gzip.")],
    speed: Annotated[str, typer.Option(help="`max`, or how many times faster than recorded.")] = "1",
    json: Json = False,
) -> None:
    """Publish recorded Hyperliquid fills as signals, in their own pace or faster."""
    from ops.player import parse_speed, play_file

    settings, pace = load_settings(), parse_speed(speed)
    asyncio.run(note(settings, asked(RunDetector, detector="fills")))
    emit({"published": asyncio.run(play_file(settings, file, pace))}, json)


@detect.callback()
def _group() -> None:
    """Keeps `fills` a command of its own."""
