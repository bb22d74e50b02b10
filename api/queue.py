"""`/v1/queue`: what waits, by status and priority, and what ended lately."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.pages import Limit
from api.reading import Freshness, MinPosition, Reading
from engine.domain.values import Priority

router = APIRouter(prefix="/v1/queue", tags=["queue"])


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


@router.get("")
async def get_queue(
    reads: Reading,
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
