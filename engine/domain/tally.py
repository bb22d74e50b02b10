"""Counts of one signal: answers enter, equal skips leave as shared events, and the end of the signal in this shard."""

from __future__ import annotations

import msgspec

from engine.domain.case import Refusal, SignalCase
from engine.domain.events import AnyEvent, CopiesSkipped, SignalDecided, SignalExpired
from engine.domain.fold import emit
from engine.domain.state import FollowerState

SKIPS_PER_EVENT = 4000
"""Followers in one `CopiesSkipped`, so that its record stays well under what a broker takes."""


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


def emit_skips(case: SignalCase, tally: Tally, out: list[AnyEvent]) -> None:
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


def close_signal(case: SignalCase, tally: Tally, out: list[AnyEvent]) -> None:
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
