"""The virtual venues: orders arrive, executions and positions are the truth that the checker reads.

Rules of the real ones: a receive window, Binance's client ids unique only among open orders (an IOC is never open: the same id executes
again), Bybit's unique for ever, acknowledgements before executions at Bybit, reduce-only orders that cannot open, spot fees in base.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from engine.domain.values import SPOT_VENUES, MarketRules, Venue
from engine.exchanges.port import OrderRequest
from tests.chaos.sim.loop import VirtualLoop

ZERO = Decimal(0)
STEP = Decimal("0.001")
PRICES = {"BTC": Decimal(100), "ETH": Decimal(40)}
DEPOSIT = Decimal(100_000)
Account = tuple[str, str]


def symbols_of(venue: str) -> tuple[str, ...]:
    """Listed symbols."""
    suffix = "/USDT" if venue in SPOT_VENUES else "/USDT:USDT"
    return tuple(coin + suffix for coin in PRICES)


def price_of(symbol: str) -> Decimal:
    """The mid price, which does not move."""
    return PRICES[symbol.split("/")[0]]


def rules_of(venue: Venue) -> tuple[MarketRules, ...]:
    """Market rules; the maximum makes large copies go in legs."""
    return tuple(
        MarketRules(
            venue=venue,
            symbol=symbol,
            step=STEP,
            tick=Decimal("0.01"),
            min_quantity=STEP,
            max_quantity=Decimal(2),
            min_notional=Decimal(5),
            max_leverage=Decimal(20),
        )
        for symbol in symbols_of(venue)
    )


@dataclass
class Faults:
    """Chances of one request, and longest delays in seconds."""

    refused: float = 0.0
    lost: float = 0.0
    reply_lost: float = 0.0
    broken: float = 0.0
    """A 5xx, whatever became of the order."""
    limited: float = 0.0
    slow: float = 0.0
    rejected: float = 0.0
    read_failed: float = 0.0
    late_s: float = 0.0
    lag_s: float = 0.0
    thin: float = 0.0
    """An order that fills only in part, or not at all."""


@dataclass
class Placed:
    """An order that reached the book. `executed` says whether its end is reached."""

    order_id: str
    request: OrderRequest
    visible_at: float
    filled: Decimal = ZERO
    price: Decimal = ZERO
    fee_base: Decimal = ZERO
    fee_quote: Decimal = ZERO
    refused: str = ""
    executed: bool = False


@dataclass
class Book:
    """All venues. Orders by account and client id, in the order of their arrival."""

    loop: VirtualLoop
    random: Random
    faults: Faults = field(default_factory=Faults)
    orders: dict[tuple[str, str, str], list[Placed]] = field(default_factory=lambda: defaultdict(list))
    positions: dict[tuple[str, str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    cash: dict[Account, Decimal] = field(default_factory=lambda: defaultdict(lambda: DEPOSIT))
    executions: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Client id to the number of times that an order with it traded."""

    def arrive(self, account: Account, request: OrderRequest, late: bool) -> tuple[int, Placed | str]:
        """A request at the venue's door: 200 and the order, or a status and the reason why not."""
        venue = account[1]
        if self.loop.now_ms() > request.sent_at + request.recv_window_ms:
            return 400, "clock"
        known = self.orders[(*account, request.client_id)]
        if known and (venue.startswith("bybit") or not known[-1].executed):
            return 400, "duplicate"
        if self.random.random() < self.faults.rejected:
            return 400, "funds"
        if reason := self._impossible(account, request):
            return 400, reason
        now = self.loop.time()
        placed = Placed(f"x{len(self.orders)}-{len(known)}", request, now + self.random.uniform(0.0, self.faults.lag_s))
        known.append(placed)
        later = self.random.uniform(0.0, self.faults.late_s) if late else 0.0
        if later or venue.startswith("bybit"):
            self.loop.outside(later + 0.002, self._execute, account, placed)
        else:
            self._execute(account, placed)
        return 200, placed

    def _impossible(self, account: Account, request: OrderRequest) -> str:
        held = self.positions[(*account, request.symbol)]
        reducible = held if request.side == "sell" else -held
        if account[1] in SPOT_VENUES:
            return "funds" if request.side == "sell" and held < request.quantity else ""
        return "reduce_only" if request.reduce_only and reducible <= 0 else ""

    def _execute(self, account: Account, placed: Placed) -> None:
        """The matching engine: as much as there is, at the mid price or a little off it."""
        request, key = placed.request, (*account, placed.request.symbol)
        placed.executed = True
        quantity = request.quantity
        if request.reduce_only:
            held = self.positions[key]
            quantity = min(quantity, max(ZERO, held if request.side == "sell" else -held))
        if self.random.random() < self.faults.thin:
            quantity = quantity * self.random.choice((0, 1, 2)) // 4 // STEP * STEP
        price = price_of(request.symbol) * (1 + Decimal(self.random.randint(-20, 20)) / 10_000)
        bound = request.limit_price
        if bound is not None and (price > bound if request.side == "buy" else price < bound):
            quantity = ZERO
        if not quantity:
            placed.refused = "NoLiquidity" if account[1].startswith("bybit") and self.random.random() < 0.3 else ""
            return
        self.executions[request.client_id] += 1
        placed.filled, placed.price = quantity, price
        self._settle(account, placed, quantity if request.side == "buy" else -quantity)

    def _settle(self, account: Account, placed: Placed, signed: Decimal) -> None:
        key = (*account, placed.request.symbol)
        if account[1] in SPOT_VENUES and signed > 0:
            placed.fee_base = signed / 1000
        else:
            placed.fee_quote = abs(signed) * placed.price / 2000
        self.positions[key] += signed - placed.fee_base
        self.cash[account] -= signed * placed.price + placed.fee_quote

    def visible(self, account: Account, client_id: str) -> Placed | None:
        """The newest order of a client id that queries show by now."""
        found = [placed for placed in self.orders[(*account, client_id)] if placed.visible_at <= self.loop.time()]
        return found[-1] if found else None

    def held(self, account: Account) -> dict[str, Decimal]:
        """Positions of an account by symbol."""
        return {symbol: quantity for symbol in symbols_of(account[1]) if (quantity := self.positions[(*account, symbol)])}
