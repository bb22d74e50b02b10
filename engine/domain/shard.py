"""The shard as the rest of the engine sees it: inbox records enter, events and commands leave, and nothing else ever happens.

`decide` is a function of (state, record, append time); it folds each event that it returns. Replay folds the same events by `evolve` and
the rounds' markers by `fold_marker`; both ways lead to the same state (`state_digest`).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import localcontext
from typing import Any

from engine.domain import control, exits, follower, market, reconcile, settle, signal_queue
from engine.domain.copying import decide_signal, supersede
from engine.domain.events import AnyEvent, CopyDecided, ExecutorChanged, OrdersRequested, RoundCommitted
from engine.domain.fold import emit, evolve
from engine.domain.messages import (
    AccountChecked,
    CancelOrder,
    ClosePosition,
    ConfigureFollower,
    EquityReported,
    ExecutorClaimed,
    Flatten,
    FollowWhale,
    FundingReported,
    InboxRecord,
    MarksReported,
    OrderSettled,
    PlaceOrder,
    PositionsReported,
    ReleaseSignals,
    ResyncWhale,
    RulesReported,
    SetGate,
    SetLogicVersion,
    SetSwitch,
    SignalReceived,
    SourcePosition,
    Tick,
    UnfollowWhale,
)
from engine.domain.snapshot import dump_state, restore_state, state_digest
from engine.domain.state import ARITHMETIC, FollowerState, HeldSignal, Lot, ShardState, new_state

__all__ = [
    "commands_of",
    "decide",
    "dump_state",
    "evolve",
    "fold_marker",
    "mark_sent",
    "new_state",
    "restore_state",
    "state_digest",
]

CLOSED_BY_HAND = exits.Dropped("closed_by_hand")
NO_SOURCE = SourcePosition("", 0, 0)
SIMPLE: dict[type, Callable[[ShardState, Any], list[AnyEvent]]] = {
    ConfigureFollower: follower.decide_configure,
    FollowWhale: follower.decide_follow,
    UnfollowWhale: follower.decide_unfollow,
    SetSwitch: control.decide_switch,
    SetLogicVersion: control.decide_logic_version,
    ResyncWhale: control.decide_resync,
    RulesReported: market.decide_rules,
    MarksReported: market.decide_marks,
}
"""Records that say what they change, and nothing follows from it in the same breath."""
OUTCOMES: dict[type, Callable[[ShardState, Any], list[AnyEvent]]] = {
    EquityReported: follower.decide_equity,
    AccountChecked: follower.decide_account,
    FundingReported: follower.decide_funding,
    PositionsReported: reconcile.decide_positions,
}
"""What an executor reports: void unless its epoch is the current one."""


def decide(state: ShardState, record: InboxRecord, append_ms: int) -> list[AnyEvent]:
    """Decide on one inbox record and fold what was decided. A source position that was seen before says nothing."""
    src = record.src
    if src is not None:
        key = f"{src.source}/{src.partition}"
        if src.offset < state.sources.get(key, 0):
            return []
        state.sources[key] = src.offset + 1
    state.now = max(state.now, append_ms)
    out: list[AnyEvent] = []
    with localcontext(ARITHMETIC):
        _decide(state, record.body, src or NO_SOURCE, out)
    return out


def _decide(state: ShardState, body: Any, src: SourcePosition, out: list[AnyEvent]) -> None:
    kind = type(body)
    if (request := getattr(body, "request_id", "")) and request in state.requests:
        return
    if kind in SIMPLE:
        _emit_all(state, out, SIMPLE[kind](state, body))
    elif kind in OUTCOMES:
        if getattr(body, "epoch", -1) == state.executor_epoch:
            _emit_all(state, out, OUTCOMES[kind](state, body))
    else:
        FOLLOWED_UP[kind](state, body, src, out)


def _emit_all(state: ShardState, out: list[AnyEvent], events: list[AnyEvent]) -> None:
    for event in events:
        emit(state, out, event)


def _on_signal(state: ShardState, body: SignalReceived, src: SourcePosition, out: list[AnyEvent]) -> None:
    admission = signal_queue.decide_admission(state, body.signal, src)
    _emit_all(state, out, admission)
    if not admission or not state.deciding:
        return
    deciding = state.deciding
    for held in signal_queue.superseded(state, body.signal):
        supersede(state, held, body.signal.signal_id, out)
    decide_signal(state, deciding, out)


def _release(state: ShardState, out: list[AnyEvent], chosen: list[HeldSignal]) -> None:
    for held in chosen:
        emit(state, out, signal_queue.release_event(state, held))
        decide_signal(state, held, out)


def _on_gate(state: ShardState, body: SetGate, src: SourcePosition, out: list[AnyEvent]) -> None:
    _emit_all(state, out, signal_queue.decide_gate(state, body))
    _release(state, out, signal_queue.passing(state))


def _on_release(state: ShardState, body: ReleaseSignals, src: SourcePosition, out: list[AnyEvent]) -> None:
    """Only a record that names its signals does anything: shards must not resolve `max_signals` each for itself."""
    if not body.signal_ids:
        return
    _release(state, out, signal_queue.next_signals(state, body))
    _release(state, out, signal_queue.passing(state))


def _on_tick(state: ShardState, body: Tick, src: SourcePosition, out: list[AnyEvent]) -> None:
    for held in signal_queue.overdue(state):
        decide_signal(state, held, out)
    if state.held:
        _release(state, out, signal_queue.passing(state))
    for follower_id in list(state.alarms):
        settle.decide_alarm(state, state.followers[follower_id], out)


def _on_settled(state: ShardState, body: OrderSettled, src: SourcePosition, out: list[AnyEvent]) -> None:
    if body.epoch == state.executor_epoch:
        settle.decide_settled(state, body, out)


def _on_claim(state: ShardState, body: ExecutorClaimed, src: SourcePosition, out: list[AnyEvent]) -> None:
    changed = ExecutorChanged(originator_id=state.originator_id, originator_version=state.version + 1, at=state.now, epoch=src.offset)
    emit(state, out, changed)


def _on_close(state: ShardState, body: ClosePosition, src: SourcePosition, out: list[AnyEvent]) -> None:
    owner = state.followers.get(body.follower_id)
    if owner:
        _close(state, out, owner, body.request_id, symbol=body.symbol, whale_id=body.whale_id)


def _on_flatten(state: ShardState, body: Flatten, src: SourcePosition, out: list[AnyEvent]) -> None:
    whale_id = body.target if body.scope == "whale" else None
    venue = body.target if body.scope == "exchange" else None
    only = body.target if body.scope == "follower" else None
    for owner in [owner for owner in state.followers.values() if owner.lots or owner.waiting]:
        if only is None or owner.follower_id == only:
            _close(state, out, owner, body.request_id, whale_id=whale_id, venue=venue)


def _close(
    state: ShardState,
    out: list[AnyEvent],
    owner: FollowerState,
    request_id: str,
    symbol: str | None = None,
    whale_id: str | None = None,
    venue: str | None = None,
) -> None:
    def within(part: Lot | PlaceOrder) -> bool:
        wanted = (symbol or part.symbol, whale_id or part.whale_id, venue or part.venue)
        return (part.symbol, part.whale_id, part.venue) == wanted

    exits.drop_waiting(state, out, owner, [order for order in (owner.waiting or {}).values() if within(order)], CLOSED_BY_HAND)
    exits.close_lots(state, out, owner, [lot for lot in (owner.lots or {}).values() if within(lot)], request_id)


FOLLOWED_UP: dict[type, Callable[[ShardState, Any, SourcePosition, list[AnyEvent]], None]] = {
    SignalReceived: _on_signal,
    SetGate: _on_gate,
    ReleaseSignals: _on_release,
    Tick: _on_tick,
    OrderSettled: _on_settled,
    ExecutorClaimed: _on_claim,
    ClosePosition: _on_close,
    Flatten: _on_flatten,
}
"""Records after which one event leads to the next."""


def commands_of(event: AnyEvent) -> tuple[PlaceOrder | CancelOrder, ...]:
    """What an event asks of the executor, in order: cancels, then orders. Shadow orders are recorded and never sent."""
    if not isinstance(event, CopyDecided | OrdersRequested):
        return ()
    return event.cancels + tuple(order for order in event.orders if order.mode != "shadow")


def fold_marker(state: ShardState, marker: RoundCommitted) -> None:
    """Fold a round's marker: time, source positions, and what was surely sent."""
    state.now = max(state.now, marker.now)
    state.sources.update(marker.sources)
    mark_sent(state, marker.commands_through)


def mark_sent(state: ShardState, seq: int) -> None:
    """Commands up to `seq` are on the topic: the outbox forgets them."""
    outbox = state.outbox
    if not outbox or outbox[0].seq > seq:
        return
    del outbox[: min(len(outbox), seq - outbox[0].seq + 1)]
