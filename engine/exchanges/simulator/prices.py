"""Price path and books: prices driven from outside or a seeded walk enter, order books with spread, depth and drift leave.

A book is a pure function of (seed, market, version of the coin's price): the same run sees the same books. Orders eat the book;
it is whole again for the next order, as if market makers had refilled it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
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
    """Best prices first."""

    version: int
    mid: Decimal
    bids: list[Level]
    asks: list[Level]


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
        shape, rng = self._shape, random.Random(f"{self._seed}:{market.venue}:{market.id}:{version}")
        drift = Decimal(repr(round(rng.uniform(-shape.drift_bps, shape.drift_bps), 4))) * _BPS
        mid = self._prices[market.coin] * market.price_factor * (1 + drift)
        touch = self._touches.get(market.coin)
        if touch:
            mid = self._prices[market.coin]
        bids, asks = self._side(market, mid, -1, rng), self._side(market, mid, 1, rng)
        if touch:
            bids, asks = [touch[0], *_beyond(bids, touch[0][0], -1)], [touch[1], *_beyond(asks, touch[1][0], 1)]
        return Book(version, max(_on(mid, market.tick, ROUND_FLOOR), market.tick), bids, asks)

    def _side(self, market: Market, mid: Decimal, sign: int, rng: random.Random) -> list[Level]:
        shape, levels = self._shape, []
        away, last = shape.half_spread_bps, Decimal(0)
        for index in range(shape.levels):
            raw = mid * (1 + sign * Decimal(repr(round(away, 4))) * _BPS)
            price = _on(raw, market.tick, ROUND_CEILING if sign > 0 else ROUND_FLOOR)
            if last and (price - last) * sign <= 0:
                price = last + sign * market.tick
            if price <= 0:
                break
            quote = Decimal(round(shape.top_quote * (0.5 + rng.random()) * (1 + index / 4)))
            levels.append((price, max(_on(quote / price, market.step, ROUND_FLOOR), market.step)))
            last, away = price, away + shape.gap_bps * (0.5 + rng.random())
        return levels


def _beyond(levels: list[Level], best: Decimal, sign: int) -> list[Level]:
    return [level for level in levels if (level[0] - best) * sign > 0]


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
