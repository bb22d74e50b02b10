"""`/v1/queue`: what waits, by status and priority, what ended lately, and what lets the waiting pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.control import Control, Controlled
from api.errors import READS, WRITES, answers
from api.pages import Limit
from api.reading import Freshness, MinPosition, Reading
from api.security import Admin, Principal, Reader
from api.writing import Accepted, Write, Writing
from engine.domain.messages import ReleaseSignals, SetGate
from engine.domain.values import Priority

router = APIRouter(prefix="/v1/queue", tags=["queue"], responses=answers(*READS))


class Waiting(BaseModel):
    """A signal that waits."""

    signal_id: str | None
    whale_id: str | None
    symbol: str
    side: str
    priority: str
    held: str
    detected_at: datetime
    expires_at: datetime | None


class Queue(BaseModel):
    """Counts by status and priority, the signals that are next, and counts by status of the last `minutes`."""

    waiting: dict[str, dict[str, int]]
    oldest_pending_at: datetime | None
    recent: dict[str, int]
    next_up: list[Waiting]
    freshness: Freshness


class ProcessBody(BaseModel):
    """How many waiting signals may pass, the highest priority first."""

    model_config = ConfigDict(extra="forbid", strict=True)
    max_signals: int = Field(1, ge=1, le=5000)
    min_priority: Priority = "low"


class GateBody(BaseModel):
    """The whole gate: what is absent has its default, open."""

    model_config = ConfigDict(extra="forbid", strict=True)
    paused: bool = False
    min_priority: Priority = "low"


@router.get("")
async def get_queue(
    reads: Reading,
    caller: Reader,
    min_priority: Priority = "low",
    minutes: Annotated[int, Query(ge=1, le=1440)] = 60,
    limit: Limit = 20,
    min_position: MinPosition = None,
) -> Queue:
    """The signal queue as it stands."""
    await reads.wait_for(min_position)
    fresh = await reads.freshness()
    waiting: dict[str, dict[str, int]] = {"PENDING": {}, "PROCESSING": {}}
    for row in await reads.rows("queue_counts"):
        waiting[row["status"]][row["priority"]] = row["signals"]
    recent = {row["status"]: row["signals"] for row in await reads.rows("queue_done", minutes=minutes)}
    oldest = await reads.row("queue_oldest")
    next_up = await reads.rows("pending_signals", lowest=min_priority, limit=limit)
    return Queue(
        waiting=waiting,
        oldest_pending_at=oldest["oldest"] if oldest else None,
        recent=recent,
        next_up=[Waiting.model_validate(row | {"signal_id": row["signal_key"], "whale_id": row["whale_key"]}) for row in next_up],
        freshness=fresh,
    )


@router.post("/process", status_code=202, responses=answers(*WRITES))
async def process(caller: Admin, write: Writing, body: ProcessBody) -> Accepted:
    """Let the next waiting signals pass; which, the sequencer says once for all shards."""
    asked = write(caller)

    async def build() -> ReleaseSignals:
        return ReleaseSignals(request_id=asked.id, max_signals=body.max_signals, min_priority=body.min_priority, actor=caller.actor)

    return await asked.control(build)


@router.put("/gate", status_code=202, responses=answers(*WRITES))
async def set_gate(caller: Admin, write: Writing, body: GateBody) -> Accepted:
    """Set the gate: pause, and the lowest priority that passes; lower ones wait, and expire. Exits pass every gate."""
    asked = write(caller)

    async def build() -> SetGate:
        return SetGate(request_id=asked.id, paused=body.paused, min_priority=body.min_priority, actor=caller.actor)

    return await asked.control(build)


@router.post("/pause", status_code=202, responses=answers(*WRITES))
async def pause(caller: Admin, write: Writing, control: Controlled) -> Accepted:
    """Hold all new opens back; the lowest priority stays as it is."""
    return await _set_paused(caller, write, control, True)


@router.post("/resume", status_code=202, responses=answers(*WRITES))
async def resume(caller: Admin, write: Writing, control: Controlled) -> Accepted:
    """End a pause; the lowest priority stays as it is."""
    return await _set_paused(caller, write, control, False)


async def _set_paused(caller: Principal, write: Callable[[Principal], Write], control: Control, paused: bool) -> Accepted:
    asked = write(caller)

    async def build() -> SetGate:
        lowest = (await control.now()).gate.min_priority
        return SetGate(request_id=asked.id, paused=paused, min_priority=lowest, actor=caller.actor)

    return await asked.control(build)
