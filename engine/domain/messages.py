"""Records between our own processes: what enters the inbox, what the executor is told and what it answers.

JSON by msgspec, tagged by `t`. Public input (signals, follower commands, control) is validated by `engine.contracts` first.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.domain.values import (
    FollowerSettings,
    FollowTerms,
    MarketRules,
    Mode,
    OrderKind,
    Priority,
    Scope,
    SettledStatus,
    Side,
    Signal,
    SwitchState,
    Venue,
    VenuePosition,
)


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", gc=False):
    pass


# --- follower.commands.v1: imperative, one follower each -------------------------------------------------------------


class ConfigureFollower(_Record, frozen=True, kw_only=True, tag="ConfigureFollower"):
    """Create the follower or replace its settings. `request_id` makes a repeat a no-op."""

    request_id: str
    follower_id: str
    settings: FollowerSettings
    actor: str = ""


class FollowWhale(_Record, frozen=True, kw_only=True, tag="FollowWhale"):
    """Begin to follow a whale, or replace the terms of the follow."""

    request_id: str
    follower_id: str
    whale_id: str
    terms: FollowTerms
    actor: str = ""


class UnfollowWhale(_Record, frozen=True, kw_only=True, tag="UnfollowWhale"):
    """Stop opening copies of a whale; its exits go on until the lots are flat."""

    request_id: str
    follower_id: str
    whale_id: str
    actor: str = ""


class ClosePosition(_Record, frozen=True, kw_only=True, tag="ClosePosition"):
    """Close lots by hand: all of the follower's, or those of a symbol (venue symbol) and / or whale."""

    request_id: str
    follower_id: str
    symbol: str | None = None
    whale_id: str | None = None
    actor: str = ""


FollowerCommand = ConfigureFollower | FollowWhale | UnfollowWhale | ClosePosition


# --- engine.control.v1 -----------------------------------------------------------------------------------------------


class SetSwitch(_Record, frozen=True, kw_only=True, tag="SetSwitch"):
    """Set the state of one scope. `target` is the exchange (venue), whale or follower; empty for global."""

    request_id: str
    scope: Scope = "global"
    target: str = ""
    state: SwitchState
    reason: str = ""
    actor: str = ""


class Flatten(_Record, frozen=True, kw_only=True, tag="Flatten"):
    """Close every lot within a scope."""

    request_id: str
    scope: Scope = "global"
    target: str = ""
    reason: str = ""
    actor: str = ""


class SetGate(_Record, frozen=True, kw_only=True, tag="SetGate"):
    """The signal queue's gates: lowest priority that passes, and pause. Exits pass every gate."""

    request_id: str
    min_priority: Priority = "low"
    paused: bool = False
    actor: str = ""


class ReleaseSignals(_Record, frozen=True, kw_only=True, tag="ReleaseSignals"):
    """Let held signals pass. As a request it asks for the next `max_signals` of at least `min_priority`; the sequencer names them once."""

    request_id: str
    signal_ids: tuple[str, ...] = ()
    max_signals: int = 0
    min_priority: Priority = "low"
    actor: str = ""


class ResyncWhale(_Record, frozen=True, kw_only=True, tag="ResyncWhale"):
    """Declare a whale's position on a symbol known again after missed signals; lifts its close-only state."""

    request_id: str
    whale_id: str
    symbol: str
    position: Decimal
    actor: str = ""


class SetLogicVersion(_Record, frozen=True, kw_only=True, tag="SetLogicVersion"):
    """From this record on, decisions follow another logic version."""

    request_id: str
    version: int
    actor: str = ""


ControlRecord = SetSwitch | Flatten | SetGate | ReleaseSignals | ResyncWhale | SetLogicVersion


# --- trade.commands.v1 -----------------------------------------------------------------------------------------------


class PlaceOrder(_Record, frozen=True, kw_only=True, tag="PlaceOrder"):
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


class CancelOrder(_Record, frozen=True, kw_only=True, tag="CancelOrder"):
    """Do not attempt `command_id` any more, if it was not attempted yet; it then settles as missed (`cancelled`)."""

    command_id: str
    follower_id: str
    cause: str = ""


class TradeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Value of a record on `trade.commands.v1`. `seq` counts per shard from 1 without gaps: receivers drop what they have seen."""

    seq: int
    body: PlaceOrder | CancelOrder


# --- trade.executions.v1 ---------------------------------------------------------------------------------------------


class ExecutorClaimed(_Record, frozen=True, kw_only=True, tag="ExecutorClaimed"):
    """A new executor owns this partition; the offset of this record is its epoch. Records of other epochs behind it are void."""

    owner: str
    at: int


class OrderAttempted(_Record, frozen=True, kw_only=True, tag="OrderAttempted"):
    """Durable before the socket write. The request is signed with `sent_at`, so the venue refuses it after `sent_at + recv_window_ms`."""

    epoch: int
    seq: int
    attempt: int
    sent_at: int
    recv_window_ms: int
    order: PlaceOrder


class OrderUnknown(_Record, frozen=True, kw_only=True, tag="OrderUnknown"):
    """The answer to an attempt proves nothing; it is being queried and is not sent again until proved absent."""

    epoch: int
    seq: int
    command_id: str
    follower_id: str
    attempt: int
    reason: str
    at: int


class OrderSettled(_Record, frozen=True, kw_only=True, tag="OrderSettled"):
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


class EquityReported(_Record, frozen=True, kw_only=True, tag="EquityReported"):
    """Account equity in quote: wallet + unrealised, as of `at` (the executor's clock when it asked)."""

    epoch: int
    follower_id: str
    venue: Venue
    equity: Decimal
    available: Decimal
    at: int


class PositionsReported(_Record, frozen=True, kw_only=True, tag="PositionsReported"):
    """All of the account's positions (spot: base balances of mapped coins) as of `at`; `in_flight` orders of the account were open then."""

    epoch: int
    follower_id: str
    venue: Venue
    positions: tuple[VenuePosition, ...]
    in_flight: int
    at: int


class FundingReported(_Record, frozen=True, kw_only=True, tag="FundingReported"):
    """A funding payment of a perpetual position: `amount` is added to the account (negative: paid)."""

    epoch: int
    follower_id: str
    venue: Venue
    symbol: str
    funding_id: str
    amount: Decimal
    at: int


class AccountChecked(_Record, frozen=True, kw_only=True, tag="AccountChecked"):
    """Result of the check of an account's keys and modes; `reasons` says why `live` is refused."""

    epoch: int
    follower_id: str
    venue: Venue
    allowed: bool
    reasons: tuple[str, ...] = ()
    at: int


Outcome = ExecutorClaimed | OrderSettled | EquityReported | PositionsReported | FundingReported | AccountChecked
"""What the sequencer copies from `trade.executions.v1` into the inbox."""
Execution = Outcome | OrderAttempted | OrderUnknown
"""Everything on `trade.executions.v1`."""


# --- market.reports.v1 -----------------------------------------------------------------------------------------------


class RulesReported(_Record, frozen=True, kw_only=True, tag="RulesReported"):
    """Market rules of a venue, on change."""

    venue: Venue
    rules: tuple[MarketRules, ...]
    at: int


class MarksReported(_Record, frozen=True, kw_only=True, tag="MarksReported"):
    """Newest prices of a venue by venue symbol."""

    venue: Venue
    marks: dict[str, Decimal]
    at: int


MarketReport = RulesReported | MarksReported


# --- engine.inbox.v1 -------------------------------------------------------------------------------------------------


class SignalReceived(_Record, frozen=True, kw_only=True, tag="SignalReceived"):
    """A valid signal, copied to every shard."""

    signal: Signal


class Tick(_Record, frozen=True, kw_only=True, tag="Tick"):
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
