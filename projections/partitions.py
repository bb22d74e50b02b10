"""Monthly partitions: made when a month's first row arrives, dropped when their time is over.

Enters: times in ms, the schema of a generation. Leaves: partitions `copy_decisions_2026_11`, or none any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import lru_cache

from projections.schema import PARTITIONED
from projections.staging import EPOCH, Curs


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


def drop_months(cursor: Curs, keep: int, now: datetime) -> list[str]:
    """Drop the partitions of all but the newest `keep` months before this one, and note it. Gives the names of what was dropped."""
    oldest = _months_before(now, keep)
    dropped = []
    for table in PARTITIONED:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(%s)", [table])
        for (child,) in cursor.fetchall():
            year, month = child.rpartition(".")[2].removeprefix(table + "_").split("_")
            if datetime(int(year), int(month), 1, tzinfo=UTC) < oldest:
                cursor.execute(f"DROP TABLE {child}")
                dropped.append(child)
    if dropped:
        cursor.execute("UPDATE public.projection_generation SET oldest_month = greatest(oldest_month, %s)", [oldest])
    return dropped


def _months_before(now: datetime, months: int) -> datetime:
    assert now > EPOCH
    index = now.year * 12 + now.month - 1 - months
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
