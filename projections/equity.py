"""`account_equity` and `equity_curve`: reports of accounts enter; the newest of each, and the last of every five minutes, leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from engine.domain.events import EquityRecorded
from projections.ids import user_id
from projections.partitions import ensure_months, month_of
from projections.sql import load
from projections.staging import Curs, copy_rows, when

BUCKET_MS: Final = 300_000
NEWEST: Final = ("user_id", "venue", "follower_key", "equity", "available", "reported_at", "updated_at", "version")
POINT: Final = ("user_id", "venue", "bucket_at", "equity", "available")


@dataclass(slots=True)
class Equity:
    """What a batch changes in both tables. `oldest` is the first month of the curve that is kept."""

    oldest: datetime | None = None
    newest: dict[tuple[str, str], tuple[EquityRecorded, int]] = field(default_factory=dict)
    points: dict[tuple[str, str, int], EquityRecorded] = field(default_factory=dict)

    def on_recorded(self, event: EquityRecorded, partition: int, offset: int) -> None:
        """An account's equity."""
        key = (event.originator_id, event.venue)
        count = self.newest[key][1] if key in self.newest else 0
        self.newest[key] = (event, count + 1)
        self.points[(*key, event.reported_at // BUCKET_MS * BUCKET_MS)] = event

    def write(self, cursor: Curs) -> None:
        """Stage and merge the newest, then the points of the months that are kept."""
        if not self.newest:
            return
        merges = load("merges.sql")
        copy_rows(cursor, "stage_equity", NEWEST, (_newest(*self.newest[key]) for key in sorted(self.newest)))
        cursor.execute(merges["merge_equity"])
        points = {key: event for key, event in self.points.items() if not self.oldest or month_of(key[2]) >= self.oldest.date()}
        if points:
            ensure_months(cursor, "equity_curve", {month_of(key[2]) for key in points})
            copy_rows(cursor, "stage_curve", POINT, (_point(key, points[key]) for key in sorted(points)))
            cursor.execute(merges["merge_curve"])


def _newest(event: EquityRecorded, count: int) -> tuple[object, ...]:
    key = event.originator_id
    return (user_id(key), event.venue, key, event.equity, event.available, when(event.reported_at), when(event.at), count)


def _point(key: tuple[str, str, int], event: EquityRecorded) -> tuple[object, ...]:
    return (user_id(key[0]), key[1], when(key[2]), event.equity, event.available)
