"""Folding: an event enters, the state moves. The only way in which state changes, live and in replay alike."""

from __future__ import annotations

from collections.abc import Callable
from decimal import localcontext
from typing import Any

from engine.domain import control, follower, positions, signal_queue
from engine.domain.events import (
    AccountRecorded,
    AnyEvent,
    CopiesSkipped,
    CopyDecided,
    CopySkipped,
    DriftDetected,
    DriftSuspected,
    DustRecorded,
    EquityRecorded,
    ExecutorChanged,
    FollowerConfigured,
    FundingRecorded,
    GateSet,
    LogicVersionSet,
    MarksRecorded,
    OpenDropped,
    OrderEnded,
    OrdersRequested,
    RulesRecorded,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
    SignalReleased,
    SwitchSet,
    WhaleFollowed,
    WhaleGapDetected,
    WhaleResynced,
    WhaleUnfollowed,
)
from engine.domain.state import ARITHMETIC, Carry, Follow, FollowerState, Mark, ShardState, account_key, is_of_account, market_key

SPENT_ORDERS = 8
"""How many whale orders a follow remembers as copied."""


def copy_decided(state: ShardState, follower: FollowerState, event: CopyDecided) -> None:
    """Fold a copy: what leaves, what is ordered, what waits; an open is remembered for cooldowns and for its whale order."""
    if event.exits:
        positions.apply_exits(state, follower, event.venue, event.venue_symbol, event.whale_id, event.signal_id, event.exits)
    if event.cancels:
        positions.request_cancels(state, event.cancels)
    positions.request_orders(state, follower, event.orders)
    if event.sizing.mode != "exit":
        follow = follower.follows[event.whale_id]
        follower.last_open_at = follow.last_open_at = event.at
        if follow.carry:
            follow.carry.pop(event.symbol, None)
            follow.carry = follow.carry or None
        _spend(state, follow)
    if event.waiting:
        follower.waiting = (follower.waiting or {}) | {order.command_id: order for order in event.waiting}
        positions.refresh_alarm(state, follower)
    if event.exits:
        positions.drop_ended_lots(state, follower)


def copy_skipped(state: ShardState, follower: FollowerState, event: CopySkipped) -> None:
    """Fold what a skipped copy leaves for the next: accumulated quote, or a quantity that must still leave."""
    if event.exits and event.venue:
        positions.apply_exits(state, follower, event.venue, event.venue_symbol, event.whale_id, event.signal_id, event.exits)
    if event.carried_quote is not None:
        follow = follower.follows[event.whale_id]
        follow.carry = follow.carry or {}
        follow.carry[event.symbol] = Carry(event.carried_quote, state.events)
        _spend(state, follow)


def _spend(state: ShardState, follow: Follow) -> None:
    order_id = state.deciding.signal.whale_order_id if state.deciding else None
    if order_id is None or (follow.spent and order_id in follow.spent):
        return
    if follow.spent is None:
        follow.spent = [order_id]
    else:
        follow.spent.append(order_id)
        del follow.spent[:-SPENT_ORDERS]


def drift_suspected(state: ShardState, follower: FollowerState, event: DriftSuspected) -> None:
    """Fold a first difference; it takes the place of what was suspected of the same account."""
    mode = event.mode or follower.settings.mode
    found = {key: quantity for key, quantity in (follower.suspects or {}).items() if not is_of_account(key, event.venue, mode)}
    follower.suspects = found | {account_key(event.venue, symbol, mode): quantity for symbol, quantity in event.reported.items()}


def rules_recorded(state: ShardState, event: RulesRecorded) -> None:
    """Fold market rules."""
    for rules in event.rules:
        state.rules[market_key(rules.venue, rules.symbol)] = rules


def marks_recorded(state: ShardState, event: MarksRecorded) -> None:
    """Fold marks."""
    for symbol, price in event.marks.items():
        state.marks[market_key(event.venue, symbol)] = Mark(price, event.reported_at)


def executor_changed(state: ShardState, event: ExecutorChanged) -> None:
    """Fold the epoch whose outcomes count."""
    state.executor_epoch = event.epoch


def nothing(state: ShardState, event: CopiesSkipped) -> None:
    """Equal skips change no follower."""


OF_SHARD: dict[type, Callable[[ShardState, Any], None]] = {
    SignalAdmitted: signal_queue.signal_admitted,
    SignalReleased: signal_queue.signal_released,
    SignalDecided: signal_queue.signal_done,
    SignalExpired: signal_queue.signal_done,
    WhaleGapDetected: signal_queue.whale_gap_detected,
    GateSet: signal_queue.gate_set,
    CopiesSkipped: nothing,
    SwitchSet: control.switch_set,
    LogicVersionSet: control.logic_version_set,
    WhaleResynced: control.whale_resynced,
    RulesRecorded: rules_recorded,
    MarksRecorded: marks_recorded,
    ExecutorChanged: executor_changed,
}
CONFIGURATION: dict[type, Callable[[ShardState, Any], None]] = {
    FollowerConfigured: follower.configured,
    WhaleFollowed: follower.followed,
    WhaleUnfollowed: follower.unfollowed,
}
OF_FOLLOWER: dict[type, Callable[[ShardState, FollowerState, Any], None]] = {
    CopyDecided: copy_decided,
    CopySkipped: copy_skipped,
    OrdersRequested: positions.orders_requested,
    OpenDropped: positions.open_dropped,
    OrderEnded: positions.order_ended,
    EquityRecorded: follower.equity_recorded,
    FundingRecorded: follower.funding_recorded,
    DriftSuspected: drift_suspected,
    DriftDetected: positions.drift_detected,
    DustRecorded: positions.dust_recorded,
    AccountRecorded: follower.account_recorded,
}


def evolve(state: ShardState, event: AnyEvent) -> None:
    """Fold one event, in the domain's own arithmetic."""
    with localcontext(ARITHMETIC):
        evolve_within(state, event)


def evolve_within(state: ShardState, event: AnyEvent) -> None:
    """`evolve` for a caller that has entered `ARITHMETIC` once for many events."""
    state.events += 1
    if event.at > state.now:
        state.now = event.at
    kind = type(event)
    of_follower = OF_FOLLOWER.get(kind)
    if of_follower:
        owner = state.followers[event.originator_id]
        owner.version = event.originator_version
        of_follower(state, owner, event)
        return
    of_shard = OF_SHARD.get(kind)
    if of_shard:
        state.version = event.originator_version
        of_shard(state, event)
        return
    CONFIGURATION[kind](state, event)


def emit(state: ShardState, out: list[AnyEvent], event: AnyEvent) -> None:
    """Take a decision: fold its event and hand it out."""
    evolve_within(state, event)
    out.append(event)
