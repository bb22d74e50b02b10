"""What the matching engine works on: markets, accounts, orders, fills. Amounts are Decimal, times are integer milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

ZERO: Final = Decimal(0)
OPEN_STATUSES: Final = frozenset({"NEW", "PARTIALLY_FILLED", "UNTRIGGERED", "PENDING"})
BOTH: Final = "BOTH"


class Refused(Exception):
    """The exchange says no: `reason` is ours, each venue's wire module turns it into its own code and message."""

    def __init__(self, reason: str, **detail: object) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """One market of one venue. `coin` is the whale's market whose price drives it, times `price_factor`; `raw` is the venue's own record
    when the market was listed from one."""

    venue: str
    id: str
    symbol: str
    base: str
    coin: str
    price_factor: Decimal
    tick: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    max_market_qty: Decimal
    min_price: Decimal
    max_price: Decimal
    min_notional: Decimal
    max_leverage: int
    raw: dict[str, Any] | None = None

    @property
    def is_spot(self) -> bool:
        """Spot market, else a linear perpetual settled in USDT."""
        return self.venue in ("binance", "bybit")


@dataclass(slots=True, eq=False)
class Fill:
    """One execution against one price level."""

    id: int
    order: Order
    price: Decimal
    quantity: Decimal
    quote: Decimal
    fee: Decimal
    fee_asset: str
    at_ms: int
    maker: bool
    realized: Decimal


@dataclass(frozen=True, slots=True)
class Payment:
    """One funding payment of a position: `amount` was added to the wallet."""

    id: int
    market: Market
    at_ms: int
    amount: Decimal
    rate: Decimal
    size: Decimal
    mark: Decimal


@dataclass(frozen=True, slots=True)
class MarginChange:
    """An isolated position's margin was changed by its owner: `amount` (added when positive)."""

    market: Market
    side: str
    at_ms: int
    amount: Decimal


@dataclass(slots=True, eq=False)
class NewOrder:
    """An order as a client asked for it, in the engine's words; `echo` holds what a venue only repeats."""

    market: Market
    side: str
    type: str
    quantity: Decimal
    client_id: str
    price: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    time_in_force: str = "GTC"
    reduce_only: bool = False
    position_side: str = BOTH
    trigger_price: Decimal = ZERO
    trigger_rises: bool = True
    post_only: bool = False
    echo: dict[str, str] = field(default_factory=dict)

    @property
    def is_market(self) -> bool:
        """No limit price: it eats the book until it is done or the book is empty."""
        return self.price == 0


@dataclass(slots=True, eq=False)
class Order:
    """An order in the books of the exchange."""

    id: int
    account: Account
    ask: NewOrder
    quantity: Decimal
    status: str
    created_ms: int
    updated_ms: int
    received_us: int
    filled: Decimal = ZERO
    quote: Decimal = ZERO
    fills: list[Fill] = field(default_factory=list)
    locked: Decimal = ZERO
    lock_asset: str = ""
    triggered: bool = False
    visible_ms: int = 0
    archived: bool = False
    reject_reason: str = ""

    @property
    def market(self) -> Market:
        """The market that it trades."""
        return self.ask.market

    @property
    def is_open(self) -> bool:
        """Still able to fill."""
        return self.status in OPEN_STATUSES

    @property
    def remaining(self) -> Decimal:
        """What is left to fill."""
        return self.quantity - self.filled

    @property
    def average(self) -> Decimal:
        """Average fill price: exact when its digits end within ten decimals, else rounded there; zero while unfilled."""
        return (self.quote / self.filled).quantize(Decimal("1e-10")) if self.filled else ZERO

    def fees(self) -> dict[str, Decimal]:
        """Fees so far by asset."""
        total: dict[str, Decimal] = {}
        for fill in self.fills:
            total[fill.fee_asset] = total.get(fill.fee_asset, ZERO) + fill.fee
        return total


@dataclass(slots=True, eq=False)
class Balance:
    """One asset of one account."""

    free: Decimal = ZERO
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """What the account owns."""
        return self.free + self.locked


@dataclass(slots=True, eq=False)
class Position:
    """A perpetual position: signed quantity in base units and the average entry price."""

    market: Market
    side: str
    quantity: Decimal = ZERO
    entry: Decimal = ZERO
    realized: Decimal = ZERO
    created_ms: int = 0
    updated_ms: int = 0
    added: Decimal = ZERO
    """Margin that the owner of an isolated position put on top; gone once it is flat."""
    stops: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Account:
    """One API key at one exchange (`binance`, `binanceusdm`, `bybit`) with its money and its settings."""

    exchange: str
    api_key: str
    secret: bytes
    uid: int
    label: str = ""
    can_withdraw: bool = False
    can_trade: bool = True
    hedge: bool = False
    permissions: tuple[str, ...] = ()
    balances: dict[str, Balance] = field(default_factory=dict)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    leverage: dict[str, int] = field(default_factory=dict)
    margin_type: dict[str, str] = field(default_factory=dict)
    account_margin_mode: str = "REGULAR_MARGIN"
    multi_assets: bool = False
    margin_changes: list[MarginChange] = field(default_factory=list)
    orders: dict[int, Order] = field(default_factory=dict)
    by_client: dict[str, Order] = field(default_factory=dict)
    open_orders: dict[int, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    realtime_from_ms: int = 0
    forgotten: set[int] = field(default_factory=set)

    def balance(self, asset: str) -> Balance:
        """The balance of an asset, created empty when missing."""
        found = self.balances.get(asset)
        if found is None:
            found = self.balances[asset] = Balance()
        return found

    def position(self, market: Market, side: str = BOTH) -> Position:
        """The position of a market and side, created flat when missing."""
        key = (market.id, side)
        found = self.positions.get(key)
        if found is None:
            found = self.positions[key] = Position(market, side)
        return found

    def leverage_of(self, market: Market) -> int:
        """Leverage of a market: as set, else what a fresh account has (20 at Binance, 10 at Bybit), within the market's limit."""
        return self.leverage.get(market.id) or min(20 if self.exchange == "binanceusdm" else 10, market.max_leverage)


def plain(value: Decimal) -> str:
    """Exact decimal text without exponent and without trailing zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text not in ("-0", "") else "0"


def fixed8(value: Decimal) -> str:
    """Binance spot's form: eight decimals."""
    return format(value, ".8f")
