"""`remora rebuild`: the read models filled again from the log beside the live ones, compared, and swapped; a preview by default."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from engine.config import load_settings
from engine.errors import ConfigInvalid
from ops.commands.common import Json, emit

if TYPE_CHECKING:
    from projections.rebuild import Progress as Filling


def rebuild(
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this only say what would be read.")] = False,
    until: Annotated[str | None, typer.Option(help="With --apply: fill only what was appended by this ISO time, swap nothing.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Swap although the new tables differ from the live ones.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the tables before the last swap, caught up.")] = False,
    json: Json = False,
) -> None:
    """Rebuild every read model from offset 0 while the live ones are read and written. Killed at any point, it goes on where it was."""
    from projections import rebuild as work

    settings, until_ms = load_settings(), _milliseconds(until)
    if rollback:
        report = asyncio.run(work.rollback(settings))
    elif not apply:
        report = asyncio.run(work.plan(settings))
    else:
        with _bar() as bar:
            task = bar.add_task("filling", total=None)

            def watch(filling: Filling) -> None:
                bar.update(task, completed=filling.done, total=filling.total)

            report = asyncio.run(work.rebuild(settings, until_ms, accept, watch))
    emit(_plain(asdict(report)), json)
    if not apply and not rollback:
        Console(stderr=True).print("this was a preview: repeat with --apply")


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _milliseconds(until: str | None) -> int | None:
    if until is None:
        return None
    try:
        return int(datetime.fromisoformat(until).timestamp() * 1000)
    except ValueError:
        raise ConfigInvalid(f"--until takes an ISO time, not {until!r}.") from None


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """Partitions as text: JSON has no tuples for keys."""
    return report | {"targets": {str(key): end for key, end in report["targets"].items()}}
