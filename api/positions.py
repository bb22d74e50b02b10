"""`/v1/positions`: one row a lot, what a follower holds because of one whale."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.pages import Cursor, Limit, read_number
from api.reading import Freshness, MinPosition, Reading
from engine.domain.values import Venue
from projections.ids import user_id

router = APIRouter(prefix="/v1/positions", tags=["positions"])
Text = Annotated[str | None, Query(max_length=128)]


class Position(BaseModel):
    """One lot. `quantity` is held, `pending` and `reserved` are ordered and not ended; profit, fees and funding are of its whole life."""

    id: str
    follower_id: str | None
    whale_id: str | None
    mode: str | None
    exchange: str
    symbol: str
    side: str
    status: str
    quantity: Decimal
    pending: Decimal
    reserved: Decimal
    entry_price: Decimal | None
    realized_pnl: Decimal
    fee_base: Decimal
    fee_quote: Decimal
    funding: Decimal
    dust: Decimal
    drift: Decimal
    leverage: int
    opened_at: datetime
    closed_at: datetime | None
    updated_at: datetime | None
    origin: str
    version: int


class Positions(BaseModel):
    """A page of lots, newest first."""

    items: list[Position]
    next: str | None
    freshness: Freshness


def to_position(row: dict[str, object]) -> Position:
    """A row as the API shows it."""
    renamed = {"id": str(row["id"]), "follower_id": row["follower_key"], "whale_id": row["whale_key"]}
    return Position.model_validate(row | renamed | {"quantity": row["filled"], "realized_pnl": row["realized"]})


@router.get("")
async def list_positions(
    reads: Reading,
    follower: Text = None,
    whale: Text = None,
    status: Literal["open", "pending", "closed"] | None = None,
    exchange: Venue | None = None,
    symbol: Text = None,
    cursor: Cursor = None,
    limit: Limit = 100,
    min_position: MinPosition = None,
) -> Positions:
    """Lots, newest first."""
    await reads.wait_for(min_position)
    fresh = await reads.freshness()
    filters = {
        "user_id": user_id(follower) if follower else None,
        "whale": whale,
        "status": status,
        "exchange": exchange,
        "symbol": symbol,
    }
    rows, following = await reads.page("list_positions", filters, ("id",), (read_number,), cursor, limit)
    return Positions(items=[to_position(row) for row in rows], next=following, freshness=fresh)
