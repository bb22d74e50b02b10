"""The signal queue: signals enter, admissions leave: at once, held behind a gate, or nothing for one that was seen before.

Gates are control records. Exits pass every gate; an open waits behind an earlier one of its whale and symbol. What waits leaves in
order of priority, then detected_at, then arrival, never two of one whale and symbol in another order than they came. The clock expires it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from engine.domain.events import (
    AnyEvent,
    GateSet,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
    SignalReleased,
    WhaleGapDetected,
)
from engine.domain.ids import signal_name
from engine.domain.messages import ReleaseSignals, SetGate, SourcePosition
from engine.domain.state import ONE, WIDE, ZERO, Gate, HeldSignal, ShardState, WhalePair, pair_key, remember
from engine.domain.values import PRIORITY_RANK, Priority, Signal

OPEN_LIFE_MS = 60_000
"""How long an open without `expires_at` may wait."""
EXIT_ACTIONS = frozenset({"reduce", "close", "flip"})


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in the queue: counts by priority and by gate, and the oldest waiting signal."""

    held: int
    by_priority: dict[str, int]
    by_gate: dict[str, int]
    oldest_detected_at: int | None
    min_priority: Priority
    paused: bool


def expires_at(signal: Signal) -> int | None:
    """When an open is too old; exits never are, and a flip's exit neither."""
    if signal.action in ("reduce", "close"):
        return None
    return signal.expires_at if signal.expires_at is not None else signal.detected_at + OPEN_LIFE_MS


def closing_fraction(signal: Signal) -> Decimal:
    """Which part of its position the whale gave up: 1 for close and flip, from the positions for reduce."""
    if signal.action in ("close", "flip"):
        return ONE
    before, after = abs(signal.position_before or ZERO), abs(signal.position_after or ZERO)
    if not before:
        return ZERO
    return min(ONE, max(ZERO, (before - after) / before))


def _seen_key(signal: Signal) -> str:
    return signal_name(signal.source, signal.whale_id, signal.signal_id)


def gate_of(state: ShardState, signal: Signal) -> str:
    """The gate that holds a signal back, or nothing: exits and flips pass."""
    return "" if signal.action in EXIT_ACTIONS else closed_gate(state, signal)


def closed_gate(state: ShardState, signal: Signal) -> str:
    """The gate that is closed for opens like this one, or nothing."""
    if state.gate.paused:
        return "paused"
    if PRIORITY_RANK[signal.priority] > PRIORITY_RANK[state.gate.min_priority]:
        return "min_priority"
    return ""


def _held_ahead(state: ShardState, signal: Signal) -> bool:
    pair = (signal.whale_id, signal.symbol)
    return any((held.signal.whale_id, held.signal.symbol) == pair for held in state.held.values())


def decide_admission(state: ShardState, signal: Signal, src: SourcePosition) -> list[AnyEvent]:
    """Admit a signal once, and notice when the whale's chain of positions broke before it."""
    if _seen_key(signal) in state.seen or signal.signal_id in state.held:
        return []
    events: list[AnyEvent] = []
    pair = state.whales.get(pair_key(signal.whale_id, signal.symbol))
    known = pair.position if pair else None
    if known is not None and signal.position_before is not None and known != signal.position_before:
        events.append(
            WhaleGapDetected(
                originator_id=state.originator_id,
                originator_version=state.version + 1,
                at=state.now,
                whale_id=signal.whale_id,
                symbol=signal.symbol,
                expected=known,
                found=signal.position_before,
                signal_id=signal.signal_id,
            )
        )
    held = gate_of(state, signal)
    if not held and signal.action not in EXIT_ACTIONS and _held_ahead(state, signal):
        held = "behind"
    events.append(
        SignalAdmitted(
            originator_id=state.originator_id,
            originator_version=state.version + 1 + len(events),
            at=state.now,
            signal=signal,
            src=src,
            held=held,
        )
    )
    return events


def signal_admitted(state: ShardState, event: SignalAdmitted) -> None:
    """Fold a signal: it is seen, the whale's position moves, and it waits or is being decided."""
    signal = event.signal
    remember(state.seen, _seen_key(signal), event.at)
    _move_whale(state, signal)
    admitted = HeldSignal(signal=signal, gate=event.held, number=state.events, received_at=event.at)
    if event.held:
        state.held[signal.signal_id] = admitted
    else:
        state.deciding = admitted
    if signal.action == "reduce":
        _scale_held(state, signal)


def _move_whale(state: ShardState, signal: Signal) -> None:
    pair = state.whales.setdefault(pair_key(signal.whale_id, signal.symbol), WhalePair())
    before = ZERO if signal.position_before is None and signal.action == "open" else signal.position_before
    if before == ZERO or signal.action == "flip":
        pair.flat_at = state.events
    pair.position = _position_after(signal, before if before is not None else pair.position)
    if pair.position == ZERO:
        pair.flat_at, pair.gap = state.events, False


def _position_after(signal: Signal, before: Decimal | None) -> Decimal | None:
    if signal.position_after is not None:
        return signal.position_after
    if signal.action == "close":
        return ZERO
    if before is None:
        return None
    return WIDE.add(before, signal.quantity) if signal.side == "buy" else WIDE.subtract(before, signal.quantity)


def _scale_held(state: ShardState, signal: Signal) -> None:
    kept = ONE - closing_fraction(signal)
    for held in state.held.values():
        if (held.signal.whale_id, held.signal.symbol) == (signal.whale_id, signal.symbol):
            held.kept *= kept


def whale_gap_detected(state: ShardState, event: WhaleGapDetected) -> None:
    """Fold a break in a whale's chain: close-only until the whale is flat or re-synchronised."""
    state.whales.setdefault(pair_key(event.whale_id, event.symbol), WhalePair()).gap = True


def signal_released(state: ShardState, event: SignalReleased) -> None:
    """Fold that a held signal is being decided now."""
    state.deciding = state.held.pop(event.signal_id)


def signal_done(state: ShardState, event: SignalDecided | SignalExpired) -> None:
    """Fold the end of a signal in this shard."""
    state.held.pop(event.signal_id, None)
    if state.deciding and state.deciding.signal.signal_id == event.signal_id:
        state.deciding = None


def gate_set(state: ShardState, event: GateSet) -> None:
    """Fold the gates."""
    state.gate = Gate(event.min_priority, event.paused)
    remember(state.requests, event.request_id, event.at)


def decide_gate(state: ShardState, command: SetGate) -> list[AnyEvent]:
    """Set the gates; what passes them now is released by the caller."""
    return [
        GateSet(
            originator_id=state.originator_id,
            originator_version=state.version + 1,
            at=state.now,
            min_priority=command.min_priority,
            paused=command.paused,
            request_id=command.request_id,
            actor=command.actor,
        )
    ]


def in_order(waiting: Iterable[HeldSignal]) -> list[HeldSignal]:
    """The order in which signals leave the queue: the best by priority and age, never before an earlier one of its pair."""
    lines: dict[tuple[str, str], list[HeldSignal]] = {}
    for held in sorted(waiting, key=lambda held: held.number):
        lines.setdefault((held.signal.whale_id, held.signal.symbol), []).append(held)
    ordered: list[HeldSignal] = []
    while lines:
        pair = min(lines, key=lambda pair: _rank(lines[pair][0]))
        ordered.append(lines[pair].pop(0))
        if not lines[pair]:
            del lines[pair]
    return ordered


def _rank(held: HeldSignal) -> tuple[int, int, int]:
    return PRIORITY_RANK[held.signal.priority], held.signal.detected_at, held.number


def next_signals(state: ShardState, request: ReleaseSignals) -> list[HeldSignal]:
    """What a release lets pass: the named signals, or the next `max_signals` of at least `min_priority`."""
    lowest = PRIORITY_RANK[request.min_priority]
    named = frozenset(request.signal_ids)
    chosen: list[HeldSignal] = []
    blocked: set[tuple[str, str]] = set()
    for held in in_order(state.held.values()):
        pair = (held.signal.whale_id, held.signal.symbol)
        wanted = held.signal.signal_id in named if named else PRIORITY_RANK[held.signal.priority] <= lowest
        if wanted and pair not in blocked:
            chosen.append(held)
        else:
            blocked.add(pair)
    return chosen if named else chosen[: request.max_signals]


def passing(state: ShardState) -> list[HeldSignal]:
    """Held signals that no gate holds any more and that wait behind none that is held."""
    blocked: set[tuple[str, str]] = set()
    free: list[HeldSignal] = []
    for held in sorted(state.held.values(), key=lambda held: held.number):
        pair = (held.signal.whale_id, held.signal.symbol)
        if pair in blocked or gate_of(state, held.signal):
            blocked.add(pair)
        else:
            free.append(held)
    return in_order(free)


def overdue(state: ShardState) -> list[HeldSignal]:
    """Held signals whose time is over."""
    return [held for held in state.held.values() if (end := expires_at(held.signal)) is not None and end < state.now]


def superseded(state: ShardState, signal: Signal) -> list[HeldSignal]:
    """Held opens of a position that the whale has closed meanwhile."""
    if signal.action not in ("close", "flip"):
        return []
    return [held for held in state.held.values() if (held.signal.whale_id, held.signal.symbol) == (signal.whale_id, signal.symbol)]


def queue_status(state: ShardState) -> QueueStatus:
    """What waits, for `queue status`."""
    signals = [held.signal for held in state.held.values()]
    return QueueStatus(
        held=len(signals),
        by_priority=dict(Counter(signal.priority for signal in signals)),
        by_gate=dict(Counter(held.gate for held in state.held.values())),
        oldest_detected_at=min((signal.detected_at for signal in signals), default=None),
        min_priority=state.gate.min_priority,
        paused=state.gate.paused,
    )


def release_event(state: ShardState, held: HeldSignal) -> SignalReleased:
    """A held signal passes."""
    return SignalReleased(
        originator_id=state.originator_id, originator_version=state.version + 1, at=state.now, signal_id=held.signal.signal_id
    )
