"""What the venues said: their markets' rules and prices, and which market stands for a whale's. Names come from the venues' custom."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

Json = dict[str, Any]
SPOT = ("binance", "bybit")
BPS = 10_000
FRESH_MS, BEFORE_MS = 150_000, 10_000
THOUSANDS = {"SHIB": {"bybitlinear": "SHIB1000"}, "NEIRO": {"bybitlinear": "1000NEIROCTO"}}
"""Coins whose thousand has a name of its own somewhere; else it is 1000 and the coin."""


class Market(NamedTuple):
    """A venue's market, and how many of its units are one of the whale's."""

    venue: str
    symbol: str
    units: Fraction


def market_of(whale_symbol: str, venue: str) -> Market:
    """Where a venue would list the whale's coin. Hyperliquid writes kBONK for a thousand; futures have 1000BONK, spot has BONK."""
    coin = whale_symbol.split("/")[0]
    thousand = whale_symbol.endswith("/USDC:USDC") and coin.startswith("K") and coin[1:] in TRADED_BY_THOUSAND
    base = coin[1:] if thousand else coin
    if venue in SPOT:
        return Market(venue, f"{base}/USDT", Fraction(1000 if thousand else 1))
    if thousand:
        base = THOUSANDS.get(base, {}).get(venue, f"1000{base}")
    return Market(venue, f"{base}/USDT:USDT", Fraction(1))


TRADED_BY_THOUSAND = ("BONK", "PEPE", "SHIB", "FLOKI", "LUNC", "NEIRO", "DOGS")


@dataclass
class Venues:
    """Rules by venue and symbol, and prices with the time of their report."""

    rules: dict[tuple[str, str], Json] = field(default_factory=dict)
    marks: dict[tuple[str, str], tuple[Fraction, int]] = field(default_factory=dict)

    def note_rules(self, rules: list[Json]) -> None:
        """A venue's rules changed."""
        for rule in rules:
            self.rules[rule["venue"], rule["symbol"]] = rule

    def note_marks(self, venue: str, marks: dict[str, str], at: int) -> None:
        """A venue's prices."""
        for symbol, price in marks.items():
            self.marks[venue, symbol] = (Fraction(price), at)

    def rule(self, market: tuple[str, str], name: str, default: int = 0) -> Fraction:
        """One number of a market's rules."""
        return Fraction(self.rules[market].get(name, default))

    def listed(self, market: Market) -> bool:
        """The venue has the market and trades it."""
        rules = self.rules.get(market[:2])
        return rules is not None and bool(rules.get("active", True))

    def price(self, market: tuple[str, str], now: int, traded_at: int = 0) -> Fraction | None:
        """The venue's price, if it is not old, nor from well before a trade that is newer."""
        mark = self.marks.get(market)
        return mark[0] if mark and now - mark[1] <= FRESH_MS and mark[1] >= traded_at - BEFORE_MS else None

    def steps(self, market: tuple[str, str], quantity: Fraction) -> Fraction:
        """What of a quantity the venue can trade."""
        step = self.rule(market, "step")
        return quantity // step * step

    def at_least(self, market: tuple[str, str], quantity: Fraction) -> Fraction:
        """The smallest tradable quantity that is not below."""
        return -self.steps(market, -quantity)

    def worst(self, market: tuple[str, str], price: Fraction, long: bool, bps: Fraction) -> Fraction:
        """The limit of an open: to the tick that is not beyond it."""
        tick = self.rule(market, "tick")
        limit = price * (BPS + (bps if long else -bps)) / BPS
        return limit // tick * tick if long else -(-limit // tick) * tick

    def smallest(self, market: tuple[str, str], price: Fraction, closing: bool = False) -> Fraction:
        """The smallest order at a price. A closing order of a perpetual has no least value."""
        least = max(self.at_least(market, self.rule(market, "min_quantity")), self.rule(market, "step"))
        if price <= 0 or (closing and market[0] not in SPOT):
            return least
        return max(least, self.at_least(market, self.rule(market, "min_notional") / price))
