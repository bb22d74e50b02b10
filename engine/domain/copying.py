"""One signal before all of the shard's followers of its whale: each answers exactly once, with a copy or a reason.

Enters: the admitted signal. Leaves: `CopyDecided` and `CopySkipped` by follower, `CopiesSkipped` for equal skips, then `SignalDecided`
(or `SignalExpired`).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec.structs import replace

from engine.domain.case import Carried, CopyPlan, Opening, Refusal, SignalCase
from engine.domain.control import exits_halted
from engine.domain.decide import decide_open, plan_of
from engine.domain.events import AnyEvent, CopiesSkipped, CopyDecided, CopySkipped, SignalDecided, SignalExpired, Sizing
from engine.domain.exits import Cause, Dropped, LotPlan, drop_waiting, end_dust, key_of, plan_exit, request_exit
from engine.domain.fold import emit
from engine.domain.messages import PlaceOrder
from engine.domain.settle import release_waiting
from engine.domain.state import ZERO, Follow, FollowerState, HeldSignal, Lot, ShardState
from engine.domain.values import SIDE_OF_OPEN

SKIPS_PER_EVENT = 4000
"""Followers in one `CopiesSkipped`, so that its record stays well under what a broker takes."""
NOTHING_TO_CLOSE = Refusal("nothing_to_close")


class Tally(msgspec.Struct):
    """Counts of one signal, and its equal skips."""

    followers: int = 0
    copied: int = 0
    orders: int = 0
    skips: dict[Refusal, list[tuple[str, int]]] = {}

    def copy(self, orders: int) -> None:
        """Count a copy."""
        self.followers += 1
        self.copied += 1
        self.orders += orders

    def skip(self, refusal: Refusal, follower: FollowerState) -> None:
        """Put a skip to its equals."""
        self.followers += 1
        self.skips.setdefault(refusal, []).append((follower.follower_id, follower.config_version))


def decide_signal(state: ShardState, held: HeldSignal, out: list[AnyEvent]) -> None:
    """Let every follower of the whale answer, then close the signal."""
    case, tally = SignalCase(state, held), Tally()
    answer = {"reduce": answer_exit, "close": answer_exit, "flip": answer_flip}.get(held.signal.action, answer_open)
    plans: dict[tuple[int, int], CopyPlan] = {}
    for follower in tuple(state.index.get(case.whale_id, ())):
        answer(case, plans, follower, follower.follows[case.whale_id], tally, out)
    _emit_skips(case, tally, out)
    _close_signal(case, tally, out)


def _emit_skips(case: SignalCase, tally: Tally, out: list[AnyEvent]) -> None:
    for refusal, followers in tally.skips.items():
        for start in range(0, len(followers), SKIPS_PER_EVENT):
            emit(case.state, out, _copies_skipped(case, refusal, followers[start : start + SKIPS_PER_EVENT]))


def _copies_skipped(case: SignalCase, refusal: Refusal, followers: list[tuple[str, int]]) -> CopiesSkipped:
    return CopiesSkipped(
        originator_id=case.state.originator_id,
        originator_version=case.state.version + 1,
        at=case.now,
        signal_id=case.signal.signal_id,
        whale_id=case.whale_id,
        symbol=case.signal.symbol,
        reason=refusal.reason,
        limit=refusal.limit,
        value=refusal.value,
        followers=tuple(followers),
    )


def _close_signal(case: SignalCase, tally: Tally, out: list[AnyEvent]) -> None:
    state, overdue = case.state, case.expires_at is not None and case.now > case.expires_at
    if overdue and not tally.copied:
        expired = SignalExpired(
            originator_id=state.originator_id, originator_version=state.version + 1, at=case.now, signal_id=case.signal.signal_id
        )
        emit(state, out, expired)
        return
    decided = SignalDecided(
        originator_id=state.originator_id,
        originator_version=state.version + 1,
        at=case.now,
        signal_id=case.signal.signal_id,
        followers=tally.followers,
        copied=tally.copied,
        orders=tally.orders,
    )
    emit(state, out, decided)


def supersede(state: ShardState, held: HeldSignal, closing_id: str, out: list[AnyEvent]) -> None:
    """A held open whose position the whale has closed meanwhile is not copied any more."""
    case, tally = SignalCase(state, held), Tally()
    for follower in state.index.get(case.whale_id, ()):
        if follower.follows[case.whale_id].active:
            tally.skip(Refusal("whale_closed", value=closing_id), follower)
    _emit_skips(case, tally, out)
    _close_signal(case, tally, out)


# --- opens -----------------------------------------------------------------------------------------------------------


def answer_open(
    case: SignalCase, plans: dict[tuple[int, int], CopyPlan], follower: FollowerState, follow: Follow, tally: Tally, out: list[AnyEvent]
) -> None:
    """One follower's answer to an open or increase."""
    if not follow.active:
        return
    plan = plan_of(case, plans, follower, follow)
    answer = decide_open(case, plan, follower, follow)
    if isinstance(answer, Opening):
        emit(case.state, out, _opened(plan, follower, answer))
        tally.copy(len(answer.orders))
    elif isinstance(answer, Carried):
        tally.followers += 1
        emit(case.state, out, _carried(case, follower, answer))
    else:
        tally.skip(answer, follower)


def _opened(plan: CopyPlan, follower: FollowerState, opening: Opening) -> CopyDecided:
    assert plan.decided
    return replace(
        plan.decided,
        originator_id=follower.follower_id,
        originator_version=follower.version + 1,
        outcome="reduced" if opening.sizing.cuts else "copied",
        config_version=follower.config_version,
        sizing=opening.sizing,
        orders=opening.orders,
    )


def _carried(case: SignalCase, follower: FollowerState, carried: Carried) -> CopySkipped:
    return CopySkipped(
        originator_id=follower.follower_id,
        originator_version=follower.version + 1,
        at=case.now,
        signal_id=case.signal.signal_id,
        whale_id=case.whale_id,
        symbol=case.signal.symbol,
        reason=carried.refusal.reason,
        limit=carried.refusal.limit,
        value=carried.refusal.value,
        config_version=follower.config_version,
        carried_quote=carried.quote,
    )


# --- exits -----------------------------------------------------------------------------------------------------------


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
        signal.signal_id,
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
    quantity = sum((order.quantity for order in plan.orders), ZERO)
    return Sizing(mode="exit", inputs=inputs, wanted_quote=plan.wanted * plan.price, final_quote=quantity * plan.price, quantity=quantity)


# --- flips -----------------------------------------------------------------------------------------------------------


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
    decided = _flipped(case, plans, follower, follow, exits[0] if exits else None, opening)
    emit(case.state, out, decided)
    tally.copy(sum(len(plan.orders) for plan in exits) + (len(opening.orders) if isinstance(opening, Opening) else 0))
    _rest(case, follower, exits, out)


def _flipped(
    case: SignalCase,
    plans: dict[tuple[int, int], CopyPlan],
    follower: FollowerState,
    follow: Follow,
    leaving: LotPlan | None,
    opening: Opening | Refusal | Carried,
) -> CopyDecided:
    decided = replace(_exit_decided(case, follower, leaving), direction=case.direction)
    if isinstance(opening, Opening):
        opened = _opened(plan_of(case, plans, follower, follow), follower, opening)
        return replace(decided, outcome=opened.outcome, sizing=opening.sizing, waiting=opening.orders)
    refusal = opening.refusal if isinstance(opening, Carried) else opening
    return replace(decided, outcome="reduced", open_reason=refusal.reason, open_limit=refusal.limit, open_value=refusal.value)
