"""Events of a follower: settings, decisions on signals, orders and their ends, equity, funding, drift."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from engine.domain.messages import CancelOrder, PlaceOrder
from engine.domain.values import (
    Direction,
    FollowerSettings,
    FollowTerms,
    Mode,
    SettledStatus,
    SizingMode,
    Venue,
)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", gc=False):
    """Base of all events. `at` is the shard's now in ms when it was decided (never a clock)."""

    originator_id: str = msgspec.field(name="o")
    originator_version: int = msgspec.field(name="v")
    at: int = 0


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
    """`mode`, here and below: whose orders the account takes, paper or live; None where one account takes all."""

    venue: Venue
    equity: Decimal
    available: Decimal
    reported_at: int
    mode: Mode | None = None


class FundingRecorded(Event, frozen=True, kw_only=True, tag="FundingRecorded.v1"):
    """Funding split over the lots of a symbol by quantity: whale to amount."""

    venue: Venue
    venue_symbol: str
    funding_id: str
    amount: Decimal
    shares: dict[str, Decimal] = {}
    reported_at: int = 0
    mode: Mode | None = None


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
    mode: Mode | None = None


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
