"""Price path and books: prices driven from outside or a seeded walk enter, order books with spread, depth and drift leave.

A book is a pure function of (seed, market, version of the coin's price): the same run sees the same books. Orders eat the book;
it is whole again for the next order, as if market makers had refilled it.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from engine.exchanges.simulator.model import Market

Level = tuple[Decimal, Decimal]
_BPS: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class BookShape:
    """Levels a side, half spread and gap between levels in basis points, quote value of the first level, drift between venues."""

    levels: int = 20
    half_spread_bps: float = 1.0
    gap_bps: float = 1.5
    top_quote: float = 20_000.0
    drift_bps: float = 1.0


@dataclass(slots=True)
class Book:
    """Best prices first. What lies behind the best is made when somebody looks: a poll of all tickers must not hold up an order."""

    version: int
    mid: Decimal
    bid: Level
    ask: Level
    behind: Callable[[], tuple[list[Level], list[Level]]]
    _sides: tuple[list[Level], list[Level]] | None = None

    def _look(self) -> tuple[list[Level], list[Level]]:
        if self._sides is None:
            bids, asks = self.behind()
            self._sides = [self.bid, *bids], [self.ask, *asks]
        return self._sides

    @property
    def bids(self) -> list[Level]:
        """From the highest down."""
        return self._look()[0]

    @property
    def asks(self) -> list[Level]:
        """From the lowest up."""
        return self._look()[1]


class PricePath:
    """Prices by coin. `set` drives a coin for good; `walk` moves the ones that nobody drives."""

    def __init__(self, start: dict[str, Decimal], seed: int, shape: BookShape) -> None:
        self._start, self._prices = dict(start), dict(start)
        self._versions = dict.fromkeys(start, 1)
        self._driven: set[str] = set()
        self._seed, self._shape = seed, shape
        self._random = random.Random(seed)
        self._books: dict[Market, Book] = {}
        self._touches: dict[str, tuple[Level, Level]] = {}

    def set(self, coin: str, price: Decimal) -> None:
        """Drive a coin to a price (quote per the whale's unit)."""
        assert price > 0
        self._prices[coin] = price
        self._versions[coin] += 1
        self._driven.add(coin)

    def follow(self, coin: str, bid: Decimal, bids: Decimal, ask: Decimal, asks: Decimal) -> None:
        """Drive a coin by somebody's best prices and their quantities: they are the first level of its book."""
        touch = (bid, bids), (ask, asks)
        self.add(coin, (bid + ask) / 2)
        if self._touches.get(coin) != touch:
            self._touches[coin] = touch
            self.set(coin, (bid + ask) / 2)

    def walk(self, volatility_bps: float) -> Iterable[str]:
        """One step of the seeded random walk; returns the coins that moved."""
        moved = [coin for coin in self._prices if coin not in self._driven]
        for coin in moved:
            factor = Decimal(repr(round(1 + self._random.gauss(0, volatility_bps) / 10_000, 8)))
            self._prices[coin] = Decimal(format(self._prices[coin] * factor, ".12g"))
            self._versions[coin] += 1
        return moved

    def opened(self, market: Market) -> Decimal:
        """The market's price when the path began, on its tick."""
        return max(_on(self._start[market.coin] * market.price_factor, market.tick, ROUND_FLOOR), market.tick)

    def add(self, coin: str, price: Decimal) -> None:
        """Let the path know one more coin."""
        if coin not in self._prices:
            self._start[coin] = self._prices[coin] = price
            self._versions[coin] = 1

    def mid(self, market: Market) -> Decimal:
        """The market's middle, on its tick; positions are marked to it."""
        return self.book(market).mid

    def book(self, market: Market) -> Book:
        """The market's book for the current price."""
        version = self._versions[market.coin]
        book = self._books.get(market)
        if book is None or book.version != version:
            book = self._books[market] = self._make(market, version)
        return book

    def _make(self, market: Market, version: int) -> Book:
        shape, name = self._shape, f"{self._seed}:{market.venue}:{market.id}:{version}"
        drift = Decimal(repr(round((2 * _share(name, "drift") - 1) * shape.drift_bps, 4))) * _BPS
        mid = self._prices[market.coin] * market.price_factor * (1 + drift)
        touch = self._touches.get(market.coin)
        if touch:
            mid = self._prices[market.coin]
        bid, ask = touch or (self._best(market, mid, -1, name), self._best(market, mid, 1, name))

        def behind() -> tuple[list[Level], list[Level]]:
            rng = random.Random(name)
            return self._behind(market, mid, -1, bid, rng), self._behind(market, mid, 1, ask, rng)

        return Book(version, max(_on(mid, market.tick, ROUND_FLOOR), market.tick), bid, ask, behind)

    def _best(self, market: Market, mid: Decimal, sign: int, name: str) -> Level:
        price = max(self._price(market, mid, sign, self._shape.half_spread_bps), market.tick)
        return price, self._quantity(market, price, 0, _share(name, "bid" if sign < 0 else "ask"))

    def _behind(self, market: Market, mid: Decimal, sign: int, best: Level, rng: random.Random) -> list[Level]:
        shape, levels = self._shape, list[Level]()
        away, last = shape.half_spread_bps, best[0]
        for index in range(1, shape.levels):
            away += shape.gap_bps * (0.5 + rng.random())
            price = self._price(market, mid, sign, away)
            if (price - last) * sign <= 0:
                price = last + sign * market.tick
            if price <= 0:
                break
            levels.append((price, self._quantity(market, price, index, rng.random())))
            last = price
        return levels

    def _price(self, market: Market, mid: Decimal, sign: int, away_bps: float) -> Decimal:
        raw = mid * (1 + sign * Decimal(repr(round(away_bps, 4))) * _BPS)
        return _on(raw, market.tick, ROUND_CEILING if sign > 0 else ROUND_FLOOR)

    def _quantity(self, market: Market, price: Decimal, index: int, share: float) -> Decimal:
        quote = Decimal(round(self._shape.top_quote * (0.5 + share) * (1 + index / 4)))
        return max(_on(quote / price, market.step, ROUND_FLOOR), market.step)


def _share(name: str, what: str) -> float:
    """A number from 0 to 1 that the name alone decides."""
    return zlib.crc32(f"{name}:{what}".encode()) / 0xFFFFFFFF


def _on(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """The multiple of `step` next to `value`, written with the step's decimals."""
    return ((value / step).to_integral_value(rounding) * step).quantize(step)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `value`."""
    return _on(value, step, ROUND_FLOOR)


def take(levels: list[Level], quantity: Decimal, limit: Decimal, side: str) -> list[Level]:
    """What an order of `quantity` takes from the levels, up to its limit price (0: none)."""
    taken: list[Level] = []
    for price, available in levels:
        if quantity <= 0 or (limit and (price > limit if side == "BUY" else price < limit)):
            break
        part = min(available, quantity)
        taken.append((price, part))
        quantity -= part
    return taken


def take_quote(levels: list[Level], budget: Decimal, step: Decimal) -> list[Level]:
    """What a market order that is sized in quote takes: at most `budget`, in whole steps."""
    taken: list[Level] = []
    for price, available in levels:
        part = min(available, floor_to(budget / price, step))
        if part <= 0:
            break
        taken.append((price, part))
        budget -= price * part
    return taken
