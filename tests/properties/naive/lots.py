"""A naive book of lots: what is asked of a follower's shares, and what became of it. It knows no events and shares nothing with the domain.

Enters: exits by fraction, orders, their ends, time. Leaves: the orders and cancels that must be asked for, and every lot. Quantities are
fractions, so nothing rounds but what the rules round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from typing import Any, NamedTuple

NONE, ALL = Fraction(0), Fraction(1)
RUNNING, CLOSE_ONLY, HALT, HALT_EXITS = range(4)
STATES = ("running", "close_only", "halt", "halt_exits")
SPOT = ("binance", "bybit")
FRESH_MARK_MS = 150_000


class Key(NamedTuple):
    """Whose share of what."""

    venue: str
    symbol: str
    long: bool
    mode: str
    whale: str


class Rules(NamedTuple):
    """What a venue demands on one symbol."""

    step: Fraction
    tick: Fraction
    least: Fraction
    most: Fraction | None
    least_quote: Fraction
    leverage: Fraction


@dataclass
class Order:
    """An order that was asked for. `leaving` is the part of an open's fill that must go at once."""

    ident: str
    follower: str
    key: Key
    kind: str
    quantity: Fraction
    leg: int
    cause: str
    leverage: Fraction
    price: Fraction
    limit: Fraction | None = None
    expires_at: int | None = None
    leaving: Fraction = NONE

    def told(self) -> tuple[Any, ...]:
        """What the executor hears of it."""
        side = "buy" if self.key.long == (self.kind == "open") else "sell"
        place = (self.key.venue, self.key.symbol, self.key.mode, self.key.whale)
        return self.ident, self.kind, side, self.quantity, *place, self.leg, self.cause, self.leverage, self.limit, self.expires_at


@dataclass
class Lot:
    """A follower's share of a position that stems from one whale."""

    key: Key
    leverage: Fraction
    filled: Fraction = NONE
    cost: Fraction = NONE
    counted: Fraction = NONE
    opens: dict[str, Order] = field(default_factory=dict)
    exits: dict[str, Order] = field(default_factory=dict)
    due: Fraction = NONE
    due_from: str = ""
    cause: str = ""
    retry_at: int = 0
    failures: int = 0

    @property
    def pending(self) -> Fraction:
        """In opens."""
        return sum((order.quantity for order in self.opens.values()), NONE)

    @property
    def pending_quote(self) -> Fraction:
        """In opens, at the whale's price."""
        return sum((order.quantity * order.price for order in self.opens.values()), NONE)

    @property
    def reserved(self) -> Fraction:
        """In exits."""
        return sum((order.quantity for order in self.exits.values()), NONE)


@dataclass
class Result:
    """Profit: of all times, of one day, and the best of all times."""

    total: Fraction = NONE
    today: Fraction = NONE
    day: int = 0
    best: Fraction = NONE


@dataclass
class Follow:
    """One follow; it stays when it ends."""

    terms: Any
    since: int
    active: bool = True
    opened_at: int = 0
    spent: list[str] = field(default_factory=list)
    carried: dict[str, tuple[Fraction, int]] = field(default_factory=dict)
    result: Result = field(default_factory=Result)


@dataclass
class Follower:
    """One follower with lots, opens of flips that wait, and its account."""

    name: str
    settings: Any
    follows: dict[str, Follow] = field(default_factory=dict)
    lots: dict[Key, Lot] = field(default_factory=dict)
    waiting: list[Order] = field(default_factory=list)
    foreign: dict[tuple[str, str, str], Fraction] = field(default_factory=dict)
    opened_at: int = 0
    equity: Fraction | None = None
    equity_at: int = 0
    refused: bool = False
    capital: Fraction | None = None
    peak: Fraction = NONE
    result: Result = field(default_factory=Result)
    outcome_at: int = 0


@dataclass
class World:
    """What all followers share, and what one record asked for."""

    now: int = 0
    moment: int = 0
    switches: dict[tuple[str, str], int] = field(default_factory=dict)
    rules: dict[tuple[str, str], Rules] = field(default_factory=dict)
    marks: dict[tuple[str, str], tuple[Fraction, int]] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    asked: list[Order] = field(default_factory=list)
    cancelled: list[tuple[str, str]] = field(default_factory=list)
    dropped: list[tuple[str, str, str]] = field(default_factory=list)

    def level(self, follower: str, venue: str, whale: str) -> int:
        """The strictest switch of the four that concern a copy."""
        scopes = (("global", ""), ("exchange", venue), ("whale", whale), ("follower", follower))
        return max(self.switches.get(scope, RUNNING) for scope in scopes)

    def worth(self, lot: Lot) -> Fraction:
        """Of a unit: the price now, else what it cost."""
        price, at = self.marks.get(lot.key[:2], (NONE, -FRESH_MARK_MS - 1))
        if self.now - at <= FRESH_MARK_MS:
            return price
        return lot.cost / lot.filled if lot.filled else NONE


def down(quantity: Fraction, step: Fraction) -> Fraction:
    """To a multiple of the step."""
    return quantity // step * step


def up(quantity: Fraction, step: Fraction) -> Fraction:
    """To a multiple of the step."""
    return -(-quantity // step) * step


def name_of(base: str, follower: str, leg: int) -> str:
    """An order's id."""
    return blake2b(f"{base}\x1f{follower}\x1f{leg}".encode(), digest_size=16).hexdigest()


def parts(quantity: Fraction, rules: Rules) -> list[Fraction]:
    """In as few nearly equal orders as the venue takes, the larger ones first."""
    if rules.most is None or quantity <= rules.most:
        return [quantity]
    steps, most = int(quantity / rules.step), int(rules.most // rules.step)
    count = (steps + most - 1) // most
    return [(steps // count + (1 if leg < steps % count else 0)) * rules.step for leg in range(count)]


@dataclass
class Exit:
    """What leaving a lot means."""

    lot: Lot
    fraction: Fraction
    wanted: Fraction
    due: Fraction
    halted: bool
    price: Fraction
    orders: list[Order] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)

    @property
    def only_carried(self) -> bool:
        """Nothing goes now, although something should."""
        return not self.orders and not self.lot.opens and (self.wanted > 0 or not self.lot.exits)


def too_little(rules: Rules, venue: str, quantity: Fraction, price: Fraction) -> bool:
    """Whether a venue would refuse an exit. Only spot has a least value."""
    return quantity < max(up(rules.least, rules.step), rules.step) or (venue in SPOT and quantity * price < rules.least_quote)


def plan_exit(world: World, who: Follower, lot: Lot, fraction: Fraction, cause: str, base: str, price: Any = None, leg: int = 0) -> Exit:
    """A fraction of what is filled and not leaving yet, and all that is due."""
    rules, free = world.rules[lot.key[:2]], lot.filled - lot.reserved
    wanted = free if fraction == ALL else fraction * (free - lot.due) + lot.due
    price = world.worth(lot) if price is None else price
    halted = world.level(who.name, lot.key.venue, lot.key.whale) == HALT_EXITS
    plan, quantity = Exit(lot, fraction, wanted, wanted, halted, price), down(wanted, rules.step)
    if not halted and not too_little(rules, lot.key.venue, quantity, price):
        for number, part in enumerate(parts(quantity, rules), leg):
            ident = name_of(base, who.name, number)
            plan.orders.append(Order(ident, who.name, lot.key, "exit", part, number, cause, lot.leverage, price))
        plan.due = wanted - quantity if wanted == free else NONE
    if fraction == ALL:
        plan.cancels = [order.ident for order in lot.opens.values() if order.leaving != ALL]
    return plan


def carry_out(world: World, who: Follower, plan: Exit, cause: str) -> None:
    """Do what was planned."""
    lot = plan.lot
    lot.due, lot.cause = plan.due, cause
    if plan.due:
        side = "long" if lot.key.long else "short"
        place = "|".join((lot.key.venue, lot.key.symbol, side, lot.key.mode, lot.key.whale))
        lot.due_from = f"{cause}:due:{world.now}:{place}"
    lot.retry_at = world.now + 1000 if plan.halted and plan.due else 0
    for order in lot.opens.values():
        order.leaving = ALL - (ALL - order.leaving) * (ALL - plan.fraction)
    world.cancelled += [(who.name, ident) for ident in plan.cancels]
    for order in plan.orders:
        request(world, who, order)
    forget_empty(who)


def request(world: World, who: Follower, order: Order) -> None:
    """Ask for an order; in shadow mode it is filled at once at the whale's price."""
    lot = who.lots.setdefault(order.key, Lot(order.key, order.leverage))
    world.asked.append(order)
    if order.kind == "open":
        lot.leverage = order.leverage
    if order.key.mode == "shadow":
        price = order.price or (lot.cost / lot.filled if lot.filled else NONE)
        fill(world, who, lot, order, order.quantity, order.quantity, price, NONE)
        return
    (lot.opens if order.kind == "open" else lot.exits)[order.ident] = order
    world.orders[order.ident] = order


def fill(world: World, who: Follower, lot: Lot, order: Order, gross: Fraction, net: Fraction, price: Fraction, fee: Fraction) -> None:
    """A trade changes the lot and the profit."""
    if order.kind == "open":
        lot.filled, lot.cost, lot.counted = lot.filled + net, lot.cost + gross * price, lot.counted + net * (order.price or price)
        book(world, who, lot.key, -fee)
        return
    if not lot.filled:
        return
    part = net / lot.filled
    won = net * price - lot.cost * part
    lot.filled, lot.cost, lot.counted = lot.filled - net, lot.cost * (1 - part), lot.counted * (1 - part)
    book(world, who, lot.key, (won if lot.key.long else -won) - fee)


def book(world: World, who: Follower, key: Key, amount: Fraction) -> None:
    """Profit of the follower and of the follow; what is won in another mode is other money."""
    if key.mode != who.settings.mode:
        return
    day = world.now // 86_400_000
    for result in (who.result, who.follows[key.whale].result):
        result.today = amount + (result.today if result.day == day else NONE)
        result.total, result.day = result.total + amount, day
        result.best = max(result.best, result.total)
    if who.capital is not None:
        who.peak = max(who.peak, who.capital + who.result.total)


def forget_empty(who: Follower) -> None:
    """Lots without anything filled or under way are gone."""
    who.lots = {key: lot for key, lot in who.lots.items() if lot.filled or lot.opens or lot.exits}
