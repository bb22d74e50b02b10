"""`remora demo`: the main job on this machine, from nothing to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.common import Json


def demo(
    fills: Annotated[
        Path | None, typer.Option(help="Recorded fills to play; without it a built-in seeded market.", exists=True, dir_okay=False)
    ] = None,
    followers: Annotated[int, typer.Option(min=1, max=100_000)] = 24,
    speed: Annotated[str, typer.Option(help="`max`, or how many times faster than recorded.")] = "max",
    signals: Annotated[int, typer.Option(min=1, help="Length of the built-in market.")] = 120,
    seed: Annotated[int, typer.Option(help="Seed of the built-in market and of mixed followers.")] = 1,
    mixed: Annotated[bool, typer.Option("--mixed", help="Followers of mixed settings: every mode and limit in use.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up at the end and let the made-up market go on, until interrupted.")] = False,
    deadline: Annotated[float, typer.Option(help="Seconds until the signals must have ended.")] = 570.0,
    json: Json = False,
) -> None:
    """Start everything, create followers on accounts of four venues, play signals, report. Exit 1 when the books do not agree."""
    from ops.demo.job import Options, run_demo

    options = Options(fills, followers, speed, signals, seed, mixed, keep, deadline, json)
    raise typer.Exit(run_demo(options))
