"""The oracle's book of one follower: lots by venue, symbol, direction and whale; what is ordered, what leaves, what was won."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

Json = dict[str, Any]
DAY_MS = 86_400_000
NOTHING = Fraction(0)


class Key(NamedTuple):
    """Whose share of what."""

    venue: str
    symbol: str
    direction: str
    whale: str

    @property
    def sign(self) -> int:
        """1 of a long lot, -1 of a short one."""
        return 1 if self.direction == "long" else -1


class Ordered(NamedTuple):
    """An order that has not ended. Of an open, `leaves` of its fill must go again at once."""

    key: Key
    quantity: Fraction
    reference: Fraction
    leverage: Fraction
    leaves: Fraction = NOTHING


@dataclass
class Lot:
    """What is held, what it cost, what it counts for caps (at the whale's price), and what should have left already."""

    held: Fraction = NOTHING
    cost: Fraction = NOTHING
    counted: Fraction = NOTHING
    due: Fraction = NOTHING
    leverage: Fraction = Fraction(1)
    again_at: int = 0
    failures: int = 0


@dataclass
class Result:
    """Won and lost, in quote: in all, today, and the best there was."""

    total: Fraction = NOTHING
    best: Fraction = NOTHING
    day: int = 0
    today: Fraction = NOTHING

    def add(self, amount: Fraction, now: int) -> None:
        """Book an amount."""
        if self.day != now // DAY_MS:
            self.day, self.today = now // DAY_MS, NOTHING
        self.today += amount
        self.total += amount


@dataclass
class Book:
    """One follower's lots and orders."""

    lots: dict[Key, Lot] = field(default_factory=dict)
    opens: dict[str, Ordered] = field(default_factory=dict)
    exits: dict[str, Ordered] = field(default_factory=dict)
    waiting: dict[str, Ordered] = field(default_factory=dict)
    foreign: dict[tuple[str, str], Fraction] = field(default_factory=dict)
    result: Result = field(default_factory=Result)
    by_whale: dict[str, Result] = field(default_factory=dict)
    capital: Fraction | None = None
    peak: Fraction = NOTHING
    ended_at: int = 0

    def pending(self, key: Key) -> Fraction:
        """Quantity of opens that have not ended."""
        return sum((order.quantity for order in self.opens.values() if order.key == key), NOTHING)

    def leaving(self, key: Key) -> Fraction:
        """Quantity of exits that have not ended."""
        return sum((order.quantity for order in self.exits.values() if order.key == key), NOTHING)

    def shares(self) -> set[Key]:
        """Every lot that is held or ordered."""
        ordered = {order.key for orders in (self.opens, self.exits) for order in orders.values()}
        return ordered | {key for key, lot in self.lots.items() if lot.held}

    def order(self, number: str, kind: str, order: Ordered) -> None:
        """Note an order that was placed."""
        lot = self.lots.setdefault(order.key, Lot())
        if kind == "open":
            self.opens[number] = order
            lot.leverage = order.leverage
        else:
            self.exits[number] = order

    def settle(self, number: str, end: Json, now: int) -> Key:
        """Book an order's end as the venue told it."""
        opened = number in self.opens
        order = (self.opens if opened else self.exits).pop(number)
        lot, gross, fee = self.lots[order.key], Fraction(end.get("filled", 0)), Fraction(end.get("fee_base", 0))
        self.ended_at = max(self.ended_at, end["settled_at"])
        price, paid = Fraction(end.get("average_price") or 0), Fraction(end.get("fee_quote", 0))
        if opened:
            net = max(NOTHING, gross - fee)
            lot.due += order.leaves * net
            self.enter(order, gross, net, price, paid, now)
        else:
            net = min(gross + fee, lot.held)
            self._missed(lot, order.quantity - net, now)
            self.leave(order.key, net, price, paid, now)
        lot.due = max(NOTHING, min(lot.due, lot.held - self.leaving(order.key)))
        self.tidy(order.key)
        return order.key

    def _missed(self, lot: Lot, missing: Fraction, now: int) -> None:
        lot.failures = lot.failures + 1 if missing > 0 else 0
        if missing > 0:
            lot.due += missing
            lot.again_at = now + min(60_000, 1_000 * 2 ** (lot.failures - 1))

    def enter(self, order: Ordered, gross: Fraction, net: Fraction, price: Fraction, fee: Fraction, now: int) -> None:
        """A lot grows."""
        lot = self.lots[order.key]
        if not net:
            return
        lot.held += net
        lot.cost += gross * price
        lot.counted += net * order.reference
        lot.leverage = order.leverage
        self.won(order.key.whale, -fee, now)

    def leave(self, key: Key, quantity: Fraction, price: Fraction, fee: Fraction, now: int) -> None:
        """A lot shrinks; what it cost leaves in proportion."""
        lot = self.lots[key]
        if not quantity:
            return
        kept = (lot.held - quantity) / lot.held
        won = key.sign * (quantity * price - lot.cost * (1 - kept))
        lot.held, lot.cost, lot.counted = lot.held * kept, lot.cost * kept, lot.counted * kept
        self.won(key.whale, won - fee, now)

    def won(self, whale: str, amount: Fraction, now: int) -> None:
        """Book what a whale's lots won or lost."""
        if not amount:
            return
        mine = self.by_whale.setdefault(whale, Result())
        for result in (self.result, mine):
            result.add(amount, now)
        mine.best = max(mine.best, mine.total)
        self.raise_peak()

    def raise_peak(self) -> None:
        """The account's best."""
        if self.capital is not None:
            self.peak = max(self.peak, self.capital + self.result.total)

    def equity(self, amount: Fraction, at: int) -> None:
        """The venue says what the account is worth. While nothing is open, what our result does not explain is a transfer."""
        if self.capital is None:
            self.capital, self.peak = amount - self.result.total, amount
        elif not self.lots and not self.opens and not self.exits and at > self.ended_at:
            transfer = amount - self.capital - self.result.total
            self.capital += transfer
            self.peak += transfer
        self.raise_peak()

    def marked(self, marks: dict[tuple[str, str], tuple[Fraction, int]], whale: str | None = None) -> Iterator[Fraction]:
        """What lots would win at the venues' prices."""
        for key, lot in self.lots.items():
            mark = marks.get((key.venue, key.symbol))
            if lot.held and mark and whale in (None, key.whale):
                yield key.sign * (lot.held * mark[0] - lot.cost)

    def tidy(self, key: Key) -> None:
        """Forget a lot that is over."""
        if not self.lots[key].held and not self.pending(key) and not self.leaving(key):
            del self.lots[key]

    def end_as_dust(self, key: Key) -> None:
        """The rest of a lot cannot be sold: it is nobody's from here on."""
        market, lot = (key.venue, key.symbol), self.lots.pop(key)
        self.foreign[market] = self.foreign.get(market, NOTHING) + key.sign * lot.held
