"""`account_equity` and `equity_curve`: reports of accounts enter; the newest of each, and the last of every five minutes, leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from projections.partitions import ensure_months, month_of
from projections.sql import load
from projections.staging import Curs, copy_lines, when, who
from projections.views import EquityRecorded

BUCKET_MS: Final = 300_000
NEWEST: Final = ("user_id", "follower_key", "venue", "equity", "available", "reported_at", "updated_at", "version")
POINT: Final = ("user_id", "follower_key", "venue", "bucket_at", "equity", "available")


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
        copy_lines(cursor, "stage_equity", NEWEST, [_newest(*self.newest[key]) for key in sorted(self.newest)])
        cursor.execute(merges["merge_equity"])
        points = {key: event for key, event in self.points.items() if not self.oldest or month_of(key[2]) >= self.oldest.date()}
        if points:
            ensure_months(cursor, "equity_curve", {month_of(key[2]) for key in points})
            copy_lines(cursor, "stage_curve", POINT, [_point(key, points[key]) for key in sorted(points)])
            cursor.execute(merges["merge_curve"])


def _newest(event: EquityRecorded, count: int) -> str:
    times = f"{when(event.reported_at)}\t{when(event.at)}"
    return f"{who(event.originator_id)}\t{event.venue}\t{event.equity}\t{event.available}\t{times}\t{count}"


def _point(key: tuple[str, str, int], event: EquityRecorded) -> str:
    return f"{who(key[0])}\t{key[1]}\t{when(key[2])}\t{event.equity}\t{event.available}"
