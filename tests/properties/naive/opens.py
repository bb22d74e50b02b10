"""A naive answer to an open: the rules in the order of the design, the first that speaks against it is the reason; else its size.

Enters: a signal before one follower. Leaves: a reason, or a quantity and the orders that carry it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from typing import Any

from tests.properties.naive.ends import against
from tests.properties.naive.lots import (
    CLOSE_ONLY,
    FRESH_MARK_MS,
    HALT,
    NONE,
    SPOT,
    Follow,
    Follower,
    Key,
    Lot,
    Order,
    Result,
    World,
    down,
    name_of,
    parts,
    up,
)

ONCE_AN_ORDER = ("fixed_quote", "percent_equity")
OF_EQUITY = ("percent_equity", "proportional_equity")
OPEN_LIFE_MS, EQUITY_LIFE_MS, OLDER_MARK_MS = 60_000, 60_000, 10_000


@dataclass
class Verdict:
    """A reason, or what is opened. `carried` quote waits for the next copy."""

    reason: str = ""
    cut: bool = False
    carried: Fraction = NONE
    orders: list[Order] = field(default_factory=list)


@dataclass
class Asked:
    """A signal before one follower. `kept` is what the whale's later exits left of it while it was held."""

    world: World
    who: Follower
    signal: Any
    symbols: dict[str, str]
    flat_at: int = 0
    gap: bool = False
    gate_closed: bool = False
    kept: Fraction = Fraction(1)
    leaving: bool = False
    first_leg: int = 0

    def __post_init__(self) -> None:
        signal, settings = self.signal, self.who.settings
        self.follow: Follow = self.who.follows[signal.whale_id]
        self.terms = self.follow.terms
        self.limits = (settings.limits, self.terms.limits)
        venue = settings.preferred_exchange
        self.key = Key(venue, self.symbols.get(venue, ""), signal.side == "buy", settings.mode, signal.whale_id)
        self.base = f"{signal.source}|{len(signal.whale_id)}|{signal.whale_id}|{signal.signal_id}"
        self.price = Fraction(signal.price)
        quote, since = self.follow.carried.get(signal.symbol, (NONE, 0))
        self.carried = quote if since >= self.flat_at else NONE
        self.same_order = signal.whale_order_id in self.follow.spent

    def tightest(self, name: str) -> Fraction | None:
        """Of the follower's own limit and that of the follow."""
        return min((Fraction(getattr(limits, name)) for limits in self.limits if getattr(limits, name) is not None), default=None)

    def visible(self) -> list[Lot]:
        """Lots that count; of a flip the old one does not."""
        turned = self.key._replace(long=not self.key.long) if self.leaving else None
        return [lot for lot in self.who.lots.values() if lot.key.mode == self.key.mode and lot.key != turned]

    def waiting(self) -> list[Order]:
        """Opens that wait and count; of a flip those of the old direction do not."""
        turned = self.key._replace(long=not self.key.long) if self.leaving else None
        return [order for order in self.who.waiting if order.key.mode == self.key.mode and order.key != turned]

    def used(self, here: bool, whale: bool) -> Fraction:
        """Quote that is held, ordered or waits: at this market or all, of this whale or all."""
        all_of = [(lot.key, lot.counted + lot.pending_quote) for lot in self.visible()]
        all_of += [(order.key, order.quantity * order.price) for order in self.waiting()]
        return sum((quote for key, quote in all_of if self._meant(key, here, whale)), NONE)

    def _meant(self, key: Key, here: bool, whale: bool) -> bool:
        return (not here or key[:2] == self.key[:2]) and (not whale or key.whale == self.key.whale)

    def markets(self, whale: bool) -> set[tuple[str, str]]:
        """Where something is held, ordered or waits."""
        keys = [lot.key for lot in self.visible()] + [order.key for order in self.waiting()]
        return {key[:2] for key in keys if not whale or key.whale == self.key.whale}

    def rooms(self) -> Iterator[tuple[str, Fraction]]:
        """Each cap that is set, and what it leaves."""
        for name, here in (("max_position", True), ("max_exposure", False)):
            for limits, whale in zip(self.limits, (False, True), strict=True):
                if (cap := getattr(limits, f"{name}_quote")) is not None:
                    yield name, Fraction(cap) - self.used(here, whale)

    def limit_price(self) -> Fraction:
        """The worst price at which the open may fill."""
        bps = self.tightest("max_deviation_bps")
        part, tick = (Fraction(100) if bps is None else bps) / 10_000, self.world.rules[self.key[:2]].tick
        return down(self.price * (1 + part), tick) if self.key.long else up(self.price * (1 - part), tick)


def judge(asked: Asked) -> Verdict:
    """The first reason against it, or its size."""
    reason = next(_refusals(asked), "")
    return Verdict(reason) if reason else _sized(asked)


def _refusals(asked: Asked) -> Iterator[str]:
    signal, settings, terms, world, now = asked.signal, asked.who.settings, asked.terms, asked.world, asked.world.now
    level = world.level(asked.who.name, asked.key.venue, asked.key.whale)
    if now > (signal.detected_at + OPEN_LIFE_MS if signal.expires_at is None else signal.expires_at):
        yield "signal_expired"
    if not settings.copy_trading_enabled:
        yield "copy_trading_disabled"
    if settings.paused or (signal.action == "flip" and asked.gate_closed):
        yield "paused"
    if asked.who.refused and settings.mode == "live":
        yield "account_not_allowed"
    if level >= HALT:
        yield "kill_switch"
    if level == CLOSE_ONLY or asked.gap:
        yield "close_only"
    if not terms.auto_copy_enabled or not asked.follow.active:
        yield "auto_copy_disabled"
    names = {signal.symbol, asked.key.symbol}
    if not names & set(names if terms.symbols_allowed is None else terms.symbols_allowed) or names & set(terms.symbols_denied):
        yield "symbol_not_allowed"
    if asked.key[:2] not in world.rules:
        yield "symbol_not_mapped"
    if terms.trade_types_allowed is not None and signal.trade_type not in terms.trade_types_allowed:
        yield "trade_type_not_allowed"
    if not asked.key.long and asked.key.venue in SPOT:
        yield "short_on_spot"
    place = blake2b(f"{asked.who.name}|{asked.key.whale}".encode(), digest_size=8).digest()
    if int.from_bytes(place, "big") % 100 >= terms.rollout_percent:
        yield "not_in_rollout"
    if terms.start_mode == "until_flat" and asked.flat_at <= asked.follow.since:
        yield "whale_in_position"
    if terms.sizing in ONCE_AN_ORDER and asked.same_order and not asked.carried:
        yield "order_already_copied"
    yield from _late_or_dear(asked)
    yield from _too_much(asked)
    yield from _lost(asked)
    yield from _unknown(asked)


def _late_or_dear(asked: Asked) -> Iterator[str]:
    world, detected_at = asked.world, asked.signal.detected_at
    patience, bps = asked.tightest("max_staleness_ms"), asked.tightest("max_deviation_bps")
    if patience is not None and world.now - detected_at > patience:
        yield "stale"
    mark, at = world.marks.get(asked.key[:2], (NONE, 0))
    if bps is not None and world.now - at <= FRESH_MARK_MS and at >= detected_at - OLDER_MARK_MS:
        worse = mark - asked.price if asked.key.long else asked.price - mark
        if worse * 10_000 > bps * asked.price:
            yield "price_deviation"


def _too_much(asked: Asked) -> Iterator[str]:
    if against(asked.who, asked.key, asked.leaving):
        yield "opposite_position"
    for limits, whale in zip(asked.limits, (False, True), strict=True):
        markets, most = asked.markets(whale), limits.max_open_positions
        if most is not None and asked.key[:2] not in markets and len(markets) >= most:
            yield "max_open_positions"
    yield from (name for name, room in asked.rooms() if room <= 0)


def _marked(asked: Asked, whale: str) -> Fraction:
    total = NONE
    for lot in asked.who.lots.values():
        if lot.filled and whale in ("", lot.key.whale) and lot.key[:2] in asked.world.marks:
            won = lot.filled * asked.world.marks[lot.key[:2]][0] - lot.cost
            total += won if lot.key.long else -won
    return total


def _lost(asked: Asked) -> Iterator[str]:
    who, follow, today = asked.who, asked.follow, asked.world.now // 86_400_000
    both: list[tuple[Any, Result, Fraction]] = [
        (asked.limits[0], who.result, _marked(asked, "")),
        (asked.limits[1], follow.result, _marked(asked, asked.key.whale)),
    ]
    for limits, result, marked in both:
        lost = -(marked + (result.today if result.day == today else NONE))
        if limits.daily_loss_quote is not None and lost >= Fraction(limits.daily_loss_quote):
            yield "daily_loss"
    if who.peak > 0:
        own = NONE if who.capital is None else who.peak - who.capital - who.result.total - both[0][2]
        for limits, lost in zip(asked.limits, (own, follow.result.best - follow.result.total - both[1][2]), strict=True):
            if limits.max_drawdown_percent is not None and lost * 100 >= Fraction(limits.max_drawdown_percent) * who.peak:
                yield "drawdown"
    for limits, last in zip(asked.limits, (who.opened_at, follow.opened_at), strict=True):
        if limits.cooldown_ms is not None and last and not asked.same_order and asked.world.now - last < limits.cooldown_ms:
            yield "cooldown"


def _unknown(asked: Asked) -> Iterator[str]:
    needed = asked.terms.sizing in OF_EQUITY or asked.tightest("max_drawdown_percent") is not None
    if needed and (asked.who.equity is None or asked.world.now - asked.who.equity_at >= EQUITY_LIFE_MS):
        yield "equity_unknown"
    if asked.terms.sizing == "proportional_equity" and not asked.signal.whale_equity:
        yield "whale_equity_unknown"


def _wanted(asked: Asked) -> Fraction:
    terms, signal = asked.terms, asked.signal
    opened = abs(Fraction(signal.position_after)) if signal.action == "flip" else Fraction(signal.quantity)
    notional = opened * asked.price
    margin = sum((lot.pending_quote / lot.leverage for lot in asked.visible()), NONE)
    margin += sum((order.quantity * order.price / order.leverage for order in asked.waiting()), NONE)
    free = max(NONE, (asked.who.equity or NONE) - margin)
    if terms.sizing in ONCE_AN_ORDER and asked.same_order:
        return NONE
    if terms.sizing == "fixed_quote":
        return Fraction(terms.trade_size_usdt) * asked.kept
    if terms.sizing == "percent_equity":
        return free * Fraction(terms.trade_size_percent) / 100 * asked.kept
    if terms.sizing == "multiplier":
        return notional * Fraction(terms.multiplier) * asked.kept
    return free * notional / Fraction(signal.whale_equity) * asked.kept


def _sized(asked: Asked) -> Verdict:
    rules, policy = asked.world.rules[asked.key[:2]], asked.terms.min_size_policy
    wanted = left = _wanted(asked) + asked.carried
    tight, rooms = "", list(asked.rooms())
    for name, room in rooms:
        if room < left:
            tight, left = name, room
    quantity = down(left / asked.price, rules.step)
    least = max(up(rules.least_quote / min(asked.price, asked.limit_price()), rules.step), up(rules.least, rules.step), rules.step)
    if quantity >= least:
        return Verdict(cut=bool(tight), orders=_orders(asked, quantity))
    if tight:
        return Verdict(tight)
    if policy == "accumulate" and wanted:
        return Verdict("below_minimum", carried=wanted)
    if policy == "round_up" and wanted and all(room >= least * asked.price for _, room in rooms):
        return Verdict(orders=_orders(asked, least))
    return Verdict("below_minimum")


def _orders(asked: Asked, quantity: Fraction) -> list[Order]:
    signal, rules, key = asked.signal, asked.world.rules[asked.key[:2]], asked.key
    highest = Fraction(asked.who.settings.max_leverage)
    leverage = max(Fraction(1), min(highest, rules.leverage, Fraction(signal.leverage) if signal.leverage else highest))
    for lot in asked.visible():
        leverage = lot.leverage if lot.key[:2] == key[:2] else leverage
    expires_at = signal.detected_at + OPEN_LIFE_MS if signal.expires_at is None else signal.expires_at
    facts = (Fraction(1) if key.venue in SPOT else leverage, asked.price, asked.limit_price(), expires_at)
    legs = enumerate(parts(quantity, rules), asked.first_leg)
    return [
        Order(name_of(asked.base, asked.who.name, leg), asked.who.name, key, "open", part, leg, signal.signal_id, *facts)
        for leg, part in legs
    ]
