"""The answer to an open, an increase, or the second half of a flip: the first rule that speaks against it, else its size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from typing import Any, NamedTuple

from tests.oracle.book import NOTHING, Book, Result
from tests.oracle.venue import BPS, SPOT, Market, Venues, market_of

Json = dict[str, Any]
OPEN_LIFE_MS, EQUITY_LIFE_MS, DAY_MS = 60_000, 60_000, 86_400_000
ONCE_AN_ORDER = ("fixed_quote", "percent_equity")
NEED_EQUITY = ("percent_equity", "proportional_equity")
USUAL_BPS = 100
REMEMBERED_ORDERS = 8

REASONS = {
    *("signal_expired", "copy_trading_disabled", "paused", "account_not_allowed", "kill_switch", "close_only", "auto_copy_disabled"),
    *("symbol_not_allowed", "symbol_not_mapped", "trade_type_not_allowed", "short_on_spot", "not_in_rollout", "whale_in_position"),
    *("order_already_copied", "stale", "price_deviation", "opposite_position", "max_open_positions", "max_position", "max_exposure"),
    *("daily_loss", "drawdown", "cooldown", "equity_unknown", "whale_equity_unknown", "below_minimum"),
    *("nothing_to_close", "exits_not_copied", "whale_closed"),
}
"""Every reason that there is: the design's list, and what the decisions 0010 to 0018 added."""


class Verdict(NamedTuple):
    """What must be answered: a reason, or a quantity. `carried` quote waits for the next copy."""

    reason: str = ""
    quantity: Fraction = NOTHING
    cut: bool = False
    carried: Fraction = NOTHING


@dataclass
class Follow:
    """A follow, with what it remembers."""

    terms: Json
    since: int
    orders: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_ORDERS))
    carried: dict[str, tuple[Fraction, int]] = field(default_factory=dict)
    opened_at: int = 0


@dataclass
class Follower:
    """One follower: settings, follows, account."""

    name: str
    settings: Json
    follows: dict[str, Follow] = field(default_factory=dict)
    book: Book = field(default_factory=Book)
    equity: tuple[Fraction, int] | None = None
    refused: bool = False
    opened_at: int = 0


@dataclass
class Asked:
    """A signal that is put to one follower, at a moment, on a market. `flat_at`: when the whale was last seen without a position."""

    signal: Json
    now: int
    venues: Venues
    follower: Follower
    flat_at: int
    gap: bool = False

    def __post_init__(self) -> None:
        self.follow = self.follower.follows[self.signal["whale_id"]]
        self.market: Market = market_of(self.signal["symbol"], self.follower.settings.get("preferred_exchange", "binance"))
        self.price = Fraction(self.signal["price"]) / self.market.units
        self.long = self.signal["side"] == "buy"

    @property
    def limits(self) -> tuple[Json, Json]:
        """The follower's own limits and those of the follow."""
        return self.follower.settings.get("limits", {}), self.follow.terms.get("limits", {})

    def tightest(self, name: str) -> Fraction | None:
        """The stricter of the two."""
        return min((Fraction(limits[name]) for limits in self.limits if limits.get(name) is not None), default=None)

    @property
    def sizing(self) -> str:
        """How the follow sizes."""
        return str(self.follow.terms.get("sizing", "fixed_quote"))

    @property
    def carried(self) -> Fraction:
        """What was too small before, if the whale was not flat since."""
        quote, since = self.follow.carried.get(self.signal["symbol"], (NOTHING, 0))
        return quote if since >= self.flat_at else NOTHING

    @property
    def same_order(self) -> bool:
        """Another fill of a whale order that was copied already."""
        return self.signal.get("whale_order_id") in self.follow.orders


def judge(asked: Asked, leaving: bool = False) -> Verdict:
    """The first reason against an open, or its quantity. With `leaving`, the follower's own lot of the other side is on its way out."""
    reason = next(_against(asked), "")
    if reason:
        return Verdict(reason)
    exposure = Exposure(asked, leaving)
    reason = next(_against_more(asked, exposure), "")
    return Verdict(reason) if reason else _size(asked, exposure)


def _against(asked: Asked) -> Iterator[str]:
    signal, settings, terms = asked.signal, asked.follower.settings, asked.follow.terms
    if asked.now > signal.get("expires_at", signal["detected_at"] + OPEN_LIFE_MS):
        yield "signal_expired"
    if not settings.get("copy_trading_enabled", True):
        yield "copy_trading_disabled"
    if settings.get("paused", False):
        yield "paused"
    if asked.follower.refused and settings.get("mode") == "live":
        yield "account_not_allowed"
    if asked.gap:
        yield "close_only"
    if not terms.get("auto_copy_enabled", True):
        yield "auto_copy_disabled"
    names = {signal["symbol"], asked.market.symbol}
    allowed = terms.get("symbols_allowed")
    if (allowed is not None and not names & set(allowed)) or names & set(terms.get("symbols_denied", ())):
        yield "symbol_not_allowed"
    if not asked.venues.listed(asked.market):
        yield "symbol_not_mapped"
    if terms.get("trade_types_allowed") is not None and signal["trade_type"] not in terms["trade_types_allowed"]:
        yield "trade_type_not_allowed"
    if not asked.long and asked.market.venue in SPOT:
        yield "short_on_spot"
    if not _rolled_out(asked):
        yield "not_in_rollout"
    if terms.get("start_mode", "until_flat") == "until_flat" and asked.flat_at <= asked.follow.since:
        yield "whale_in_position"
    if asked.sizing in ONCE_AN_ORDER and asked.same_order and not asked.carried:
        yield "order_already_copied"
    yield from _late_or_dear(asked)


def _late_or_dear(asked: Asked) -> Iterator[str]:
    patience, bps = asked.tightest("max_staleness_ms"), asked.tightest("max_deviation_bps")
    if patience is not None and asked.now - asked.signal["detected_at"] > patience:
        yield "stale"
    mark = asked.venues.price(asked.market[:2], asked.now, asked.signal["detected_at"])
    if bps is not None and mark is not None:
        worse = (mark - asked.price) if asked.long else (asked.price - mark)
        if worse * BPS / asked.price > bps:
            yield "price_deviation"


def _rolled_out(asked: Asked) -> bool:
    """A follow has a place from 0 to 99 that never changes."""
    digest = blake2b(f"{asked.follower.name}|{asked.signal['whale_id']}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 100 < int(asked.follow.terms.get("rollout_percent", 100))


class Exposure:
    """What the follower holds and has ordered, as this open sees it. Amounts count at the whale's prices."""

    def __init__(self, asked: Asked, leaving: bool) -> None:
        self.against = self.here = self.here_whale = self.all = self.all_whale = self.margin = NOTHING
        self.markets: set[tuple[str, str]] = set()
        self.whale_markets: set[tuple[str, str]] = set()
        self.leverage: Fraction | None = None
        book, whale, side = asked.follower.book, asked.signal["whale_id"], "long" if asked.long else "short"
        for key in book.shares():
            lot, opens = book.lots[key], [order for order in book.opens.values() if order.key == key]
            other = key[:2] == asked.market[:2] and key.direction != side
            if other and leaving and key.whale == whale:
                continue
            self.against += lot.held + book.pending(key) if other else 0
            if key[:2] == asked.market[:2]:
                self.leverage = lot.leverage
            pending = sum((order.quantity * order.reference for order in opens), NOTHING)
            self.margin += pending / lot.leverage
            self._count(key, lot.counted + pending, asked.market[:2], whale)
        for order in book.waiting.values():
            other = order.key[:2] == asked.market[:2] and order.key.direction != side
            if other and leaving and order.key.whale == whale:
                continue
            self.against += order.quantity if other else 0
            self.margin += order.quantity * order.reference / order.leverage
            self._count(order.key, order.quantity * order.reference, asked.market[:2], whale)
        foreign = book.foreign.get(asked.market[:2], NOTHING)
        self.against += abs(foreign) if foreign and (foreign > 0) != asked.long else 0

    def _count(self, key: Any, quote: Fraction, here: tuple[str, str], whale: str) -> None:
        market, own = key[:2], key.whale == whale
        self.all += quote
        self.all_whale += quote if own else 0
        self.here += quote if market == here else 0
        self.here_whale += quote if market == here and own else 0
        self.markets.add(market)
        if own:
            self.whale_markets.add(market)

    def caps(self, asked: Asked) -> Iterator[tuple[str, Fraction]]:
        """Each cap that is set, and the room that it leaves."""
        own, follow = asked.limits
        for name, limits, used in (
            ("max_position", own, self.here),
            ("max_position", follow, self.here_whale),
            ("max_exposure", own, self.all),
            ("max_exposure", follow, self.all_whale),
        ):
            if limits.get(f"{name}_quote") is not None:
                yield name, Fraction(limits[f"{name}_quote"]) - used


def _against_more(asked: Asked, exposure: Exposure) -> Iterator[str]:
    if exposure.against:
        yield "opposite_position"
    for limits, markets in zip(asked.limits, (exposure.markets, exposure.whale_markets), strict=True):
        most = limits.get("max_open_positions")
        if most is not None and asked.market[:2] not in markets and len(markets) >= most:
            yield "max_open_positions"
    yield from (name for name, room in exposure.caps(asked) if room <= 0)
    yield from _lost_too_much(asked)
    if not asked.same_order:
        for limits, last in zip(asked.limits, (asked.follower.opened_at, asked.follow.opened_at), strict=True):
            if limits.get("cooldown_ms") is not None and last and asked.now - last < limits["cooldown_ms"]:
                yield "cooldown"
    needs = asked.sizing in NEED_EQUITY or asked.tightest("max_drawdown_percent") is not None
    if needs and (asked.follower.equity is None or asked.now - asked.follower.equity[1] >= EQUITY_LIFE_MS):
        yield "equity_unknown"
    if asked.sizing == "proportional_equity" and not Fraction(asked.signal.get("whale_equity", 0)):
        yield "whale_equity_unknown"


def _lost_too_much(asked: Asked) -> Iterator[str]:
    book, whale = asked.follower.book, asked.signal["whale_id"]
    mine = book.by_whale.get(whale, Result())
    marked = [sum(book.marked(asked.venues.marks, of), NOTHING) for of in (None, whale)]
    for limits, result, now_worth in zip(asked.limits, (book.result, mine), marked, strict=True):
        today = result.today if result.day == asked.now // DAY_MS else NOTHING
        if limits.get("daily_loss_quote") is not None and -(today + now_worth) >= Fraction(limits["daily_loss_quote"]):
            yield "daily_loss"
    if book.peak <= 0 or book.capital is None:
        return
    below = (book.peak - book.capital - book.result.total - marked[0], mine.best - mine.total - marked[1])
    for limits, lost in zip(asked.limits, below, strict=True):
        if limits.get("max_drawdown_percent") is not None and lost * 100 / book.peak >= Fraction(limits["max_drawdown_percent"]):
            yield "drawdown"


def _wanted(asked: Asked, exposure: Exposure) -> Fraction:
    terms, signal = asked.follow.terms, asked.signal
    opened = abs(Fraction(signal["position_after"])) if signal["action"] == "flip" else Fraction(signal["quantity"])
    notional = opened * Fraction(signal["price"])
    free = max(NOTHING, asked.follower.equity[0] - exposure.margin) if asked.follower.equity else NOTHING
    if asked.sizing in ONCE_AN_ORDER and asked.same_order:
        return NOTHING
    if asked.sizing == "fixed_quote":
        return Fraction(terms.get("trade_size_usdt", 0))
    if asked.sizing == "percent_equity":
        return free * Fraction(terms.get("trade_size_percent", 0)) / 100
    if asked.sizing == "multiplier":
        return notional * Fraction(terms.get("multiplier", 1))
    return free * notional / Fraction(signal["whale_equity"])


def _size(asked: Asked, exposure: Exposure) -> Verdict:
    market, policy = asked.market[:2], asked.follow.terms.get("min_size_policy", "skip")
    wanted = _wanted(asked, exposure) + asked.carried
    rooms = list(exposure.caps(asked))
    tight = next(((name, room) for name, room in rooms if room == min(room for _, room in rooms)), ("", wanted))
    left = min(wanted, tight[1])
    quantity = asked.venues.steps(market, left / asked.price)
    bps = asked.tightest("max_deviation_bps")
    limit = asked.venues.worst(market, asked.price, asked.long, Fraction(USUAL_BPS) if bps is None else bps)
    least = asked.venues.smallest(market, min(asked.price, limit))
    if quantity >= least:
        return Verdict(quantity=quantity, cut=left < wanted)
    if left < wanted:
        return Verdict(tight[0])
    if policy == "accumulate" and wanted > 0:
        return Verdict("below_minimum", carried=wanted)
    if policy == "round_up" and wanted > 0 and all(room >= least * asked.price for _, room in rooms):
        return Verdict(quantity=least)
    return Verdict("below_minimum")
