"""`/v1/decisions`: why a signal was copied by a follower, copied smaller, or not copied."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.errors import READS, answers
from api.pages import read_number, read_time
from api.reading import Freshness, Paging, rows_of
from api.security import Reader

router = APIRouter(prefix="/v1/decisions", tags=["decisions"], responses=answers(*READS))
Text = Annotated[str | None, Query(max_length=128)]
ORDER = ("decided_at", "signal_id", "user_id")


class Decision(BaseModel):
    """What was decided for one signal and one follower. A skip has a reason, and where one was hit, the limit and what was found."""

    signal_id: str
    follower_id: str
    whale_id: str
    symbol: str
    decided_at: datetime
    outcome: str
    reason: str
    limit: str | None
    value: str | None
    exchange: str | None
    exchange_symbol: str | None
    direction: str | None
    sizing: str | None
    wanted_quote: Decimal | None
    final_quote: Decimal | None
    quantity: Decimal | None
    inputs: dict[str, str] | None
    cuts: list[list[str]] | None
    orders: int
    config_version: int


class Decisions(BaseModel):
    """A page of decisions, newest first."""

    items: list[Decision]
    next: str | None
    freshness: Freshness


def to_decision(row: dict[str, Any]) -> Decision:
    """A row as the API shows it."""
    renamed = {
        "signal_id": row["signal_key"],
        "follower_id": row["follower_key"],
        "whale_id": row["whale_key"],
        "limit": row["limit_value"],
        "value": row["found_value"],
        "exchange": row["venue"],
        "exchange_symbol": row["venue_symbol"],
    }
    return Decision.model_validate(row | renamed)


@router.get("")
async def list_decisions(
    paging: Paging,
    caller: Reader,
    signal: Text = None,
    follower: Text = None,
    whale: Text = None,
    outcome: Literal["copied", "reduced", "skipped"] | None = None,
    reason: Text = None,
) -> Decisions:
    """Decisions, newest first."""
    fresh = await paging.ready()
    filters = {
        "user_id": rows_of(caller, follower),
        "signal_key": signal,
        "whale": whale,
        "outcome": outcome,
        "reason": reason,
    }
    rows, following = await paging.rows("list_decisions", filters, ORDER, (read_time, read_number, read_number))
    return Decisions(items=[to_decision(row) for row in rows], next=following, freshness=fresh)
