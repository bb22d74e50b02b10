"""`remora import legacy` and `remora bridge legacy`: moving over from the older system."""

from __future__ import annotations

import asyncio
import getpass
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from engine.config import load_settings
from engine.contracts.audit import RunDetector
from engine.log.note import note
from ops.commands.common import Json, asked, emit

if TYPE_CHECKING:
    from projections.legacy import Bridge

import_app = typer.Typer(help="Bring what another system knows onto the log.", no_args_is_help=True)
bridge_app = typer.Typer(help="Let another system's signals flow onto the log.", no_args_is_help=True)
Source = Annotated[str | None, typer.Option("--from", envvar="REMORA_LEGACY_URL", help="The older database; ours by default.")]


@import_app.command("legacy")
def import_legacy(
    source: Source = None,
    apply: Annotated[bool, typer.Option("--apply", help="Send the commands; without this only show them.")] = False,
    json: Json = False,
) -> None:
    """Turn the older system's users and follows into follower commands. Safe to repeat."""
    from projections import legacy

    settings = load_settings()
    found = asyncio.run(legacy.import_legacy(settings, source or settings.database_url.get_secret_value(), apply, getpass.getuser()))
    commands = [msgspec.to_builtins(command) for command in found.commands]
    emit({"sent": found.sent, "commands": len(commands), "known": found.known, "refused": found.refused, "list": commands}, json)
    if not apply:
        print("this was a preview: repeat with --apply", file=sys.stderr)


@bridge_app.command("legacy")
def bridge_legacy(
    source: Source = None,
    once: Annotated[bool, typer.Option("--once", help="Publish what is pending now and end.")] = False,
    json: Json = False,
) -> None:
    """Publish the older detector's PENDING rows as signals; it works on unchanged."""
    from projections import legacy

    settings = load_settings()
    told = 0

    def watch(state: Bridge) -> None:
        nonlocal told
        if state.published > told:
            told = state.published
            print(f"{told} published, {len(state.refused)} refused", file=sys.stderr)

    asyncio.run(note(settings, asked(RunDetector, detector="legacy")))
    state = asyncio.run(legacy.bridge_legacy(settings, source or settings.database_url.get_secret_value(), once, watch))
    emit({name: value for name, value in asdict(state).items() if name != "seen"}, json)
