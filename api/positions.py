"""`/v1/positions`: one row a lot, what a follower holds because of one whale."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from api.errors import READS, WRITES, Conflict, Unknown, answers
from api.pages import read_number
from api.reading import Freshness, MinPosition, Paging, Reading, rows_of
from api.security import Reader, Trader
from api.writing import Accepted, Writing
from engine.domain.messages import ClosePosition
from engine.domain.values import Venue

router = APIRouter(prefix="/v1/positions", tags=["positions"], responses=answers(*READS))
Text = Annotated[str | None, Query(max_length=128)]


class Position(BaseModel):
    """One lot. `quantity` is held, `pending` and `reserved` are ordered and not ended; profit, fees and funding are of its whole life.
    `unrealised_pnl` is against `mark_price`, the venue's newest, `mark_age_ms` old; null while nothing is held or no mark is known."""

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
    unrealised_pnl: Decimal | None = None
    mark_price: Decimal | None = None
    mark_age_ms: int | None = None
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
    paging: Paging,
    caller: Reader,
    follower: Text = None,
    whale: Text = None,
    status: Literal["open", "pending", "closed"] | None = None,
    exchange: Venue | None = None,
    symbol: Text = None,
) -> Positions:
    """Lots, newest first."""
    fresh = await paging.ready()
    filters = {
        "user_id": rows_of(caller, follower),
        "whale": whale,
        "status": status,
        "exchange": exchange,
        "symbol": symbol,
    }
    rows, following = await paging.rows("list_positions", filters, ("id",), (read_number,))
    return Positions(items=[to_position(row) for row in rows], next=following, freshness=fresh)


@router.post("/{position_id}/close", status_code=202, responses=answers(*WRITES))
async def close_position(
    reads: Reading, caller: Trader, write: Writing, position_id: Annotated[int, Path(ge=0, lt=1 << 63)], min_position: MinPosition = None
) -> Accepted:
    """Close a lot: what this follower holds of this whale's on this market."""
    await reads.wait_for(min_position)
    lot = await reads.row("get_position", id=position_id)
    if lot is None or not caller.sees(lot["follower_key"]):
        raise Unknown(f"There is no position {position_id} that the key may close.")
    asked, follower = write(caller), lot["follower_key"]

    async def build() -> ClosePosition:
        if lot["status"] == "closed":
            raise Conflict("The position is closed already.")
        return ClosePosition(request_id=asked.id, follower_id=follower, symbol=lot["symbol"], whale_id=lot["whale_key"], actor=caller.actor)

    return await asked.command(follower, build)
