"""Events of `follower.events.v1`: what was decided and what came of it. The event store's schema.

Every event has an originator (a follower, or the shard itself as `shard-N`), a version that counts per originator from 1, and an
explicit topic with its schema version (`CopyDecided.v1`), which is the JSON tag `t`. A changed event gets a new tag and an upcaster.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from engine.domain.messages import CancelOrder, PlaceOrder, SourcePosition
from engine.domain.values import (
    Direction,
    FollowerSettings,
    FollowTerms,
    MarketRules,
    Mode,
    Priority,
    Scope,
    SettledStatus,
    Signal,
    SizingMode,
    SwitchState,
    Venue,
)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", gc=False):
    """Base of all events. `at` is the shard's now in ms when it was decided (never a clock)."""

    originator_id: str = msgspec.field(name="o")
    originator_version: int = msgspec.field(name="v")
    at: int = 0


# --- the follower ----------------------------------------------------------------------------------------------------


class FollowerConfigured(Event, frozen=True, kw_only=True, tag="FollowerConfigured.v1"):
    """Settings replaced; `config_version` counts settings and follows together and is cited by decisions."""

    settings: FollowerSettings
    config_version: int
    request_id: str
    actor: str = ""


class WhaleFollowed(Event, frozen=True, kw_only=True, tag="WhaleFollowed.v1"):
    whale_id: str
    terms: FollowTerms
    config_version: int
    request_id: str
    actor: str = ""


class WhaleUnfollowed(Event, frozen=True, kw_only=True, tag="WhaleUnfollowed.v1"):
    whale_id: str
    config_version: int
    request_id: str
    actor: str = ""


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A cap that made a copy smaller: name, notional before and after, in quote."""

    cap: str
    before: Decimal
    after: Decimal


class Sizing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a size came about: mode, the numbers that went in, what was wanted and what was left, in quote and in base units."""

    mode: SizingMode | Literal["exit"]
    inputs: dict[str, Decimal]
    wanted_quote: Decimal
    final_quote: Decimal
    quantity: Decimal
    cuts: tuple[Cut, ...] = ()


class LotExit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an exit does to one lot of the event's venue and symbol, beside the orders that it requests at once.

    `fraction` of what the lot's pending opens still bring leaves when they settle; `due` is the quantity that must still leave and
    has no order (below the minimum, rest of a full close, exits halted); `retry`: not carried but asked for again by the clock.
    """

    direction: Direction
    mode: Mode
    fraction: Decimal
    due: Decimal = Decimal(0)
    retry: bool = False


class CopyDecided(Event, frozen=True, kw_only=True, tag="CopyDecided.v1"):
    """A signal is copied by one follower. `orders` are requests to the executor (shadow mode: recorded, never sent).

    A flip has exit orders of the old direction and either opens in `orders` (nothing to wait for), opens in `waiting` (requested when
    the old lot is gone), or the reason why its open was refused. `direction` is then the new one.
    """

    signal_id: str
    whale_id: str
    symbol: str
    venue: Venue
    venue_symbol: str
    direction: Direction
    outcome: Literal["copied", "reduced"]
    config_version: int
    sizing: Sizing
    orders: tuple[PlaceOrder, ...] = ()
    cancels: tuple[CancelOrder, ...] = ()
    waiting: tuple[PlaceOrder, ...] = ()
    exits: tuple[LotExit, ...] = ()
    open_reason: str = ""
    open_limit: str = ""
    open_value: str = ""


class CopySkipped(Event, frozen=True, kw_only=True, tag="CopySkipped.v1"):
    """A signal is not copied, where the follower's state changes with it (an accumulated size, a carried exit)."""

    signal_id: str
    whale_id: str
    symbol: str
    reason: str
    limit: str = ""
    value: str = ""
    config_version: int
    carried_quote: Decimal | None = None
    carried_quantity: Decimal | None = None
    venue: Venue | None = None
    venue_symbol: str = ""
    exits: tuple[LotExit, ...] = ()


class OrdersRequested(Event, frozen=True, kw_only=True, tag="OrdersRequested.v1"):
    """Orders that follow from something else than a fresh signal: a waiting exit or flip, a manual close, flatten, a drift."""

    cause: str
    whale_id: str
    venue: Venue
    venue_symbol: str
    direction: Direction
    orders: tuple[PlaceOrder, ...] = ()
    cancels: tuple[CancelOrder, ...] = ()
    exits: tuple[LotExit, ...] = ()
    request_id: str = ""


class OpenDropped(Event, frozen=True, kw_only=True, tag="OpenDropped.v1"):
    """Opens that waited for an exit (a flip) are not requested any more."""

    cause: str
    whale_id: str
    venue: Venue
    venue_symbol: str
    command_ids: tuple[str, ...]
    reason: str
    limit: str = ""
    value: str = ""


class OrderEnded(Event, frozen=True, kw_only=True, tag="OrderEnded.v1"):
    """An order's end state folded into its lot. `quantity` is what the lot gained (opens, net of base fees) or lost (exits)."""

    command_id: str
    cause: str
    whale_id: str
    venue: Venue
    venue_symbol: str
    direction: Direction
    kind: Literal["open", "exit"]
    status: SettledStatus
    reason: str = ""
    raw_code: str = ""
    exchange_order_id: str = ""
    filled: Decimal = Decimal(0)
    quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None
    fee_base: Decimal = Decimal(0)
    fee_quote: Decimal = Decimal(0)
    realized_pnl: Decimal = Decimal(0)
    slippage_bps: Decimal | None = None
    attempts: int = 0
    attempted_at: int | None = None
    acknowledged_at: int | None = None
    settled_at: int = 0


class EquityRecorded(Event, frozen=True, kw_only=True, tag="EquityRecorded.v1"):
    venue: Venue
    equity: Decimal
    available: Decimal
    reported_at: int


class FundingRecorded(Event, frozen=True, kw_only=True, tag="FundingRecorded.v1"):
    """Funding split over the lots of a symbol by quantity: whale to amount."""

    venue: Venue
    venue_symbol: str
    funding_id: str
    amount: Decimal
    shares: dict[str, Decimal] = {}
    reported_at: int = 0


class LotAdjustment(msgspec.Struct, frozen=True, array_like=True):
    """What a drift or dust took from a lot."""

    whale_id: str
    direction: Direction
    before: Decimal
    after: Decimal


class DriftDetected(Event, frozen=True, kw_only=True, tag="DriftDetected.v1"):
    """The venue's position differs from the lots. Lots only shrink; `foreign` is the signed quantity that is not ours."""

    venue: Venue
    venue_symbol: str
    expected: Decimal
    reported: Decimal
    foreign: Decimal = Decimal(0)
    mode: Mode = "paper"
    adjustments: tuple[LotAdjustment, ...] = ()


class DriftSuspected(Event, frozen=True, kw_only=True, tag="DriftSuspected.v1"):
    """A report differs from the lots for the first time; the same difference in the next report is a drift. `reported` by symbol."""

    venue: Venue
    reported: dict[str, Decimal]
    reported_at: int


class DustRecorded(Event, frozen=True, kw_only=True, tag="DustRecorded.v1"):
    """The rest of a closed lot is too small to sell; the lot ends."""

    venue: Venue
    venue_symbol: str
    direction: Direction
    whale_id: str
    quantity: Decimal
    mode: Mode = "paper"


class AccountRecorded(Event, frozen=True, kw_only=True, tag="AccountRecorded.v1"):
    venue: Venue
    allowed: bool
    reasons: tuple[str, ...] = ()


# --- the shard -------------------------------------------------------------------------------------------------------


class SignalAdmitted(Event, frozen=True, kw_only=True, tag="SignalAdmitted.v1"):
    """The shard has seen a signal. `held` names the gate that holds it back."""

    signal: Signal
    src: SourcePosition
    held: str = ""


class SignalReleased(Event, frozen=True, kw_only=True, tag="SignalReleased.v1"):
    signal_id: str


class SignalDecided(Event, frozen=True, kw_only=True, tag="SignalDecided.v1"):
    """All of the shard's followers of the whale have decided (also when there are none)."""

    signal_id: str
    followers: int
    copied: int
    orders: int


class SignalExpired(Event, frozen=True, kw_only=True, tag="SignalExpired.v1"):
    signal_id: str


class CopiesSkipped(Event, frozen=True, kw_only=True, tag="CopiesSkipped.v1"):
    """Equal skips share one event; `followers` are (follower_id, config_version). Changes no follower's state."""

    signal_id: str
    whale_id: str
    symbol: str
    reason: str
    limit: str = ""
    value: str = ""
    followers: tuple[tuple[str, int], ...]


class SwitchSet(Event, frozen=True, kw_only=True, tag="SwitchSet.v1"):
    scope: Scope
    target: str
    state: SwitchState
    reason: str = ""
    request_id: str = ""
    actor: str = ""


class GateSet(Event, frozen=True, kw_only=True, tag="GateSet.v1"):
    min_priority: Priority
    paused: bool
    request_id: str = ""
    actor: str = ""


class RulesRecorded(Event, frozen=True, kw_only=True, tag="RulesRecorded.v1"):
    rules: tuple[MarketRules, ...]


class MarksRecorded(Event, frozen=True, kw_only=True, tag="MarksRecorded.v1"):
    venue: Venue
    marks: dict[str, Decimal]
    reported_at: int


class WhaleGapDetected(Event, frozen=True, kw_only=True, tag="WhaleGapDetected.v1"):
    """A break in the whale's position chain: signals were missed; the whale and symbol are close-only until re-synchronised."""

    whale_id: str
    symbol: str
    expected: Decimal
    found: Decimal
    signal_id: str


class WhaleResynced(Event, frozen=True, kw_only=True, tag="WhaleResynced.v1"):
    whale_id: str
    symbol: str
    position: Decimal
    cause: str


class ExecutorChanged(Event, frozen=True, kw_only=True, tag="ExecutorChanged.v1"):
    """A new executor epoch: outcomes of older epochs are void from here on."""

    epoch: int


class LogicVersionSet(Event, frozen=True, kw_only=True, tag="LogicVersionSet.v1"):
    version: int
    request_id: str = ""


FollowerEvent = (
    FollowerConfigured
    | WhaleFollowed
    | WhaleUnfollowed
    | CopyDecided
    | CopySkipped
    | OrdersRequested
    | OpenDropped
    | OrderEnded
    | EquityRecorded
    | FundingRecorded
    | DriftSuspected
    | DriftDetected
    | DustRecorded
    | AccountRecorded
)
ShardEvent = (
    SignalAdmitted
    | SignalReleased
    | SignalDecided
    | SignalExpired
    | CopiesSkipped
    | SwitchSet
    | GateSet
    | RulesRecorded
    | MarksRecorded
    | WhaleGapDetected
    | WhaleResynced
    | ExecutorChanged
    | LogicVersionSet
)
AnyEvent = FollowerEvent | ShardEvent


# --- the log's own marks: not events, never in notifications ---------------------------------------------------------


class ShardClaimed(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="ShardClaimed.v1"):
    """A writer owns the shard; this record's offset is its epoch."""

    shard: int
    owner: str


class RoundCommitted(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="RoundCommitted.v1"):
    """Closes a round. Events behind the last marker count only if `epoch` is the newest claim and `inbox_from` the current position.

    `inbox_to` is the next inbox offset to read; `sources` maps `code/partition` to the next source offset; `digest` chains the bytes of
    all accepted events; `commands_total` is the command sequence after this round, `commands_through` what was surely sent before it.
    """

    epoch: int
    inbox_from: int
    inbox_to: int
    sources: dict[str, int]
    events: int
    first_id: int
    """Notification id of the round's first event; ids count a shard's accepted events from 1."""
    digest: str
    logic_version: int
    commands_through: int
    commands_total: int
    now: int
