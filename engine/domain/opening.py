"""Answers to an open or increase: a follower enters, its copy, its carried size or its place among equal skips leaves."""

from __future__ import annotations

from msgspec.structs import replace

from engine.domain.case import LAST, Carried, CopyPlan, Opening, SignalCase
from engine.domain.decide import RANK, decide_open, refuse_by_terms
from engine.domain.events import AnyEvent, CopyDecided, CopySkipped
from engine.domain.fold import emit
from engine.domain.state import Follow, FollowerState
from engine.domain.tally import Tally


def plan_of(case: SignalCase, plans: dict[tuple[int, int], CopyPlan], follower: FollowerState, follow: Follow) -> CopyPlan:
    """The plan of a follower's settings and terms, made at the first follower who has them."""
    key = (id(follower.settings), id(follow.terms))
    plan = plans.get(key)
    if plan is None:
        plan = plans[key] = case.plan(follower.settings, follow.terms)
        plan.refusal = refuse_by_terms(case, plan)
        plan.rank = RANK[plan.refusal.reason] if plan.refusal else LAST
    return plan


def answer_open(
    case: SignalCase, plans: dict[tuple[int, int], CopyPlan], follower: FollowerState, follow: Follow, tally: Tally, out: list[AnyEvent]
) -> None:
    """One follower's answer to an open or increase."""
    if not follow.active:
        return
    plan = plan_of(case, plans, follower, follow)
    answer = decide_open(case, plan, follower, follow)
    if isinstance(answer, Opening):
        emit(case.state, out, opened(plan, follower, answer))
        tally.copy(len(answer.orders))
    elif isinstance(answer, Carried):
        tally.followers += 1
        emit(case.state, out, _carried(case, follower, answer))
    else:
        tally.skip(answer, follower)


def opened(plan: CopyPlan, follower: FollowerState, opening: Opening) -> CopyDecided:
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
