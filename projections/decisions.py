"""`copy_decisions`: every signal and follower enters once, as a copy, a skip, or one of many equal skips; one row each leaves.

Rows are only ever added, in the month's partition: COPY goes straight into the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from engine.domain.events import CopiesSkipped, CopyDecided, CopySkipped
from projections.ids import position_id, user_id
from projections.partitions import ensure_months, month_of
from projections.staging import Curs, copy_rows, to_json, when

COLUMNS: Final = (
    "signal_id",
    "user_id",
    "decided_at",
    "signal_key",
    "follower_key",
    "whale_key",
    "symbol",
    "outcome",
    "reason",
    "limit_value",
    "found_value",
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
    "config_version",
    "position",
)
NO_SIZE: Final = (None,) * 9


@dataclass(slots=True)
class Decisions:
    """The decisions of a batch. `oldest` is the first month that is kept: what is older was dropped and stays so."""

    oldest: datetime | None = None
    rows: list[tuple[object, ...]] = field(default_factory=list)
    """As `COLUMNS`, without the signal's number."""
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
        self.rows.append(
            (
                user_id(event.originator_id),
                when(event.at),
                event.signal_id,
                event.originator_id,
                event.whale_id,
                event.symbol,
                event.outcome,
                event.open_reason,
                event.open_limit or None,
                event.open_value or None,
                event.venue,
                event.venue_symbol,
                event.direction,
                sizing.mode,
                sizing.wanted_quote,
                sizing.final_quote,
                sizing.quantity,
                to_json(sizing.inputs),
                to_json(sizing.cuts),
                len(event.orders) + len(event.waiting),
                event.config_version,
                position_id(partition, offset),
            )
        )

    def on_skipped(self, event: CopySkipped, partition: int, offset: int) -> None:
        """Not copied."""
        if self._kept(event.at):
            self._skip(event, event.originator_id, event.config_version, position_id(partition, offset))

    def on_skips(self, event: CopiesSkipped, partition: int, offset: int) -> None:
        """Many followers that did not copy for the same reason."""
        if self._kept(event.at):
            position = position_id(partition, offset)
            for follower, config_version in event.followers:
                self._skip(event, follower, config_version, position)

    def _skip(self, event: CopySkipped | CopiesSkipped, follower: str, config_version: int, position: int) -> None:
        what = (event.signal_id, follower, event.whale_id, event.symbol, "skipped", event.reason, event.limit or None, event.value or None)
        self.rows.append((user_id(follower), when(event.at), *what, *NO_SIZE, 0, config_version, position))

    def write(self, cursor: Curs, signal_ids: dict[str, int]) -> None:
        """Make the months that are missing, then COPY."""
        if self.rows:
            ensure_months(cursor, "copy_decisions", self.months)
            copy_rows(cursor, "copy_decisions", COLUMNS, ((signal_ids.get(row[2]), *row) for row in self.rows))  # type: ignore[call-overload]

    def signal_keys(self) -> set[str]:
        """The signals whose numbers `write` needs."""
        return {str(row[2]) for row in self.rows}
