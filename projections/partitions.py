"""Monthly partitions: made when a month's first row arrives, dropped when their time is over.

Enters: times in ms, the schema of a generation. Leaves: partitions `copy_decisions_2026_11`, or none any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import lru_cache

from projections.staging import Curs


@lru_cache(maxsize=100_000)
def month_of(ms: int) -> date:
    """First day of the UTC month of a time in ms."""
    return datetime.fromtimestamp(ms // 1000, UTC).date().replace(day=1)


def ensure_months(cursor: Curs, table: str, months: Iterable[date]) -> None:
    """Make the partitions of these months in the current schema where they are missing."""
    for month in sorted(months):
        # The look is cheap; making one takes locks.
        cursor.execute("SELECT current_schema(), to_regclass(%s) IS NOT NULL", [f"{table}_{month:%Y_%m}"])
        row = cursor.fetchone()
        assert row is not None
        if not row[1]:
            cursor.execute("SELECT public.remora_month_partition(%s, %s, %s)", [row[0], table, month])


def drop_months(cursor: Curs, keep: int) -> list[str]:
    """Drop the months before the newest `keep` ones (this one included), and note it. Gives the names of what was dropped."""
    cursor.execute("SELECT public.remora_drop_months(%s)", [keep])
    return [row[0] for row in cursor]
