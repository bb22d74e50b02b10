"""`/v1/accounts`, `/v1/followers/{id}/pnl` and `/equity`: what is on the exchange accounts and what was earned. Never any credentials."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel

from api.errors import READS, answers
from api.followers import FollowerPath, find_follower, own
from api.pages import read_number, read_text, read_time
from api.reading import Freshness, MinPosition, Paging, Reading, rows_of
from api.security import Reader
from engine.domain.values import Venue
from projections.ids import user_id

router = APIRouter(prefix="/v1", tags=["accounts"], responses=answers(*READS))
Text = Annotated[str | None, Query(max_length=128)]


class Account(BaseModel):
    """One exchange account as it was last reported. Amounts in quote."""

    follower_id: str
    exchange: str
    equity: Decimal
    available: Decimal
    reported_at: datetime


class Accounts(BaseModel):
    """A page of accounts."""

    items: list[Account]
    next: str | None
    freshness: Freshness


class Profit(BaseModel):
    """What one whale's copies brought: `net` is realised less fees plus funding; what is open is not in it."""

    whale_id: str | None
    realized: Decimal
    fee_quote: Decimal
    funding: Decimal
    net: Decimal


class Profits(BaseModel):
    """Profit of a follower by whale, and all together. Shadow copies are left out."""

    items: list[Profit]
    net: Decimal
    freshness: Freshness


class Point(BaseModel):
    """The last report of five minutes."""

    exchange: str
    at: datetime
    equity: Decimal
    available: Decimal


class Curve(BaseModel):
    """A page of an equity curve, newest first."""

    items: list[Point]
    next: str | None
    freshness: Freshness


def to_account(row: dict[str, Any]) -> Account:
    """A row as the API shows it."""
    return Account.model_validate(row | {"follower_id": row["follower_key"], "exchange": row["venue"]})


def to_point(row: dict[str, Any]) -> Point:
    """A row as the API shows it."""
    return Point.model_validate(row | {"exchange": row["venue"], "at": row["bucket_at"]})


@router.get("/accounts")
async def list_accounts(
    paging: Paging,
    caller: Reader,
    follower: Text = None,
    exchange: Venue | None = None,
) -> Accounts:
    """Exchange accounts with their newest equity."""
    fresh = await paging.ready()
    filters = {"user_id": rows_of(caller, follower), "venue": exchange}
    rows, following = await paging.rows("list_accounts", filters, ("user_id", "venue"), (read_number, read_text))
    return Accounts(items=[to_account(row) for row in rows], next=following, freshness=fresh)


@router.get("/followers/{follower_id}/pnl", responses=answers(404))
async def get_profit(reads: Reading, caller: Reader, follower_id: FollowerPath, min_position: MinPosition = None) -> Profits:
    """Realised profit, fees and funding by whale."""
    own(caller, follower_id)
    await reads.wait_for(min_position)
    fresh = await reads.freshness()
    await find_follower(reads, caller, follower_id)
    rows = await reads.rows("profit", user_id=user_id(follower_id))
    items = [Profit.model_validate(row | {"whale_id": row["whale_key"]}) for row in rows]
    return Profits(items=items, net=sum((item.net for item in items), Decimal(0)), freshness=fresh)


@router.get("/followers/{follower_id}/equity", responses=answers(404))
async def get_equity(
    paging: Paging,
    caller: Reader,
    follower_id: FollowerPath,
    exchange: Venue | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> Curve:
    """The equity curve in steps of five minutes."""
    own(caller, follower_id)
    fresh = await paging.ready()
    await find_follower(paging.reads, caller, follower_id)
    filters = {"user_id": user_id(follower_id), "venue": exchange, "since": since, "until": until}
    rows, following = await paging.rows("equity_page", filters, ("bucket_at", "venue"), (read_time, read_text))
    return Curve(items=[to_point(row) for row in rows], next=following, freshness=fresh)
