"""`GET /v1/audit`: who asked for what, newest first, read from the tail of the two topics on which every write stands.

A page begins where the cursor says on each partition, so it stays the same while records arrive. Records of one partition keep their
order; between partitions the time of writing decides, which is the clock of whoever wrote. What is written elsewhere (signals by hand,
keys, the vault, a redrive, an import) has an audit record on the control topic, which stands there before the write.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any, Final

from aiokafka import AIOKafkaConsumer
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from pydantic_core import from_json

from api.audit_words import in_words
from api.errors import READS, BadCursor, answers
from api.security import Admin
from engine.config import Settings
from engine.contracts.types import from_ms
from engine.log.consume import bounds, open_consumer, read_range
from engine.topology import CONTROL, FOLLOWER_COMMANDS, Topic

router = APIRouter(prefix="/v1/audit", tags=["audit"], responses=answers(*READS))
AT_ONCE: Final = asyncio.Semaphore(2)
HIDDEN: Final = frozenset({"t", "request_id", "actor", "follower_id"})
Place = tuple[Topic, int, str]


class Act(BaseModel):
    """One write: who, what and where it stands. `content` is the rest of the record, `summary` says it in a line."""

    position: str
    at: datetime
    actor: str
    kind: str
    follower_id: str | None
    request_id: str
    content: dict[str, Any]
    summary: str = ""


class Acts(BaseModel):
    """A page of the trail. With `actor` a page can be short and still have a next one."""

    items: list[Act]
    next: str | None


@router.get("")
async def get_audit(
    request: Request,
    caller: Admin,
    actor: Annotated[str | None, Query(max_length=128, description="only this actor's, for example `key:...`")] = None,
    cursor: Annotated[str | None, Query(max_length=20_000, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Acts:
    """Writes and switches, newest first."""
    settings: Settings = request.app.state.settings
    before = read_cursor(cursor)
    async with AT_ONCE, open_consumer(settings) as consumer:
        tails = [await _tail(consumer, settings, place, before, limit) for place in _places(settings)]
    acts, rest = merge(tails, limit)
    following = write_cursor(rest) if any(rest[name] > first for name, first, _ in tails) else None
    return Acts(items=[act for act in acts if actor is None or act.actor == actor], next=following)


def _places(settings: Settings) -> list[Place]:
    return [(CONTROL, 0, "c/0"), *((FOLLOWER_COMMANDS, shard, f"f/{shard}") for shard in range(settings.partitions))]


Tail = tuple[str, int, list[Act]]
"""A partition's name, its first offset, and its last records in their order."""


async def _tail(consumer: AIOKafkaConsumer, settings: Settings, place: Place, before: dict[str, int], limit: int) -> Tail:
    topic, partition, name = place
    first, end = await bounds(consumer, settings.topic(topic), partition)
    stop = min(before.get(name, end), end)
    start = max(first, stop - limit)
    acts: list[Act] = []
    async for records in read_range(consumer, settings.topic(topic), partition, start, stop):
        acts += [to_act(f"{name}/{record.offset}", record.value or b"", record.timestamp) for record in records]
    return name, first if stop > first else stop, acts


def to_act(position: str, value: bytes, timestamp_ms: int) -> Act:
    """A record as the trail shows it, also one that nobody could read."""
    try:
        # Unlike json.loads it refuses what no answer could hold: half characters, endless depth.
        found = from_json(value, allow_inf_nan=False)
    except ValueError:
        found = None
    body: dict[str, Any] = found if isinstance(found, dict) else {}
    kind = str(body.get("t", "unreadable"))
    return Act(
        position=position,
        at=from_ms(timestamp_ms),
        actor=str(body.get("actor", "")),
        kind=kind,
        follower_id=str(body["follower_id"]) if "follower_id" in body else None,
        request_id=str(body.get("request_id", "")),
        content={name: value for name, value in body.items() if name not in HIDDEN},
        summary=in_words(kind, body),
    )


def merge(tails: list[Tail], limit: int) -> tuple[list[Act], dict[str, int]]:
    """The newest `limit` of all, newest first, and the offset on each partition before which the next page begins."""
    waiting = {name: list(acts) for name, _, acts in tails}
    rest = {name: _offset(acts[-1]) + 1 if acts else first for name, first, acts in tails}
    chosen: list[Act] = []
    while len(chosen) < limit and (open_ := [name for name, acts in waiting.items() if acts]):
        newest = max(open_, key=lambda name: waiting[name][-1].at)
        chosen.append(waiting[newest].pop())
        rest[newest] = _offset(chosen[-1])
    return chosen, rest


def _offset(act: Act) -> int:
    return int(act.position.rsplit("/", 1)[1])


def write_cursor(rest: dict[str, int]) -> str:
    """Where the next page begins."""
    return base64.urlsafe_b64encode(json.dumps(rest, separators=(",", ":")).encode()).decode()


def read_cursor(cursor: str | None) -> dict[str, int]:
    """Errors: BadCursor."""
    if cursor is None:
        return {}
    try:
        found = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise BadCursor("The cursor is not one that this list gave.") from error
    if not isinstance(found, dict) or not all(type(offset) is int and 0 <= offset < 1 << 62 for offset in found.values()):
        raise BadCursor("The cursor is not one that this list gave.")
    return found
