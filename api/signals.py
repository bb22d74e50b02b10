"""`/v1/signals`: what whales did, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict

from api.errors import READS, WRITES, Unknown, answers
from api.pages import read_number, read_time
from api.reading import Freshness, MinPosition, Paging, Reading
from api.security import Operator, Reader
from api.writing import Accepted, Writing
from engine.contracts.check import check_data
from engine.contracts.types import Amount, Contract, Id, PositiveAmount, SignedAmount, Symbol, Timestamp, TradeType
from engine.domain.values import Action, Priority, Side, SignalSource
from projections.ids import whale_number

router = APIRouter(prefix="/v1/signals", tags=["signals"], responses=answers(*READS))
Status = Literal["PENDING", "PROCESSING", "PROCESSED", "FAILED", "EXPIRED"]
Text = Annotated[str | None, Query(max_length=128)]


class Signal(BaseModel):
    """One signal. Amounts are strings; `signal_id` is null for rows of the older system."""

    id: str
    signal_id: str | None
    whale_id: str | None
    source: str
    symbol: str
    trade_type: str
    action: str | None
    side: str
    quantity: Decimal | None
    price: Decimal | None
    priority: str
    status: str
    held: str
    trades_executed: int
    followers: int
    copied: int
    orders_sent: int
    orders_ended: int
    detected_at: datetime
    published_at: datetime | None
    received_at: datetime | None
    expires_at: datetime | None
    processed_at: datetime | None
    error_message: str | None
    origin: str
    version: int


class ManualSignal(Contract):
    """A signal by hand: the fields of the contract, with source `manual` and an id from the request. `detected_at` is now when absent."""

    model_config = ConfigDict(extra="forbid")
    whale_id: Id
    symbol: Symbol
    trade_type: TradeType
    action: Action
    side: Side
    quantity: PositiveAmount
    price: PositiveAmount
    position_before: SignedAmount | None = None
    position_after: SignedAmount | None = None
    whale_equity: Amount | None = None
    leverage: PositiveAmount | None = None
    priority: Priority = "medium"
    detected_at: Timestamp | None = None
    expires_at: Timestamp | None = None


class Signals(BaseModel):
    """A page of signals, newest first."""

    items: list[Signal]
    next: str | None
    freshness: Freshness


class OneSignal(BaseModel):
    """A signal and how fresh it is."""

    item: Signal
    freshness: Freshness


def to_signal(row: dict[str, object]) -> Signal:
    """A row as the API shows it."""
    renamed = {"id": str(row["id"]), "signal_id": row["signal_key"], "whale_id": row["whale_key"]}
    return Signal.model_validate(row | renamed)


@router.get("")
async def list_signals(
    paging: Paging,
    caller: Reader,
    status: Status | None = None,
    priority: Priority | None = None,
    source: SignalSource | None = None,
    whale: Text = None,
    symbol: Text = None,
) -> Signals:
    """Signals, newest first."""
    fresh = await paging.ready()
    filters = {
        "status": [status, status.lower()] if status else None,
        "priority": priority,
        "source": source,
        "whale_id": whale_number(whale) if whale else None,
        "symbol": symbol,
    }
    rows, following = await paging.rows("list_signals", filters, ("detected_at", "id"), (read_time, read_number))
    return Signals(items=[to_signal(row) for row in rows], next=following, freshness=fresh)


@router.get("/{signal_id}", responses=answers(404))
async def get_signal(
    reads: Reading, caller: Reader, signal_id: Annotated[str, Path(max_length=64)], min_position: MinPosition = None
) -> OneSignal:
    """One signal by its id on the log."""
    await reads.wait_for(min_position)
    fresh = await reads.freshness()
    row = await reads.row("get_signal_by_key", signal_key=signal_id)
    if row is None:
        raise Unknown(f"There is no signal {signal_id!r}.")
    return OneSignal(item=to_signal(row), freshness=fresh)


@router.post("", status_code=202, responses=answers(*WRITES))
async def publish_signal(caller: Operator, write: Writing, body: ManualSignal) -> Accepted:
    """Publish a signal by hand: every follower of the whale decides on it. Its signal_id is the answer's `id`."""
    asked = write(caller)
    told = body.model_dump(mode="json", exclude_none=True)
    detected = {"detected_at": datetime.now(UTC).isoformat(timespec="milliseconds")}
    signal = check_data(detected | told | {"signal_id": asked.id, "source": "manual"})
    return await asked.signal(signal, f"/remora/api/{caller.actor}")
