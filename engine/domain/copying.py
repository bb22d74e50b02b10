"""One signal before all of the shard's followers of its whale: each answers exactly once, with a copy or a reason.

Enters: the admitted signal. Leaves: `CopyDecided` and `CopySkipped` by follower, `CopiesSkipped` for equal skips, then `SignalDecided`
(or `SignalExpired`).
"""

from __future__ import annotations

from engine.domain.case import CopyPlan, Refusal, SignalCase
from engine.domain.events import AnyEvent
from engine.domain.leaving import answer_exit, answer_flip
from engine.domain.opening import answer_open
from engine.domain.state import HeldSignal, ShardState
from engine.domain.tally import Tally, close_signal, emit_skips


def decide_signal(state: ShardState, held: HeldSignal, out: list[AnyEvent]) -> None:
    """Let every follower of the whale answer, then close the signal."""
    case, tally = SignalCase(state, held), Tally()
    answer = {"reduce": answer_exit, "close": answer_exit, "flip": answer_flip}.get(held.signal.action, answer_open)
    plans: dict[tuple[int, int], CopyPlan] = {}
    for follower in tuple(state.index.get(case.whale_id, ())):
        answer(case, plans, follower, follower.follows[case.whale_id], tally, out)
    emit_skips(case, tally, out)
    close_signal(case, tally, out)


def supersede(state: ShardState, held: HeldSignal, closing_id: str, out: list[AnyEvent]) -> None:
    """A held open whose position the whale has closed meanwhile is not copied any more."""
    case, tally = SignalCase(state, held), Tally()
    for follower in state.index.get(case.whale_id, ()):
        if follower.follows[case.whale_id].active:
            tally.skip(Refusal("whale_closed", value=closing_id), follower)
    emit_skips(case, tally, out)
    close_signal(case, tally, out)
