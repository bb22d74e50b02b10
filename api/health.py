"""`/livez`, `/readyz` and `/v1/health`: alive asks nobody; ready asks Postgres and how fresh the tables are."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.errors import READS, answers
from api.reading import Freshness, Reading, freshness_of
from api.security import Reader
from api.writing import Writes
from projections.reads import Row

router = APIRouter(tags=["health"])
STALE_MS: Final = 30_000
"""A projector that has not looked for this long, or is this far behind, makes the API not ready."""


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """`stale`: the tables can be read, but nobody keeps them up to date. `kafka`: whether writes would be taken."""

    status: Literal["ready", "stale"]
    kafka: bool
    freshness: Freshness


class Partition(BaseModel):
    """How far one partition of the events is projected."""

    partition: int
    position: int
    end_offset: int | None
    lag_seconds: float | None
    checked_ms_ago: int | None
    event_at: datetime | None


class Lag(BaseModel):
    """How far one partition of a topic is projected. `records` that are not in the tables yet, the oldest `lag_seconds` old."""

    topic: str
    partition: int
    position: int
    end_offset: int | None
    records: int | None
    lag_seconds: float | None
    checked_ms_ago: int | None
    event_at: datetime | None


class Lags(BaseModel):
    """Every partition that is projected, and the worst of them."""

    items: list[Lag]
    lag_seconds: float | None
    freshness: Freshness


class Health(BaseModel):
    """Ready or stale, by partition."""

    status: Literal["ready", "stale"]
    partitions: list[Partition]
    freshness: Freshness


def status_of(freshness: Freshness) -> Literal["ready", "stale"]:
    """Fresh enough to be shown without a warning."""
    return "ready" if freshness.age_ms is not None and freshness.age_ms <= STALE_MS else "stale"


@router.get("/livez")
async def livez() -> Alive:
    """The process answers; nothing else is asked."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready}})
async def readyz(request: Request, reads: Reading, response: Response) -> Ready:
    """200 when Postgres answers, the tables are fresh and Kafka answers, else 503."""
    fresh = freshness_of(await reads.partitions())
    status = status_of(fresh)
    writes: Writes = request.app.state.writes
    kafka = await writes.reachable()
    response.status_code = 200 if status == "ready" and kafka else 503
    return Ready(status=status, kafka=kafka, freshness=fresh)


@router.get("/v1/lag", responses=answers(*READS))
async def get_lag(reads: Reading, caller: Reader) -> Lags:
    """Lag of every projected partition, in records and in seconds."""
    rows = await reads.rows("lag")
    fresh = await reads.freshness()
    items = [Lag.model_validate(row | {"records": _records(row)}) for row in rows]
    return Lags(items=items, lag_seconds=max((item.lag_seconds or 0 for item in items), default=None), freshness=fresh)


def _records(row: Row) -> int | None:
    return None if row["end_offset"] is None else max(0, row["end_offset"] - (row["position"] or 0))


@router.get("/v1/health", responses=answers(503))
async def health(reads: Reading) -> Health:
    """How far each partition is projected, and how long ago that was looked at."""
    partitions = await reads.partitions()
    fresh = freshness_of(partitions)
    shown = [Partition.model_validate(row) for row in partitions]
    return Health(status=status_of(fresh), partitions=shown, freshness=fresh)
