"""`/v1/trades`: one row an order, with the time of each stage, slippage and fees."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from api.errors import READS, Unknown, answers
from api.pages import read_number, read_time
from api.reading import Freshness, MinPosition, Paging, Reading, rows_of
from api.security import Reader
from engine.domain.values import OrderKind, Venue

router = APIRouter(prefix="/v1/trades", tags=["trades"], responses=answers(*READS))
Status = Literal["pending", "attempted", "unknown", "filled", "partial", "unfilled", "rejected", "missed", "shadow"]
Text = Annotated[str | None, Query(max_length=128)]


class Trade(BaseModel):
    """One order. `command_id` is also the client order id; stage times are null until they are known."""

    id: str
    command_id: str | None
    follower_id: str | None
    whale_id: str | None
    cause: str | None
    kind: str | None
    leg: int | None
    mode: str | None
    exchange: str
    symbol: str
    side: str
    quantity: Decimal
    status: str
    reason: str | None
    raw_code: str | None
    exchange_order_id: str | None
    filled: Decimal
    average_price: Decimal | None
    limit_price: Decimal | None
    reference_price: Decimal | None
    slippage_bps: Decimal | None
    fee_base: Decimal
    fee_quote: Decimal
    realized_pnl: Decimal
    attempts: int
    detected_at: datetime | None
    published_at: datetime | None
    received_at: datetime | None
    decided_at: datetime | None
    attempted_at: datetime | None
    acknowledged_at: datetime | None
    settled_at: datetime | None
    created_at: datetime
    origin: str
    version: int


class Trades(BaseModel):
    """A page of orders, newest first."""

    items: list[Trade]
    next: str | None
    freshness: Freshness


class OneTrade(BaseModel):
    """An order and how fresh it is."""

    item: Trade
    freshness: Freshness


def to_trade(row: dict[str, object]) -> Trade:
    """A row as the API shows it."""
    renamed = {"command_id": row["command_key"], "follower_id": row["follower_key"], "whale_id": row["whale_key"]}
    return Trade.model_validate(row | renamed | {"id": str(row["id"])})


@router.get("")
async def list_trades(
    paging: Paging,
    caller: Reader,
    follower: Text = None,
    signal: Text = None,
    whale: Text = None,
    status: Status | None = None,
    exchange: Venue | None = None,
    symbol: Text = None,
    kind: OrderKind | None = None,
) -> Trades:
    """Orders, newest first."""
    fresh = await paging.ready()
    filters = {
        "user_id": rows_of(caller, follower),
        "signal_key": signal,
        "whale": whale,
        "status": status,
        "exchange": exchange,
        "symbol": symbol,
        "kind": kind,
    }
    rows, following = await paging.rows("list_trades", filters, ("created_at", "id"), (read_time, read_number))
    return Trades(items=[to_trade(row) for row in rows], next=following, freshness=fresh)


@router.get("/{command_id}", responses=answers(404))
async def get_trade(
    reads: Reading, caller: Reader, command_id: Annotated[str, Path(max_length=64)], min_position: MinPosition = None
) -> OneTrade:
    """One order by its command id."""
    await reads.wait_for(min_position)
    fresh = await reads.freshness()
    row = await reads.row("get_trade_by_key", command_key=command_id)
    if row is None or not caller.sees(row["follower_key"]):
        raise Unknown(f"There is no order {command_id!r}.")
    return OneTrade(item=to_trade(row), freshness=fresh)
