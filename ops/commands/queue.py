"""`remora queue status | process | pause | resume | gate`: the signal queue as the operator sees and steers it."""

from __future__ import annotations

import asyncio
import getpass
from typing import Annotated, cast

import typer

from api.control import Control, Gate
from engine.config import load_settings
from engine.domain.messages import ControlRecord, ReleaseSignals, SetGate
from engine.domain.values import PRIORITY_RANK, Priority
from ops.commands.common import Json, emit, emit_rows, publish_control, query, request_id

app = typer.Typer(help="The signal queue: what waits, and what lets it pass.", no_args_is_help=True)
MinPriority = Annotated[str, typer.Option(help="high, medium or low.")]

STATUS = """
SELECT upper(status) AS status, priority, count(*) AS signals, min(detected_at) AS oldest
FROM whale_signals GROUP BY 1, 2 ORDER BY 1, 2
"""


@app.command()
def status(json: Json = False) -> None:
    """Signals by status and priority."""
    emit_rows(query(load_settings(), STATUS), json)


@app.command()
def process(
    maximum: Annotated[int, typer.Option("--max", min=1, max=5000)] = 1, min_priority: MinPriority = "low", json: Json = False
) -> None:
    """Let the next waiting signals pass: one, or a batch of at most `--max`."""
    _send(ReleaseSignals(request_id=request_id(), max_signals=maximum, min_priority=_priority(min_priority), actor=getpass.getuser()), json)


@app.command()
def pause(json: Json = False) -> None:
    """Hold all new opens back; exits pass. Which priorities pass when it is over stays as it is."""
    _send(SetGate(request_id=request_id(), paused=True, min_priority=_gate().min_priority, actor=getpass.getuser()), json)


@app.command()
def resume(json: Json = False) -> None:
    """Open every gate again."""
    _send(SetGate(request_id=request_id(), actor=getpass.getuser()), json)


@app.command()
def gate(min_priority: MinPriority, json: Json = False) -> None:
    """Let only signals of at least this priority pass; lower ones wait, and expire. A pause stays a pause."""
    _send(SetGate(request_id=request_id(), paused=_gate().paused, min_priority=_priority(min_priority), actor=getpass.getuser()), json)


def _gate() -> Gate:
    """The gate as it stands."""

    async def read() -> Gate:
        control = Control(load_settings())
        try:
            return (await control.now()).gate
        finally:
            await control.close()

    return asyncio.run(read())


def _priority(text: str) -> Priority:
    if text not in PRIORITY_RANK:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(PRIORITY_RANK)}")
    return cast(Priority, text)


def _send(record: ControlRecord, json: bool) -> None:
    emit({"record": type(record).__name__} | publish_control(record), json)
