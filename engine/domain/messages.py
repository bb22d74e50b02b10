"""Records between our own processes: what enters the inbox, what the executor is told and what it answers.

JSON by msgspec, tagged by `t`. Public input (signals, follower commands, control) is validated by `engine.contracts` first.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.domain.reports import (
    AccountChecked,
    EquityReported,
    FundingReported,
    MarksReported,
    OpenOrdersReported,
    PositionsReported,
    RulesReported,
)
from engine.domain.requests import (
    ClosePosition,
    ConfigureFollower,
    ControlRecord,
    Flatten,
    FollowerCommand,
    FollowWhale,
    Record,
    ReleaseSignals,
    ResyncWhale,
    SetGate,
    SetLogicVersion,
    SetSwitch,
    UnfollowWhale,
)
from engine.domain.values import (
    Mode,
    OrderKind,
    Priority,
    SettledStatus,
    Side,
    Signal,
    Venue,
)

__all__ = [
    "AccountChecked",
    "CancelOrder",
    "ClosePosition",
    "ConfigureFollower",
    "ControlRecord",
    "EquityReported",
    "Execution",
    "ExecutorClaimed",
    "Flatten",
    "FollowWhale",
    "FollowerCommand",
    "FundingReported",
    "InboxBody",
    "InboxRecord",
    "MarketReport",
    "MarksReported",
    "OpenOrdersReported",
    "OrderAttempted",
    "OrderSettled",
    "OrderUnknown",
    "Outcome",
    "PlaceOrder",
    "PositionsReported",
    "ReleaseSignals",
    "ResyncWhale",
    "RulesReported",
    "SetGate",
    "SetLogicVersion",
    "SetSwitch",
    "SignalReceived",
    "SourcePosition",
    "Tick",
    "TradeCommand",
    "UnfollowWhale",
]


# --- trade.commands.v1 -----------------------------------------------------------------------------------------------


class PlaceOrder(Record, frozen=True, kw_only=True, tag="PlaceOrder"):
    """One order for the executor. `symbol`, quantities and prices are the venue's; `command_id` is also the client order id.

    Opens carry `limit_price` (IOC limit) and `expires_at`; exits carry neither and never expire. `leg` counts from 0.
    """

    command_id: str
    follower_id: str
    venue: Venue
    symbol: str
    side: Side
    quantity: Decimal
    kind: OrderKind
    whale_id: str = ""
    cause: str
    """signal_id, or the id of the event or request that caused a command without a signal."""
    leg: int = 0
    leverage: Decimal = Decimal(1)
    limit_price: Decimal | None = None
    reference_price: Decimal | None = None
    """The whale's price in the venue's units: what slippage is measured against."""
    expires_at: int | None = None
    priority: Priority = "medium"
    mode: Mode = "paper"
    detected_at: int = 0
    published_at: int = 0
    received_at: int = 0
    decided_at: int = 0

    @property
    def reduce_only(self) -> bool:
        """Exits can neither open nor reverse."""
        return self.kind == "exit"


class CancelOrder(Record, frozen=True, kw_only=True, tag="CancelOrder"):
    """Do not attempt `command_id` any more, if it was not attempted yet; it then settles as missed (`cancelled`)."""

    command_id: str
    follower_id: str
    cause: str = ""


class TradeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Value of a record on `trade.commands.v1`. `seq` counts per shard from 1 without gaps: receivers drop what they have seen."""

    seq: int
    body: PlaceOrder | CancelOrder


# --- trade.executions.v1 ---------------------------------------------------------------------------------------------


class ExecutorClaimed(Record, frozen=True, kw_only=True, tag="ExecutorClaimed"):
    """A new executor owns this partition; the offset of this record is its epoch. Records of other epochs behind it are void."""

    owner: str
    at: int


class OrderAttempted(Record, frozen=True, kw_only=True, tag="OrderAttempted"):
    """Durable before the socket write. The request is signed with `sent_at`, so the venue refuses it after `sent_at + recv_window_ms`."""

    epoch: int
    seq: int
    attempt: int
    sent_at: int
    recv_window_ms: int
    order: PlaceOrder


class OrderUnknown(Record, frozen=True, kw_only=True, tag="OrderUnknown"):
    """The answer to an attempt proves nothing; it is being queried and is not sent again until proved absent."""

    epoch: int
    seq: int
    command_id: str
    follower_id: str
    attempt: int
    reason: str
    at: int


class OrderSettled(Record, frozen=True, kw_only=True, tag="OrderSettled"):
    """The end state of a command. `filled` is in base units before fees; `fee_base` was taken from the base amount, `fee_quote` from quote.

    status: filled (all), partial (some), unfilled (accepted, nothing traded), rejected (by the venue), missed (never sent or proved
    absent).
    """

    epoch: int
    seq: int
    command_id: str
    follower_id: str
    status: SettledStatus
    reason: str = ""
    raw_code: str = ""
    exchange_order_id: str = ""
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
    fee_base: Decimal = Decimal(0)
    fee_quote: Decimal = Decimal(0)
    attempts: int = 0
    attempted_at: int | None = None
    acknowledged_at: int | None = None
    settled_at: int


Outcome = ExecutorClaimed | OrderSettled | EquityReported | PositionsReported | FundingReported | AccountChecked
"""What the sequencer copies from `trade.executions.v1` into the inbox."""
Execution = Outcome | OrderAttempted | OrderUnknown | OpenOrdersReported
"""Everything on `trade.executions.v1`."""


# --- market.reports.v1 -----------------------------------------------------------------------------------------------


MarketReport = RulesReported | MarksReported


# --- engine.inbox.v1 -------------------------------------------------------------------------------------------------


class SignalReceived(Record, frozen=True, kw_only=True, tag="SignalReceived"):
    """A valid signal, copied to every shard."""

    signal: Signal


class Tick(Record, frozen=True, kw_only=True, tag="Tick"):
    """Time passes: the record's append time is all it says."""


InboxBody = SignalReceived | FollowerCommand | ControlRecord | Outcome | MarketReport | Tick


class SourcePosition(msgspec.Struct, frozen=True, array_like=True):
    """Where an inbox record came from. `source` is a code of `engine.topology.SOURCES`; the shard drops what it has seen."""

    source: str
    partition: int
    offset: int


class InboxRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Value of a record on `engine.inbox.v1`; ticks have no source."""

    body: InboxBody
    src: SourcePosition | None = None
