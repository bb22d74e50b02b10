"""`copy_decisions`: every signal and follower enters once, as a copy, a skip, or one of many equal skips; one row each leaves.

Rows are only ever added, in the month's partition: COPY goes straight into the table.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from projections.ids import position_id
from projections.partitions import ensure_months, month_of
from projections.staging import NULL, Curs, copy_lines, raw_json, text, when, who
from projections.views import CopiesSkipped, CopyDecided, CopySkipped

COLUMNS: Final = (
    "signal_id",
    "user_id",
    "follower_key",
    "config_version",
    "position",
    "decided_at",
    "signal_key",
    "whale_key",
    "symbol",
    "reason",
    "limit_value",
    "found_value",
    "outcome",
    "venue",
    "venue_symbol",
    "direction",
    "sizing",
    "wanted_quote",
    "final_quote",
    "quantity",
    "inputs",
    "cuts",
    "orders",
)
SKIPPED: Final = "\t".join(["skipped", *[NULL] * 9, "0"])


@dataclass(slots=True)
class Decisions:
    """The decisions of a batch. `oldest` is the first month that is kept: what is older was dropped and stays so."""

    oldest: datetime | None = None
    lines: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Lines by signal, without the signal's number."""
    months: set[date] = field(default_factory=set)

    def _kept(self, at: int) -> bool:
        month = month_of(at)
        if self.oldest and month < self.oldest.date():
            return False
        self.months.add(month)
        return True

    def on_decided(self, event: CopyDecided, partition: int, offset: int) -> None:
        """Copied, or copied smaller."""
        if not self._kept(event.at):
            return
        sizing = event.sizing
        self.lines[event.signal_id].append(
            f"{who(event.originator_id)}\t{event.config_version}\t{position_id(partition, offset)}\t{when(event.at)}\t"
            f"{text(event.signal_id)}\t{text(event.whale_id)}\t{text(event.symbol)}\t{event.open_reason}\t{text(event.open_limit)}\t"
            f"{text(event.open_value)}\t{event.outcome}\t{event.venue}\t{text(event.venue_symbol)}\t{event.direction}\t{sizing.mode}\t"
            f"{sizing.wanted_quote}\t{sizing.final_quote}\t{sizing.quantity}\t{raw_json(sizing.inputs)}\t{raw_json(sizing.cuts)}\t"
            f"{len(event.orders) + len(event.waiting)}"
        )

    def on_skipped(self, event: CopySkipped, partition: int, offset: int) -> None:
        """Not copied."""
        if self._kept(event.at):
            what = _skip(event, position_id(partition, offset))
            self.lines[event.signal_id].append(f"{who(event.originator_id)}\t{event.config_version}\t{what}")

    def on_skips(self, event: CopiesSkipped, partition: int, offset: int) -> None:
        """Many followers that did not copy for the same reason."""
        if self._kept(event.at):
            what = _skip(event, position_id(partition, offset))
            self.lines[event.signal_id] += [f"{who(follower)}\t{version}\t{what}" for follower, version in event.followers]

    def write(self, cursor: Curs, numbers: dict[str, int]) -> None:
        """Make the months that are missing, then COPY."""
        if self.lines:
            ensure_months(cursor, "copy_decisions", self.months)
            lines = [f"{number}\t{line}" for key, found in self.lines.items() for number in [numbers.get(key, NULL)] for line in found]
            copy_lines(cursor, "copy_decisions", COLUMNS, lines)


def _skip(event: CopySkipped | CopiesSkipped, position: int) -> str:
    """What the skips of one event share."""
    where = f"{text(event.signal_id)}\t{text(event.whale_id)}\t{text(event.symbol)}"
    return f"{position}\t{when(event.at)}\t{where}\t{text(event.reason)}\t{text(event.limit)}\t{text(event.value)}\t{SKIPPED}"
