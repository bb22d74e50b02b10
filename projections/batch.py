"""Accepted rounds enter; what they change in every table is collected here, then written in one transaction.

The result does not depend on where batches are cut: rows hold sums, newest values and folds of the log, never a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from engine.errors import LogCorrupt
from engine.log.reader import AcceptedRound
from projections import views
from projections.decisions import Decisions
from projections.equity import Equity
from projections.followers import Followers
from projections.positions import Lots, Positions
from projections.signals import Signals
from projections.sql import load
from projections.staging import Curs
from projections.trades import Trades
from projections.views import decode_view

Handler = Callable[[Any, int, int], None]
STAGES: Final = tuple(name for name in load("merges.sql") if name.startswith("stage_"))


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that cannot be projected: where it is, its key and bytes, and why."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    reason: str


class Batch:
    """Changes of all tables. `shards` is P, `lots` what the session remembers, `oldest` the first month that is kept."""

    def __init__(self, shards: int, lots: Lots, oldest: datetime | None = None) -> None:
        self.followers = Followers()
        self.signals = Signals(shards)
        self.decisions = Decisions(oldest)
        self.trades = Trades()
        self.positions = Positions(lots)
        self.equity = Equity(oldest)
        self.poison: list[Poison] = []
        self.events = 0
        self._unfit: ValueError | None = None
        """Of an event that makes no rows: writing fails with it, and finds the event where single ones can be left out."""
        self._handlers = self._map()

    def _map(self) -> dict[type, tuple[Handler, ...]]:
        """Which tables an event concerns. What is not named here concerns none."""
        orders = (self._on_orders,)
        return {
            views.FollowerConfigured: (self.followers.on_configured,),
            views.WhaleFollowed: (self.followers.on_followed,),
            views.WhaleUnfollowed: (self.followers.on_unfollowed,),
            views.SignalAdmitted: (self.signals.on_admitted,),
            views.SignalReleased: (self.signals.on_released,),
            views.SignalDecided: (self.signals.on_decided,),
            views.SignalExpired: (self.signals.on_expired,),
            views.CopyDecided: (self.decisions.on_decided, *orders),
            views.CopySkipped: (self.decisions.on_skipped,),
            views.CopiesSkipped: (self.decisions.on_skips,),
            views.OrdersRequested: orders,
            views.OrderEnded: (self.trades.on_ended, self.signals.on_ended, self.positions.on_ended),
            views.EquityRecorded: (self.equity.on_recorded,),
            views.FundingRecorded: (self.positions.on_rare,),
            views.DriftDetected: (self.positions.on_rare,),
            views.DustRecorded: (self.positions.on_rare,),
        }

    def _on_orders(self, event: views.CopyDecided | views.OrdersRequested, partition: int, offset: int) -> None:
        """New orders concern their signal, and their lots."""
        self.positions.on_requests(self.trades.on_orders(event, partition, offset))
        self.signals.on_orders(event, partition, offset)

    def add(self, round_: AcceptedRound, skip: frozenset[int] = frozenset()) -> None:
        """Collect a round's events. Offsets in `skip` are known to be poison."""
        shard, handlers = round_.shard, self._handlers
        for offset, key, value, _ in round_.events:
            if offset in skip:
                continue
            try:
                event = decode_view(value)
            except (LogCorrupt, msgspec.DecodeError) as error:
                self.poison.append(Poison(shard, offset, key, value, str(error)))
                continue
            try:
                for handle in handlers.get(type(event), ()):
                    handle(event, shard, offset)
            except (msgspec.DecodeError, ValueError, ArithmeticError, AssertionError) as error:
                self._unfit = ValueError(str(error))
        self.events += len(round_.events)

    def add_all(self, rounds: Iterable[AcceptedRound], skip: frozenset[int] = frozenset()) -> None:
        """Collect many rounds of one shard, in order."""
        for round_ in rounds:
            self.add(round_, skip)

    def write(self, cursor: Curs) -> None:
        """Everything into the tables of the search path, in the caller's transaction; parents before children."""
        if self._unfit:
            raise self._unfit
        self.followers.write(cursor)
        self.signals.insert(cursor)
        numbers = self._signal_numbers(cursor)
        known = self.trades.known(cursor)
        self.decisions.write(cursor, numbers)
        self.trades.write(cursor, numbers)
        self.positions.write(cursor, known)
        self.equity.write(cursor)
        self.signals.add(cursor)

    def _signal_numbers(self, cursor: Curs) -> dict[str, int]:
        """Numbers of the signals that decisions and trades of this batch refer to; causes that are no signal have none."""
        keys = set(self.decisions.lines) | {new.order.cause for new in self.trades.requested.values()}
        if not keys:
            return {}
        cursor.execute(load("merges.sql")["signal_numbers"], [list(keys)])
        return dict(cursor.fetchall())


def empty_stages(cursor: Curs) -> None:
    """What a commit does, for those who write several batches in one transaction."""
    for name in STAGES:
        cursor.execute(f"DELETE FROM {name}")


def make_stages(cursor: Curs) -> None:
    """The session's staging tables."""
    merges = load("merges.sql")
    for name in STAGES:
        cursor.execute(merges[name])
