"""`/v1/whales`: who is followed or gave signals, what became of those, and the way back after missed ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict

from api.errors import READS, WRITES, Unknown, answers
from api.pages import decode_cursor, encode_cursor, read_number
from api.reading import Freshness, MinPosition, Paging, Reading
from api.security import Admin, Reader
from api.writing import Accepted, Writing
from engine.contracts.types import Id, SignedAmount, Symbol
from engine.domain.messages import ResyncWhale
from projections.ids import whale_number

router = APIRouter(prefix="/v1/whales", tags=["whales"], responses=answers(*READS))
WhalePath = Annotated[Id, Path(alias="whale_id")]


class Whale(BaseModel):
    """A whale, how many follow it now, and its newest signal."""

    whale_id: str
    followers: int
    last_signal: str | None
    last_detected_at: datetime | None
    last_symbol: str | None


class Outcome(BaseModel):
    """Signals of one status, and what they led to."""

    status: str
    signals: int
    copied: int
    trades_executed: int


class Holding(BaseModel):
    """What the whale holds on a symbol, as its newest signal told it."""

    symbol: str
    position: Decimal
    detected_at: datetime
    signal_id: str | None


class Whales(BaseModel):
    """A page of whales, in an order of their own that does not change."""

    items: list[Whale]
    next: str | None
    freshness: Freshness


class OneWhale(BaseModel):
    """A whale, its signals of the last `days` and what it holds."""

    item: Whale
    outcomes: list[Outcome]
    holds: list[Holding]
    freshness: Freshness


class ResyncBody(BaseModel):
    """What the whale holds now, signed base units."""

    model_config = ConfigDict(extra="forbid", strict=True)
    symbol: Symbol
    position: SignedAmount


def to_whale(row: dict[str, Any]) -> Whale:
    """A row as the API shows it; whales of the older system have their number."""
    return Whale.model_validate(row | {"whale_id": row["whale_key"] or str(row["whale_id"])})


@router.get("")
async def list_whales(paging: Paging, caller: Reader) -> Whales:
    """Whales that gave signals or are followed."""
    fresh = await paging.ready()
    after = decode_cursor(paging.cursor, (read_number,))
    rows = await paging.reads.rows("list_whales", after=after[0] if after else 0, limit=paging.limit + 1)
    following = encode_cursor(rows[paging.limit - 1], ("whale_id",)) if len(rows) > paging.limit else None
    return Whales(items=[to_whale(row) for row in rows[: paging.limit]], next=following, freshness=fresh)


@router.get("/{whale_id}", responses=answers(404))
async def get_whale(
    reads: Reading,
    caller: Reader,
    whale_id: WhalePath,
    days: Annotated[int, Query(ge=1, le=366, description="signals of how many days are counted")] = 30,
    min_position: MinPosition = None,
) -> OneWhale:
    """A whale with its outcomes and holdings."""
    await reads.wait_for(min_position)
    fresh = await reads.freshness()
    number = whale_number(whale_id)
    rows = await reads.rows("list_whales", after=number - 1, limit=1)
    if not rows or rows[0]["whale_id"] != number:
        raise Unknown(f"There is no whale {whale_id!r}.")
    outcomes = await reads.rows("whale_counts", whale_id=number, since=datetime.now(UTC) - timedelta(days=days))
    holds = await reads.rows("whale_holds", whale_id=number)
    return OneWhale(
        item=to_whale(rows[0]),
        outcomes=[Outcome.model_validate(row) for row in outcomes],
        holds=[Holding.model_validate(row | {"signal_id": row["signal_key"]}) for row in holds],
        freshness=fresh,
    )


@router.post("/{whale_id}/resync", status_code=202, responses=answers(*WRITES))
async def resync_whale(caller: Admin, write: Writing, whale_id: WhalePath, body: ResyncBody) -> Accepted:
    """Say what a whale holds, so that its opens are copied again after missed signals."""
    asked = write(caller)

    async def build() -> ResyncWhale:
        return ResyncWhale(request_id=asked.id, whale_id=whale_id, symbol=body.symbol, position=body.position, actor=caller.actor)

    return await asked.control(build)
