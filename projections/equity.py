"""`account_equity` and `equity_curve`: reports of accounts enter; the newest of each, and the last of every five minutes, leave."""

from __future__ import annotations

from collections import defaultdict
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


class Account:
    """What a batch says about one account: the newest report, how many there were, the last of every five minutes."""

    __slots__ = ("count", "newest", "points")

    def __init__(self) -> None:
        self.newest: EquityRecorded
        self.count = 0
        self.points: dict[int, EquityRecorded] = {}


@dataclass(slots=True)
class Equity:
    """What a batch changes in both tables. `oldest` is the first month of the curve that is kept."""

    oldest: datetime | None = None
    accounts: dict[tuple[str, str], Account] = field(default_factory=lambda: defaultdict(Account))

    def on_recorded(self, event: EquityRecorded, partition: int, offset: int) -> None:
        """An account's equity."""
        account = self.accounts[event.originator_id, event.venue]
        account.newest = account.points[event.reported_at // BUCKET_MS] = event
        account.count += 1

    def write(self, cursor: Curs) -> None:
        """Stage and merge the newest, then the points of the months that are kept."""
        if not self.accounts:
            return
        merges, accounts = load("merges.sql"), sorted(self.accounts.items())
        copy_lines(cursor, "stage_equity", NEWEST, [_newest(account) for _, account in accounts])
        cursor.execute(merges["merge_equity"])
        points = [(key, bucket * BUCKET_MS, event) for key, account in accounts for bucket, event in sorted(account.points.items())]
        kept = [point for point in points if not self.oldest or month_of(point[1]) >= self.oldest.date()]
        if kept:
            ensure_months(cursor, "equity_curve", {month_of(at) for _, at, _ in kept})
            copy_lines(cursor, "stage_curve", POINT, [_point(*point) for point in kept])
            cursor.execute(merges["merge_curve"])


def _newest(account: Account) -> str:
    event = account.newest
    times = f"{when(event.reported_at)}\t{when(event.at)}"
    return f"{who(event.originator_id)}\t{event.venue}\t{event.equity}\t{event.available}\t{times}\t{account.count}"


def _point(key: tuple[str, str], at: int, event: EquityRecorded) -> str:
    return f"{who(key[0])}\t{key[1]}\t{when(at)}\t{event.equity}\t{event.available}"
