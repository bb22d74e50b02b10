"""Answers to a reduce, close or flip: a follower enters, what leaves of its lots leaves, and for a flip what opens behind it."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from engine.domain.case import Carried, CopyPlan, Opening, Refusal, SignalCase
from engine.domain.control import exits_halted
from engine.domain.decide import decide_open
from engine.domain.events import AnyEvent, CopyDecided, CopySkipped, Sizing
from engine.domain.exits import Cause, Dropped, LotPlan, drop_waiting, end_dust, key_of, plan_exit, request_exit
from engine.domain.fold import emit
from engine.domain.messages import PlaceOrder
from engine.domain.opening import answer_open, plan_of
from engine.domain.settle import release_waiting
from engine.domain.state import ZERO, Follow, FollowerState, Lot
from engine.domain.tally import Tally
from engine.domain.values import SIDE_OF_OPEN

NOTHING_TO_CLOSE = Refusal("nothing_to_close")


def answer_exit(
    case: SignalCase, plans: dict[tuple[int, int], CopyPlan], follower: FollowerState, follow: Follow, tally: Tally, out: list[AnyEvent]
) -> None:
    """One follower's answer to a reduce or close. An unfollowed whale's exits concern only followers with lots."""
    lots, waiting = lots_to_leave(case, follower), _waiting_to_drop(case, follower)
    if not follow.active and not lots and not waiting:
        return
    halted = exits_halted(case.state, venue=follower.settings.preferred_exchange, whale_id=case.whale_id, follower_id=follower.follower_id)
    if not follow.terms.copy_exits:
        tally.skip(Refusal("exits_not_copied"), follower)
    elif lots or waiting:
        _leave(case, follower, lots, waiting, tally, out)
    else:
        tally.skip(Refusal("kill_switch", "halt_exits") if halted else NOTHING_TO_CLOSE, follower)


def lots_to_leave(case: SignalCase, follower: FollowerState) -> list[Lot]:
    """The follower's lots that stem from this whale and market, at every venue and in every mode."""
    if not follower.lots:
        return []
    return [
        lot
        for lot in follower.lots.values()
        if lot.whale_id == case.whale_id and lot.symbol == case.symbols[lot.venue] and lot.direction == case.leaving
    ]


def _waiting_to_drop(case: SignalCase, follower: FollowerState) -> list[PlaceOrder]:
    side = SIDE_OF_OPEN[case.leaving]
    return [
        order
        for order in (follower.waiting or {}).values()
        if order.whale_id == case.whale_id and order.symbol == case.symbols[order.venue] and order.side == side
    ]


def _why(case: SignalCase, lot: Lot) -> Cause:
    signal = case.signal
    return Cause(
        signal.signal_id,
        case.base,
        case.markets[lot.venue].price,
        signal.priority,
        signal.detected_at,
        signal.published_at,
        case.held.received_at,
    )


def _leave(
    case: SignalCase, follower: FollowerState, lots: list[Lot], waiting: list[PlaceOrder], tally: Tally, out: list[AnyEvent]
) -> None:
    state = case.state
    plans = _plan_lots(case, follower, lots)
    if waiting:
        drop_waiting(state, out, follower, waiting, Dropped("whale_closed", value=case.signal.signal_id))
    first = plans[0] if plans else None
    tally.followers += 1
    if first and _only_carried(first) and not waiting:
        emit(state, out, _exit_skipped(case, follower, first))
    else:
        tally.copied += 1
        emit(state, out, _exit_decided(case, follower, first))
    tally.orders += sum(len(plan.orders) for plan in plans)
    _rest(case, follower, plans, out)


def _plan_lots(case: SignalCase, follower: FollowerState, lots: list[Lot]) -> list[LotPlan]:
    plans: list[LotPlan] = []
    for lot in lots:
        plans.append(plan_exit(case.state, follower, lot, case.fraction, _why(case, lot), sum(len(plan.orders) for plan in plans)))
    return plans


def _rest(case: SignalCase, follower: FollowerState, plans: list[LotPlan], out: list[AnyEvent]) -> None:
    """What one decision cannot carry: further lots (other venues or modes), dust, and opens that need not wait any more."""
    state = case.state
    for plan in plans[:1]:
        end_dust(state, out, follower, key_of(plan.lot), plan.price)
    for plan in plans[1:]:
        request_exit(state, out, follower, plan, _why(case, plan.lot))
    if follower.waiting:
        release_waiting(state, out, follower)


def _only_carried(plan: LotPlan) -> bool:
    return not plan.orders and not plan.lot.pending and (plan.wanted > 0 or not plan.lot.reserved)


def _exit_skipped(case: SignalCase, follower: FollowerState, plan: LotPlan) -> CopySkipped:
    return CopySkipped(
        originator_id=follower.follower_id,
        originator_version=follower.version + 1,
        at=case.now,
        signal_id=case.signal.signal_id,
        whale_id=case.whale_id,
        symbol=case.signal.symbol,
        reason="kill_switch" if plan.halted else "below_minimum",
        limit="halt_exits" if plan.halted else str(plan.minimum),
        value=str(plan.wanted),
        config_version=follower.config_version,
        carried_quantity=plan.leaving.due,
        venue=plan.lot.venue,
        venue_symbol=plan.lot.symbol,
        exits=(plan.leaving,),
    )


def _exit_decided(case: SignalCase, follower: FollowerState, plan: LotPlan | None) -> CopyDecided:
    venue = plan.lot.venue if plan else follower.settings.preferred_exchange
    return CopyDecided(
        originator_id=follower.follower_id,
        originator_version=follower.version + 1,
        at=case.now,
        signal_id=case.signal.signal_id,
        whale_id=case.whale_id,
        symbol=case.signal.symbol,
        venue=venue,
        venue_symbol=case.symbols[venue],
        direction=case.leaving,
        outcome="copied",
        config_version=follower.config_version,
        sizing=exit_sizing(case, plan),
        orders=plan.orders if plan else (),
        cancels=plan.cancels if plan else (),
        exits=(plan.leaving,) if plan else (),
    )


def exit_sizing(case: SignalCase, plan: LotPlan | None) -> Sizing:
    """How much leaves, and of what."""
    inputs: dict[str, Decimal] = {"fraction": case.fraction}
    if plan is None:
        return Sizing(mode="exit", inputs=inputs, wanted_quote=ZERO, final_quote=ZERO, quantity=ZERO)
    lot = plan.lot
    inputs |= {"filled": lot.filled, "reserved": lot.reserved, "due": lot.due, "pending": lot.pending, "price": plan.price}
    inputs |= case.markets[lot.venue].known_mark
    quantity = sum((order.quantity for order in plan.orders), ZERO)
    return Sizing(mode="exit", inputs=inputs, wanted_quote=plan.wanted * plan.price, final_quote=quantity * plan.price, quantity=quantity)


def answer_flip(
    case: SignalCase, plans: dict[tuple[int, int], CopyPlan], follower: FollowerState, follow: Follow, tally: Tally, out: list[AnyEvent]
) -> None:
    """One follower's answer to a flip: leave the old lot now, open the new one when the old is gone."""
    lots, waiting = lots_to_leave(case, follower), _waiting_to_drop(case, follower)
    if not (lots or waiting) or not follow.terms.copy_exits:
        answer_open(case, plans, follower, follow, tally, out)
        return
    exits = _plan_lots(case, follower, lots)
    if exits and exits[0].halted:
        _leave(case, follower, lots, waiting, tally, out)
        return
    opening: Opening | Refusal | Carried = Refusal("auto_copy_disabled", value="unfollowed")
    if follow.active:
        first_leg = sum(len(plan.orders) for plan in exits)
        opening = decide_open(case, plan_of(case, plans, follower, follow), follower, follow, first_leg, leaving=True)
    if waiting:
        drop_waiting(case.state, out, follower, waiting, Dropped("whale_closed", value=case.signal.signal_id))
    decided = _flipped(case, follower, exits[0] if exits else None, opening)
    emit(case.state, out, decided)
    tally.copy(sum(len(plan.orders) for plan in exits) + (len(opening.orders) if isinstance(opening, Opening) else 0))
    _rest(case, follower, exits, out)


def _flipped(case: SignalCase, follower: FollowerState, leaving: LotPlan | None, opening: Opening | Refusal | Carried) -> CopyDecided:
    decided = replace(_exit_decided(case, follower, leaving), direction=case.direction)
    if isinstance(opening, Opening):
        outcome = "reduced" if opening.sizing.cuts else "copied"
        return replace(decided, outcome=outcome, sizing=opening.sizing, waiting=opening.orders)
    refusal = opening.refusal if isinstance(opening, Carried) else opening
    return replace(decided, outcome="reduced", open_reason=refusal.reason, open_limit=refusal.limit, open_value=refusal.value)
