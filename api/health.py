"""`/livez`, `/readyz` and `/v1/health`: alive asks nobody; ready asks Postgres and how fresh the tables are."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.reading import Freshness, Reading, freshness_of

router = APIRouter(tags=["health"])
STALE_MS: Final = 30_000
"""A projector that has not looked for this long, or is this far behind, makes the API not ready."""


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """`stale`: the tables can be read, but nobody keeps them up to date."""

    status: Literal["ready", "stale"]
    freshness: Freshness


class Partition(BaseModel):
    """How far one partition of the events is projected."""

    partition: int
    position: int
    end_offset: int | None
    lag_seconds: float | None
    checked_ms_ago: int | None
    event_at: datetime | None


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
async def readyz(reads: Reading, response: Response) -> Ready:
    """200 when Postgres answers and the tables are fresh, else 503."""
    fresh = await reads.freshness()
    status = status_of(fresh)
    response.status_code = 200 if status == "ready" else 503
    return Ready(status=status, freshness=fresh)


@router.get("/v1/health")
async def health(reads: Reading) -> Health:
    """How far each partition is projected, and how long ago that was looked at."""
    partitions = await reads.partitions()
    fresh = freshness_of(partitions)
    shown = [Partition.model_validate(row) for row in partitions]
    return Health(status=status_of(fresh), partitions=shown, freshness=fresh)
