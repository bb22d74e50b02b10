"""`remora replay | verify | explain`: the log folded again, held against itself, and told as a story."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from engine.config import load_settings
from ops.commands.common import Json, emit_rows

Shard = Annotated[int | None, typer.Option(help="Only this shard.")]
CHECK_FAILED = 5


def replay(
    shard: Shard = None,
    until: Annotated[str | None, typer.Option(help="An offset of the shard's events, or an ISO time of its own clock.")] = None,
    json: Json = False,
) -> None:
    """Fold the events from zero and say to what: positions and digests. Writes nothing."""
    from ops.replay import replay as fold

    emit_rows([asdict(found) for found in asyncio.run(fold(load_settings(), shard, until))], json)


def verify(shard: Shard = None, json: Json = False) -> None:
    """Fold from zero, from the snapshot, and decide again: exit 5 unless everything agrees with what was live."""
    from ops.replay import verify as hold

    found = asyncio.run(hold(load_settings(), shard))
    emit_rows([asdict(shard) | {"ok": shard.ok} for shard in found], json)
    if not all(shard.ok for shard in found):
        raise typer.Exit(CHECK_FAILED)


def explain(
    subject: Annotated[str, typer.Argument(help="A signal's id, or an order's client order id.")],
    follower: Annotated[str | None, typer.Argument(help="Only this follower.")] = None,
    json: Json = False,
) -> None:
    """Why a signal was copied or not, with the numbers and the version of the settings; and what became of its orders."""
    from ops.explain import print_story, story_of

    settings = load_settings()
    print_story(asyncio.run(story_of(settings, subject, follower)), json)
