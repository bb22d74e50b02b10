"""Deciding on opens. A signal and a follower enter; a copy with its size and orders leaves, or the one reason why there is none.

Read it from top to bottom: refusals in their order, then sizing, then caps. The first reason in `ORDER` is the one that is given.
Reasons that are equal for all followers with the same settings and terms are found once a signal (`refuse_by_terms`).
"""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from engine.domain.case import Carried, CopyPlan, Opening, Refusal, SignalCase, carried_quote
from engine.domain.control import CLOSE_ONLY, HALT, strictest
from engine.domain.events import Cut, Sizing
from engine.domain.ids import in_rollout
from engine.domain.limits import (
    NOTHING,
    Exposure,
    caps,
    day_loss,
    drawdown_percent,
    exposure_of,
    follow_drawdown_percent,
    unrealized,
)
from engine.domain.messages import PlaceOrder
from engine.domain.signal_queue import closed_gate
from engine.domain.sizing import BPS, EQUITY_MODES, ONCE_AN_ORDER, legs_of
from engine.domain.state import WIDE, ZERO, Follow, FollowerState, units_in
from engine.domain.values import SPOT_VENUES, Limits

ORDER: tuple[str, ...] = (
    "signal_expired",
    "copy_trading_disabled",
    "paused",
    "account_not_allowed",
    "kill_switch",
    "close_only",
    "auto_copy_disabled",
    "symbol_not_allowed",
    "symbol_not_mapped",
    "trade_type_not_allowed",
    "short_on_spot",
    "not_in_rollout",
    "whale_in_position",
    "order_already_copied",
    "stale",
    "price_deviation",
    "opposite_position",
    "max_open_positions",
    "max_position",
    "max_exposure",
    "daily_loss",
    "drawdown",
    "cooldown",
    "equity_unknown",
    "whale_equity_unknown",
    "below_minimum",
)
RANK = {reason: rank for rank, reason in enumerate(ORDER)}
EXIT_REASONS = ("kill_switch", "exits_not_copied", "nothing_to_close", "below_minimum")
QUEUE_REASONS = ("whale_closed",)
REASONS = frozenset(ORDER) | frozenset(EXIT_REASONS) | frozenset(QUEUE_REASONS)
"""Every reason code there is."""
EQUITY_FRESH_MS = 60_000
CENT = Decimal("0.01")


def _tightest(plan: CopyPlan, name: str) -> Decimal | int | None:
    found = [getattr(limits, name) for limits in (plan.settings.limits, plan.terms.limits)]
    return min((limit for limit in found if limit is not None), default=None)


# --- refusals --------------------------------------------------------------------------------------------------------


def refuse_by_terms(case: SignalCase, plan: CopyPlan) -> Refusal | None:
    """Reasons that hold for everybody with the same settings and terms, in their order."""
    signal, settings, terms, market = case.signal, plan.settings, plan.terms, plan.market
    if case.expires_at is not None and case.now > case.expires_at:
        return Refusal("signal_expired", str(case.expires_at), str(case.now))
    if not settings.copy_trading_enabled:
        return Refusal("copy_trading_disabled")
    if settings.paused:
        return Refusal("paused")
    if signal.action == "flip" and (gate := closed_gate(case.state, signal)):
        return Refusal("paused", "queue", gate)
    level, scope = strictest(case.state, venue=settings.preferred_exchange, whale_id=case.whale_id)
    if level >= HALT:
        return Refusal("kill_switch", scope)
    if level == CLOSE_ONLY:
        return Refusal("close_only", scope)
    if case.gap:
        return Refusal("close_only", "missed_signals")
    if not terms.auto_copy_enabled:
        return Refusal("auto_copy_disabled")
    names = {signal.symbol, market.symbol}
    if (terms.symbols_allowed is not None and names.isdisjoint(terms.symbols_allowed)) or not names.isdisjoint(terms.symbols_denied):
        return Refusal("symbol_not_allowed", value=signal.symbol)
    if market.listing is None:
        return Refusal("symbol_not_mapped", settings.preferred_exchange, signal.symbol)
    if market.rules is None or not market.rules.active:
        return Refusal("symbol_not_mapped", settings.preferred_exchange, "no market rules" if market.rules is None else "not active")
    if terms.trade_types_allowed is not None and signal.trade_type not in terms.trade_types_allowed:
        return Refusal("trade_type_not_allowed", ",".join(terms.trade_types_allowed), signal.trade_type)
    if case.direction == "short" and settings.preferred_exchange in SPOT_VENUES:
        return Refusal("short_on_spot", settings.preferred_exchange)
    staleness, age = _tightest(plan, "max_staleness_ms"), case.now - signal.detected_at
    if staleness is not None and age > staleness:
        return Refusal("stale", str(staleness), str(age))
    return _refuse_price(case, plan)


def _refuse_price(case: SignalCase, plan: CopyPlan) -> Refusal | None:
    bps, market = _tightest(plan, "max_deviation_bps"), plan.market
    if plan.limit <= 0:
        return Refusal("price_deviation", "" if bps is None else str(bps), "limit below one tick")
    if bps is None or market.mark is None:
        return None
    away = (market.mark - market.price) * BPS / market.price
    worse = away if case.direction == "long" else -away
    return Refusal("price_deviation", str(bps), str(worse.quantize(CENT, context=WIDE))) if worse > bps else None


def refuse_early(case: SignalCase, plan: CopyPlan, follower: FollowerState, follow: Follow) -> Refusal | None:
    """Reasons of one follower that come before the price, in their order."""
    terms, settings = plan.terms, plan.settings
    if follower.refused_by and settings.mode == "live":
        return Refusal("account_not_allowed", value=follower.refused_by[0])
    if case.any_follower_switch:
        level, scope = strictest(case.state, venue=settings.preferred_exchange, whale_id=case.whale_id, follower_id=follower.follower_id)
        if level >= CLOSE_ONLY and scope.startswith("follower"):
            return Refusal("kill_switch" if level >= HALT else "close_only", "follower")
    if terms.rollout_percent < 100 and not in_rollout(follower.follower_id, case.whale_id, terms.rollout_percent):
        return Refusal("not_in_rollout", str(terms.rollout_percent))
    if terms.start_mode == "until_flat" and case.flat_at <= follow.since:
        return Refusal("whale_in_position", "until_flat")
    if follow.spent and terms.sizing in ONCE_AN_ORDER and case.signal.whale_order_id in follow.spent and not carried_quote(case, follow):
        return Refusal("order_already_copied", value=case.signal.whale_order_id or "")
    return None


def refuse_late(case: SignalCase, plan: CopyPlan, follower: FollowerState, follow: Follow, exposure: Exposure) -> Refusal | None:
    """Reasons that need the follower's positions, profit and equity, in their order."""
    own, terms = plan.settings.limits, plan.terms.limits
    if exposure.opposite:
        return Refusal("opposite_position", value=str(exposure.opposite))
    if plan.capped and (refusal := _refuse_exposure(plan, own, terms, exposure)):
        return refusal
    if plan.limited and (refusal := _refuse_losses(case, follower, follow, own, terms)):
        return refusal
    if plan.needs_equity and not equity_known(case, follower):
        return Refusal("equity_unknown", str(EQUITY_FRESH_MS), str(case.now - follower.equity_at) if follower.equity_at else "never")
    if plan.terms.sizing == "proportional_equity" and not case.signal.whale_equity:
        return Refusal("whale_equity_unknown")
    return None


def _refuse_exposure(plan: CopyPlan, own: Limits, terms: Limits, exposure: Exposure) -> Refusal | None:
    market = (plan.market.venue, plan.market.symbol)
    for most, markets in ((own.max_open_positions, exposure.markets), (terms.max_open_positions, exposure.whale_markets)):
        if most is not None and market not in markets and len(markets) >= most:
            return Refusal("max_open_positions", str(most), str(len(markets)))
    for name, cap, used in caps(own, terms, exposure):
        if used >= cap:
            return Refusal(name.removeprefix("follow_"), str(cap), str(used))
    return None


def _refuse_losses(case: SignalCase, follower: FollowerState, follow: Follow, own: Limits, terms: Limits) -> Refusal | None:
    state = case.state
    for limits, account, whale_id in ((own, follower, None), (terms, follow, case.whale_id)):
        if limits.daily_loss_quote is not None:
            loss = day_loss(state, account, unrealized(state, follower, whale_id))
            if loss >= limits.daily_loss_quote:
                return Refusal("daily_loss", str(limits.daily_loss_quote), str(loss))
    if own.max_drawdown_percent is not None:
        percent = drawdown_percent(follower, unrealized(state, follower))
        if percent >= own.max_drawdown_percent:
            return Refusal("drawdown", str(own.max_drawdown_percent), str(percent.quantize(CENT, context=WIDE)))
    if terms.max_drawdown_percent is not None:
        percent = follow_drawdown_percent(follower, follow, unrealized(state, follower, case.whale_id))
        if percent >= terms.max_drawdown_percent:
            return Refusal("drawdown", str(terms.max_drawdown_percent), str(percent.quantize(CENT, context=WIDE)))
    if follow.spent and case.signal.whale_order_id in follow.spent:
        return None
    for limits, last in ((own, follower.last_open_at), (terms, follow.last_open_at)):
        if limits.cooldown_ms is not None and last and case.now - last < limits.cooldown_ms:
            return Refusal("cooldown", str(limits.cooldown_ms), str(case.now - last))
    return None


def equity_known(case: SignalCase, follower: FollowerState) -> bool:
    """Equity was reported less than 60 s ago."""
    return follower.equity is not None and case.now - follower.equity_at < EQUITY_FRESH_MS


# --- sizing and caps -------------------------------------------------------------------------------------------------


def size_open(case: SignalCase, plan: CopyPlan, follower: FollowerState, follow: Follow, exposure: Exposure) -> Sizing | Refusal | Carried:
    """What the mode wants and what the caps leave of it, as a quantity that the venue takes."""
    carried = carried_quote(case, follow) if follow.carry else ZERO
    alike = plan.wanted is not None and not plan.capped and not carried
    if alike and plan.sizing is not None:
        return plan.sizing
    wanted, inputs = _wanted(case, plan, follower, follow, exposure, carried)
    final, cuts, rooms = wanted, [], caps(plan.settings.limits, plan.terms.limits, exposure) if plan.capped else []
    for name, cap, used in rooms:
        if final > cap - used:
            cuts.append(Cut(name, final, cap - used))
            final = cap - used
    assert plan.market.rules
    quantity = units_in(final, plan.unit) * plan.market.rules.step
    sized: Sizing | Refusal | Carried
    if quantity < plan.minimum:
        sized = _too_small(plan, wanted, inputs, cuts, rooms)
    else:
        sized = Sizing(
            mode=plan.terms.sizing,
            inputs=inputs,
            wanted_quote=wanted,
            final_quote=quantity * plan.market.price,
            quantity=quantity,
            cuts=tuple(cuts),
        )
    if alike and not isinstance(sized, Carried):
        plan.sizing = sized
    return sized


def _wanted(
    case: SignalCase, plan: CopyPlan, follower: FollowerState, follow: Follow, exposure: Exposure, carried: Decimal
) -> tuple[Decimal, dict[str, Decimal]]:
    inputs = plan.inputs
    if follow.spent and plan.terms.sizing in ONCE_AN_ORDER and case.signal.whale_order_id in follow.spent:
        wanted = ZERO
    elif plan.wanted is not None:
        wanted = plan.wanted
    else:
        equity = (follower.equity or ZERO) - exposure.margin
        wanted = case.wanted(plan.terms, equity)
    if plan.terms.sizing in EQUITY_MODES:
        inputs = inputs | {"equity": follower.equity or ZERO, "reserved": exposure.margin}
    if carried:
        inputs = inputs | {"carried": carried}
    return wanted + carried, inputs


def _too_small(
    plan: CopyPlan, wanted: Decimal, inputs: dict[str, Decimal], cuts: list[Cut], rooms: list[tuple[str, Decimal, Decimal]]
) -> Sizing | Refusal | Carried:
    smallest = plan.minimum * plan.market.price
    if cuts:
        name, cap, used = next(room for room in rooms if room[0] == cuts[-1].cap)
        return Refusal(name.removeprefix("follow_"), str(cap), str(used))
    refusal = Refusal("below_minimum", str(smallest), str(wanted))
    if plan.terms.min_size_policy == "accumulate" and wanted > 0:
        return Carried(wanted, refusal)
    if plan.terms.min_size_policy == "skip" or wanted <= 0 or any(cap - used < smallest for _, cap, used in rooms):
        return refusal
    inputs = inputs | {"rounded_up_from": wanted}
    return Sizing(mode=plan.terms.sizing, inputs=inputs, wanted_quote=wanted, final_quote=smallest, quantity=plan.minimum)


def orders_of(
    case: SignalCase, plan: CopyPlan, follower_id: str, sizing: Sizing, exposure: Exposure, first_leg: int
) -> tuple[PlaceOrder, ...]:
    """The orders of a copy, one unless the venue's maximum asks for legs. Leverage is changed only when the account is flat there."""
    assert plan.order and plan.market.rules
    template = plan.order if exposure.leverage is None else replace(plan.order, leverage=exposure.leverage)
    return tuple(
        replace(template, command_id=case.order_id(follower_id, leg), follower_id=follower_id, quantity=quantity, leg=leg)
        for leg, quantity in enumerate(legs_of(sizing.quantity, plan.market.rules), first_leg)
    )


def decide_open(
    case: SignalCase, plan: CopyPlan, follower: FollowerState, follow: Follow, first_leg: int = 0, leaving: bool = False
) -> Opening | Refusal | Carried:
    """One follower's answer to an open: the copy, or the first reason in `ORDER` against it."""
    early = refuse_early(case, plan, follower, follow)
    if early and RANK[early.reason] < plan.rank:
        return early
    if plan.refusal:
        return plan.refusal
    exposure = NOTHING
    if follower.lots or follower.waiting or follower.foreign:
        exposure = exposure_of(follower, plan.view._replace(leaving=True) if leaving else plan.view)
    if exposure is not NOTHING or plan.limited or plan.needs_equity:
        late = refuse_late(case, plan, follower, follow, exposure)
        if late:
            return late
    sized = size_open(case, plan, follower, follow, exposure)
    if not isinstance(sized, Sizing):
        return sized
    return Opening(sized, orders_of(case, plan, follower.follower_id, sized, exposure, first_leg))
