"""Are two generations equal? Two schemas enter, a count and a checksum of every table leave; the order of rows does not matter.

Columns that only older code fills or somebody else added are left out, and so are rows that only older code wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from projections.columns import METADATA
from projections.schema import PROJECTED
from projections.staging import Conn
from projections.store import LIVE

OLDER_ONLY: Final = {
    "users": ("email", "created_at", "origin"),
    "user_whale_follows": ("id", "created_at", "origin"),
    "whale_signals": ("tx_hash", "origin"),
    "projection_positions": ("end_offset", "lag_seconds", "checked_at"),
}
"""Columns that are not folded from the log, by table."""
PROJECTED_ROWS: Final = {
    "users": "follower_key IS NOT NULL",
    "user_whale_follows": "follower_key IS NOT NULL",
    "whale_signals": "last_event_at IS NOT NULL",
    "trades": "origin = 'log'",
    "positions": "origin = 'log'",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A table whose sides differ: rows and checksum of each."""

    table: str
    live: tuple[int, int]
    rebuilt: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.table}: live has {self.live[0]} rows ({self.live[1]}), rebuilt {self.rebuilt[0]} ({self.rebuilt[1]})"


def checksum(conn: Conn, schema: str, table: str) -> tuple[int, int]:
    """Rows of the log in a table, and the sum of a 64-bit hash of each."""
    found = conn.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY 1",
        [LIVE, table],
    )
    # 0.50 and 0.5 are the same amount: how many zeros are kept depends on where batches were cut.
    named = [
        (f'trim_scale("{name}")' if kind == "numeric" else f'"{name}"')
        for name, kind in found
        if name in METADATA.tables[table].columns and name not in OLDER_ONLY.get(table, ())
    ]
    columns = ", ".join(named)
    condition = PROJECTED_ROWS.get(table, "true")
    row = conn.execute(
        f"SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)), 0) FROM {schema}.{table} WHERE {condition}"
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def differences(conn: Conn, schema: str) -> list[Difference]:
    """Tables in which the live generation and another differ, in the caller's snapshot."""
    sides = [Difference(table, checksum(conn, LIVE, table), checksum(conn, schema, table)) for table in PROJECTED]
    return [side for side in sides if side.live != side.rebuilt]
