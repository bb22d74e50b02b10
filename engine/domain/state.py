"""The state of one shard: events enter by folding, decisions read it. Mutable, without clock or I/O, and lean: 100,000 followers a process.

Equal settings and terms share one object (`intern`), empty collections of a follower are `None`. Keys are strings, so that a snapshot is
the structure itself.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, TypeVar

import msgspec

from engine.domain.ids import shard_originator
from engine.domain.messages import PlaceOrder, TradeCommand
from engine.domain.values import Direction, FollowerSettings, FollowTerms, MarketRules, Mode, Priority, Signal, SwitchState, Venue

ZERO = Decimal(0)
ONE = Decimal(1)
DAY_MS = 86_400_000
REMEMBER_MS = 2 * DAY_MS
"""How long a signal or request is remembered as seen (48 h)."""
T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


class _Part(msgspec.Struct, kw_only=True, array_like=True, gc=False, eq=False):
    pass


class Lot(_Part, kw_only=True):
    """A follower's share of a position that stems from one whale. Quantities are positive base units; money is quote.

    `filled` is net of base fees, `cost` what it cost really, `notional` what it cost at the whale's price (caps count this).
    `pending` is in opens not settled, `reserved` in exits not settled, `due` must still leave and has no order.
    """

    whale_id: str
    venue: Venue
    symbol: str
    direction: Direction
    mode: Mode
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    notional: Decimal = ZERO
    pending: Decimal = ZERO
    pending_quote: Decimal = ZERO
    reserved: Decimal = ZERO
    due: Decimal = ZERO
    due_from: str = ""
    """What the ids of the orders for `due` are made of."""
    exit_cause: str = ""
    retry_at: int = 0
    failures: int = 0
    leverage: Decimal = ONE
    waits: dict[str, Decimal] | None = None
    """Pending opens (command_id) to the fraction of their fill that must leave at once."""

    @property
    def empty(self) -> bool:
        """Nothing filled and nothing under way."""
        return not (self.filled or self.pending or self.reserved)

    @property
    def free(self) -> Decimal:
        """What no exit has taken yet."""
        return self.filled - self.reserved


class Carry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Quote that was too small to order and waits for the next copy. It is void once the whale was flat after event `since`."""

    quote: Decimal
    since: int


class Follow(_Part, kw_only=True):
    """One follower's follow of one whale. `since` is the shard's event count when it began; it stays, inactive, after unfollowing."""

    terms: FollowTerms
    active: bool = True
    since: int = 0
    last_open_at: int = 0
    spent: list[str] | None = None
    """The newest whale orders that were copied: later fills of one do not spend a fixed size again."""
    carry: dict[str, Carry] | None = None
    """Accumulated quote by whale symbol."""
    day: int = 0
    day_pnl: Decimal = ZERO
    pnl: Decimal = ZERO
    peak_pnl: Decimal = ZERO


class FollowerState(_Part, kw_only=True):
    """A follower. `number` counts followers of the shard: the order in which they decide."""

    follower_id: str
    number: int
    version: int = 0
    config_version: int = 0
    settings: FollowerSettings
    follows: dict[str, Follow]
    lots: dict[str, Lot] | None = None
    orders: dict[str, PlaceOrder] | None = None
    """Requested and not settled, by command_id."""
    waiting: dict[str, PlaceOrder] | None = None
    """Opens of flips that wait until the old lot is gone."""
    foreign: dict[str, Decimal] | None = None
    suspects: dict[str, Decimal] | None = None
    """What a report said that differed, by account and symbol."""
    funded: dict[str, int] | None = None
    equity: Decimal | None = None
    available: Decimal = ZERO
    equity_at: int = 0
    equity_mode: Mode | None = None
    refused_by: tuple[str, ...] = ()
    """Why the account's check does not allow live trading."""
    capital: Decimal | None = None
    """Equity less our PnL: moves only by transfers."""
    peak: Decimal = ZERO
    pnl: Decimal = ZERO
    day: int = 0
    day_pnl: Decimal = ZERO
    last_open_at: int = 0
    last_outcome_at: int = 0


class WhalePair(_Part, kw_only=True):
    """What is known of one whale on one symbol. `flat_at` is the event count when it was last seen without a position."""

    position: Decimal | None = None
    gap: bool = False
    flat_at: int = 0


class HeldSignal(_Part, kw_only=True):
    """A signal that waits behind a gate. `kept` is what later partial exits of the whale leave of its size."""

    signal: Signal
    gate: str
    number: int
    received_at: int
    kept: Decimal = ONE


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A venue's newest price of a symbol and when it was reported."""

    price: Decimal
    at: int


class Gate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What holds signals back."""

    min_priority: Priority = "low"
    paused: bool = False


class ShardState(_Part, kw_only=True):
    """Everything that a shard knows. `index`, `pool` and `deciding` are derived and in no snapshot."""

    shard: int
    shards: int
    now: int = 0
    version: int = 0
    events: int = 0
    logic_version: int = 1
    command_seq: int = 0
    executor_epoch: int = -1
    gate: Gate = Gate()
    switches: dict[str, SwitchState] = {}
    sources: dict[str, int] = {}
    outbox: list[TradeCommand] = []
    followers: dict[str, FollowerState] = {}
    whales: dict[str, WhalePair] = {}
    held: dict[str, HeldSignal] = {}
    alarms: dict[str, int] = {}
    """Followers whom the clock must look at: exits to retry, opens that wait."""
    rules: dict[str, MarketRules] = {}
    marks: dict[str, Mark] = {}
    seen: dict[str, int] = {}
    requests: dict[str, int] = {}
    index: dict[str, list[FollowerState]] = {}
    pool: dict[bytes, Any] = {}
    deciding: HeldSignal | None = None

    @property
    def originator_id(self) -> str:
        """Originator of the shard's own events."""
        return shard_originator(self.shard)


def new_state(shard: int, shards: int) -> ShardState:
    """A shard before its first event."""
    return ShardState(shard=shard, shards=shards)


def intern(state: ShardState, value: T) -> T:
    """The one object of the shard that is written like `value` (1 and 1.0 are two: what is decided from them is written differently)."""
    shared: T = state.pool.setdefault(_encoder.encode(value), value)
    return shared


ARITHMETIC = Context(prec=28, rounding=ROUND_HALF_EVEN)
"""What every decision is worked out in, whatever other code of the process has done to its own context (ccxt changes the rounding)."""
WIDE = Context(prec=400, rounding=ROUND_HALF_EVEN)
"""For what must not be rounded, and for whole units and fixed places: those raise where more digits than the context's come out."""
_rounded = Context(prec=24, rounding=ROUND_HALF_EVEN)


def units_in(amount: Decimal, unit: Decimal) -> Decimal:
    """How many whole units an amount holds, whatever a contract lets them be: a size that no venue takes is the venue's to refuse."""
    return WIDE.divide_int(amount, unit)


def part_of(quantity: Decimal, fraction: Decimal) -> Decimal:
    """A fraction of a quantity. A third has no last digit: rounding to 24 digits makes a third of three one again, not a step less."""
    return _rounded.multiply(quantity, fraction)


def market_key(venue: str, symbol: str) -> str:
    """Key of rules and marks."""
    return f"{venue}|{symbol}"


def pair_key(whale_id: str, symbol: str) -> str:
    """Key of a whale on a (whale) symbol."""
    return f"{symbol}|{whale_id}"


def lot_key(venue: str, symbol: str, direction: str, mode: str, whale_id: str) -> str:
    """Key of a lot of a follower."""
    return f"{venue}|{symbol}|{direction}|{mode}|{whale_id}"


def order_lot_key(order: PlaceOrder) -> str:
    """Key of the lot that an order opens or exits: an exit's side is the opposite of its lot's."""
    direction = "long" if (order.side == "buy") == (order.kind == "open") else "short"
    return f"{order.venue}|{order.symbol}|{direction}|{order.mode}|{order.whale_id}"


def account_key(venue: str, symbol: str, mode: str) -> str:
    """Key of a symbol on one account."""
    return f"{venue}|{symbol}|{mode}"


def is_of_account(key: str, venue: str, mode: str) -> bool:
    """Whether an `account_key` is one of this account."""
    of_venue, _, of_mode = key.split("|")
    return of_venue == venue and of_mode == mode


def remember(memory: dict[str, int], key: str, at: int) -> None:
    """Note `key` as seen and forget what is older than 48 h (entries are in order of time)."""
    memory[key] = at
    while memory and memory[oldest := next(iter(memory))] < at - REMEMBER_MS:
        del memory[oldest]


def add_to_index(state: ShardState, follower: FollowerState, whale_id: str) -> None:
    """Let the whale's signals reach the follower; copiers are kept in the order of their numbers."""
    copiers = state.index.setdefault(whale_id, [])
    if copiers and follower.number < copiers[-1].number:
        if follower not in copiers:
            copiers.append(follower)
            copiers.sort(key=lambda copier: copier.number)
    elif not copiers or copiers[-1] is not follower:
        copiers.append(follower)


def remove_from_index(state: ShardState, follower: FollowerState, whale_id: str) -> None:
    """The whale's signals concern the follower no more: unfollowed, and no lot is left."""
    copiers = state.index.get(whale_id)
    if copiers and follower in copiers:
        copiers.remove(follower)
