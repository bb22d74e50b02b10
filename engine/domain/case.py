"""A signal laid out for its followers: what is equal for all of them is worked out once, what is equal for the same terms once a terms.

Enters: the shard's state and the signal that is being decided. Leaves: markets by venue, and a plan for each pair of settings and terms.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from engine.domain.events import CopyDecided, Sizing
from engine.domain.ids import command_id, signal_name
from engine.domain.limits import MARK_FRESH_MS, View, caps_exposure
from engine.domain.messages import PlaceOrder
from engine.domain.signal_queue import closing_fraction, expires_at
from engine.domain.sizing import (
    DEFAULT_DEVIATION_BPS,
    EQUITY_MODES,
    limit_price,
    open_quantity,
    sizing_inputs,
    smallest_open,
    wanted_quote,
)
from engine.domain.state import ONE, ZERO, Follow, HeldSignal, Mark, ShardState, WhalePair, market_key, pair_key, part_of
from engine.domain.symbols import Listing, lookup
from engine.domain.values import (
    SIDE_OF_OPEN,
    SPOT_VENUES,
    VENUES,
    Direction,
    FollowerSettings,
    FollowTerms,
    Limits,
    MarketRules,
    Venue,
)


class Refusal(NamedTuple):
    """Why a copy did not happen: reason code, the limit that was held against it, and the value that broke it."""

    reason: str
    limit: str = ""
    value: str = ""


class Carried(NamedTuple):
    """Too small to order; the quote waits for the next copy."""

    quote: Decimal
    refusal: Refusal


class Opening(NamedTuple):
    """A copy that is to be opened."""

    sizing: Sizing
    orders: tuple[PlaceOrder, ...]


MARK_BEFORE_MS = 10_000
"""How much older than the whale's trade a mark may be to stand against an open."""
LAST = 1000
"""Rank of no refusal."""


class Market(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A signal's market at one venue: price is the whale's in the venue's units; `listing` and `rules` are None when unknown."""

    venue: Venue
    symbol: str = ""
    listing: Listing | None = None
    rules: MarketRules | None = None
    price: Decimal = ZERO
    mark: Decimal | None = None
    moved_to: Decimal | None = None
    """The mark, if it is newer than the whale's trade."""

    @property
    def known_mark(self) -> dict[str, Decimal]:
        """For the decision's inputs: what moved between the whale's trade and this mark is delay, what comes after it slippage."""
        return {} if self.moved_to is None else {"mark": self.moved_to}


class CopyPlan(msgspec.Struct, kw_only=True, gc=False):
    """What an open is for every follower with the same settings and terms. Amounts in quote unless named otherwise."""

    settings: FollowerSettings
    terms: FollowTerms
    market: Market
    view: View
    wanted: Decimal | None = None
    """The size where it is the same for everybody."""
    inputs: dict[str, Decimal] = {}
    needs_equity: bool = False
    capped: bool = False
    """Any limit looks at what the follower holds."""
    limited: bool = False
    """Any cap, loss limit or cooldown is set: they must be looked at one by one."""
    limit: Decimal = ZERO
    minimum: Decimal = ZERO
    unit: Decimal = ONE
    """Notional of one step."""
    refusal: Refusal | None = None
    """Why nobody with these terms copies."""
    rank: int = LAST
    sizing: Sizing | Refusal | None = None
    """Ready-made where nothing depends on the follower."""
    order: PlaceOrder | None = None
    decided: CopyDecided | None = None


class SignalCase:
    """One signal before the shard's followers."""

    def __init__(self, state: ShardState, held: HeldSignal) -> None:
        signal = held.signal
        self.state, self.held, self.signal, self.now = state, held, signal, state.now
        self.whale_id = signal.whale_id
        self.base = signal_name(signal.source, signal.whale_id, signal.signal_id)
        self.direction: Direction = "long" if signal.side == "buy" else "short"
        self.leaving: Direction = "short" if signal.side == "buy" else "long"
        self.fraction = ZERO if signal.action in ("open", "increase") else closing_fraction(signal)
        pair = state.whales.get(pair_key(signal.whale_id, signal.symbol)) or WhalePair()
        self.gap, self.flat_at = pair.gap, pair.flat_at
        self.expires_at = expires_at(signal)
        self.quantity, self.kept = open_quantity(signal), held.kept
        self.markets: dict[str, Market] = {venue: self._market(venue) for venue in VENUES}
        self.symbols = {venue: market.symbol for venue, market in self.markets.items()}
        self.any_follower_switch = any(key.startswith("follower|") for key in state.switches)

    def _market(self, venue: Venue) -> Market:
        signal, state = self.signal, self.state
        listing = lookup(signal.symbol, venue)
        if listing is None:
            return Market(venue=venue)
        key = market_key(venue, listing.venue_symbol)
        mark = state.marks.get(key)
        return Market(
            venue=venue,
            symbol=listing.venue_symbol,
            listing=listing,
            rules=state.rules.get(key),
            price=signal.price * listing.price_factor,
            mark=mark.price if mark and self._tells(mark) else None,
            moved_to=mark.price if mark and self._tells(mark) and mark.at > signal.detected_at else None,
        )

    def _tells(self, mark: Mark) -> bool:
        """A mark from well before the whale's trade says less about the price now than the trade itself."""
        return self.now - mark.at <= MARK_FRESH_MS and mark.at >= self.signal.detected_at - MARK_BEFORE_MS

    def order_id(self, follower_id: str, leg: int) -> str:
        """Id of the order number `leg` of this signal and follower."""
        return command_id(self.base, follower_id, leg)

    def plan(self, settings: FollowerSettings, terms: FollowTerms) -> CopyPlan:
        """Lay out an open for everybody with these settings and terms; what needs market rules only where they are known."""
        market = self.markets[settings.preferred_exchange]
        limits = (settings.limits, terms.limits)
        capped, sized_by_equity = any(map(caps_exposure, limits)), terms.sizing in EQUITY_MODES
        where = (market.venue, market.symbol, self.direction, settings.mode, self.whale_id)
        plan = CopyPlan(settings=settings, terms=terms, market=market, view=View(*where, sums=capped, margins=sized_by_equity))
        plan.capped, plan.limited = capped, any(limit != Limits() for limit in limits)
        plan.needs_equity = sized_by_equity or any(limit.max_drawdown_percent is not None for limit in limits)
        if market.rules and market.listing:
            self._price(plan, market.rules)
            self._size(plan, market, market.rules)
        return plan

    def _price(self, plan: CopyPlan, rules: MarketRules) -> None:
        set_bps = [bps for limit in (plan.settings.limits, plan.terms.limits) if (bps := limit.max_deviation_bps) is not None]
        bps = min(set_bps, default=DEFAULT_DEVIATION_BPS)
        plan.limit = limit_price(plan.market.price, self.direction == "long", bps, rules.tick)
        plan.unit = plan.market.price * rules.step
        if plan.limit > 0:
            plan.minimum = smallest_open(rules, plan.market.price, plan.limit)

    def _size(self, plan: CopyPlan, market: Market, rules: MarketRules) -> None:
        signal, settings = self.signal, plan.settings
        plan.inputs = sizing_inputs(plan.terms, signal, market.price) | market.known_mark
        if self.kept != ONE:
            plan.inputs["kept"] = self.kept
        if plan.terms.sizing not in EQUITY_MODES:
            plan.wanted = self.wanted(plan.terms, ZERO)
        leverage = self.leverage(settings, rules)
        plan.order = PlaceOrder(
            command_id="",
            follower_id="",
            venue=market.venue,
            symbol=market.symbol,
            side=SIDE_OF_OPEN[self.direction],
            quantity=ZERO,
            kind="open",
            whale_id=signal.whale_id,
            cause=signal.signal_id,
            leverage=leverage,
            limit_price=plan.limit,
            reference_price=market.price,
            expires_at=self.expires_at,
            priority=signal.priority,
            mode=settings.mode,
            detected_at=signal.detected_at,
            published_at=signal.published_at,
            received_at=self.held.received_at,
            decided_at=self.now,
        )
        plan.decided = CopyDecided(
            originator_id="",
            originator_version=0,
            at=self.now,
            signal_id=signal.signal_id,
            whale_id=signal.whale_id,
            symbol=signal.symbol,
            venue=market.venue,
            venue_symbol=market.symbol,
            direction=self.direction,
            outcome="copied",
            config_version=0,
            sizing=NO_SIZING,
        )

    def wanted(self, terms: FollowTerms, equity: Decimal) -> Decimal:
        """The notional that the terms ask for, less what the whale gave up while its open was held."""
        wanted = wanted_quote(terms, self.quantity * self.signal.price, self.signal.whale_equity, equity)
        return wanted if self.kept == ONE else part_of(wanted, self.kept)

    def leverage(self, settings: FollowerSettings, rules: MarketRules) -> Decimal:
        """The whale's leverage as far as the follower and the venue allow it; spot has none."""
        if rules.venue in SPOT_VENUES:
            return ONE
        wanted = min(settings.max_leverage, self.signal.leverage) if self.signal.leverage else settings.max_leverage
        return max(ONE, min(wanted, rules.max_leverage))


def carried_quote(case: SignalCase, follow: Follow) -> Decimal:
    """What too small copies left for this one; nothing that is older than the whale's last flat moment."""
    carry = follow.carry.get(case.signal.symbol) if follow.carry else None
    return carry.quote if carry and carry.since >= case.flat_at else ZERO


NO_SIZING = Sizing(mode="exit", inputs={}, wanted_quote=ZERO, final_quote=ZERO, quantity=ZERO)
