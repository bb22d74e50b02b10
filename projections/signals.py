"""`whale_signals`: what shards say about signals enters, counts and a status over all shards leave.

Every shard tells its part in its own log, so rows are inserted by whoever is first and otherwise only added to: sums and maxima, whose
order does not matter. The status is worked out by `merges.sql` from the sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from projections.ids import signal_number, whale_number
from projections.sql import load
from projections.staging import Curs, copy_rows, when, when_known
from projections.trades import nothing
from projections.views import (
    CopyDecided,
    OrderEnded,
    OrdersRequested,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
    SignalReleased,
    SignalView,
)

SYMBOL_WIDTH: Final = 30
NEW: Final = (
    "id",
    "signal_key",
    "whale_id",
    "whale_key",
    "symbol",
    "side",
    "quantity",
    "fill_price",
    "detected_at",
    "source",
    "trade_type",
    "priority",
    "action",
    "whale_order_id",
    "position_before",
    "position_after",
    "whale_equity",
    "leverage",
    "expires_at",
    "whale_time",
    "published_at",
    "received_at",
    "source_partition",
    "source_offset",
    "held",
)
SUMS: Final = (
    "signal_key",
    "admitted",
    "decided",
    "expired",
    "released",
    "followers",
    "copied",
    "orders_sent",
    "orders_ended",
    "orders_filled",
    "events",
    "first_at",
    "last_at",
    "reason",
)


@dataclass(slots=True)
class Sums:
    """What a batch adds to one signal."""

    admitted: int = 0
    decided: int = 0
    expired: int = 0
    released: int = 0
    followers: int = 0
    copied: int = 0
    orders_sent: int = 0
    orders_ended: int = 0
    orders_filled: int = 0
    events: int = 0
    first_at: int | None = None
    last_at: int = 0
    reason: str = ""

    def row(self, signal_key: str) -> tuple[object, ...]:
        """As `SUMS` has it."""
        counts = (self.admitted, self.decided, self.expired, self.released, self.followers, self.copied)
        orders = (self.orders_sent, self.orders_ended, self.orders_filled)
        return (signal_key, *counts, *orders, self.events, when_known(self.first_at), when(self.last_at), self.reason)


@dataclass(slots=True)
class Signals:
    """What a batch changes in `whale_signals`. `shards` is P: a signal is through when this many have decided."""

    shards: int
    new: dict[str, tuple[object, ...]] = field(default_factory=dict)
    sums: dict[str, Sums] = field(default_factory=dict)

    def _touch(self, signal_key: str, at: int) -> Sums:
        sums = self.sums.get(signal_key)
        if sums is None:
            sums = self.sums[signal_key] = Sums()
        sums.events += 1
        sums.last_at = max(sums.last_at, at)
        return sums

    def on_admitted(self, event: SignalAdmitted, partition: int, offset: int) -> None:
        """A shard has seen the signal; the first to say so brings the row."""
        key = event.signal.signal_id
        sums = self._touch(key, event.at)
        sums.admitted += 1
        sums.first_at = min(sums.first_at or event.at, event.at)
        if key not in self.new:
            self.new[key] = _new_row(event.signal, event)

    def on_released(self, event: SignalReleased, partition: int, offset: int) -> None:
        """A gate lets it pass."""
        self._touch(event.signal_id, event.at).released += 1

    def on_decided(self, event: SignalDecided, partition: int, offset: int) -> None:
        """One shard's followers have all decided."""
        sums = self._touch(event.signal_id, event.at)
        sums.decided += 1
        sums.followers += event.followers
        sums.copied += event.copied

    def on_expired(self, event: SignalExpired, partition: int, offset: int) -> None:
        """It expired in one shard."""
        self._touch(event.signal_id, event.at).expired += 1

    def on_orders(self, event: CopyDecided | OrdersRequested, partition: int, offset: int) -> None:
        """Orders were sent for a signal (causes that are no signal are dropped when they are merged)."""
        for order in event.orders:
            if order.mode != "shadow":
                self._touch(order.cause, event.at).orders_sent += 1

    def on_ended(self, event: OrderEnded, partition: int, offset: int) -> None:
        """An order of a signal has ended."""
        sums = self._touch(event.cause, event.at)
        sums.orders_ended += 1
        if not nothing(event.filled):
            sums.orders_filled += 1
        else:
            sums.reason = max(sums.reason, event.reason or event.status)

    def insert(self, cursor: Curs) -> None:
        """Insert what is new, in order of keys: other shards do the same at the same time."""
        if self.new:
            copy_rows(cursor, "stage_signals", NEW, (self.new[key] for key in sorted(self.new)))
            cursor.execute(load("merges.sql")["insert_signals"])

    def add(self, cursor: Curs) -> None:
        """Add the sums, in order of keys. Last of a transaction: whoever has something to add to the same signals waits until its end."""
        merges = load("merges.sql")
        if self.sums:
            copy_rows(cursor, "stage_signal_sums", SUMS, (self.sums[key].row(key) for key in sorted(self.sums)))
            cursor.execute(merges["lock_signals"])
            cursor.execute(merges["add_signal_sums"], {"shards": self.shards})


def _new_row(signal: SignalView, event: SignalAdmitted) -> tuple[object, ...]:
    return (
        signal_number(signal.signal_id, event.src.partition, event.src.offset),
        signal.signal_id,
        whale_number(signal.whale_id),
        signal.whale_id,
        signal.symbol[:SYMBOL_WIDTH],
        signal.side,
        signal.quantity,
        signal.price,
        when(signal.detected_at),
        signal.source,
        signal.trade_type,
        signal.priority,
        signal.action,
        signal.whale_order_id,
        signal.position_before,
        signal.position_after,
        signal.whale_equity,
        signal.leverage,
        when_known(signal.expires_at),
        when_known(signal.whale_time),
        when_known(signal.published_at),
        when(event.at),
        event.src.partition,
        event.src.offset,
        event.held,
    )
