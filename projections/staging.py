"""Rows on their way in: lists of values enter, COPY text leaves; a statement of `merges.sql` then merges what was staged.

Staging tables are temporary, one a session, and empty themselves at commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
from psycopg import Connection, Cursor, sql

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Row = Sequence[Any]
Conn = Connection[tuple[Any, ...]]
Curs = Cursor[tuple[Any, ...]]


@lru_cache(maxsize=100_000)
def when(ms: int) -> str:
    """Milliseconds since the epoch as a timestamptz text. The events of a round share their times: mostly cached."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(" ")


def when_known(ms: int | None) -> str | None:
    """As `when`; 0 and None are unknown."""
    return when(ms) if ms else None


def to_json(value: Any) -> str:
    """A value of the domain as JSON text; amounts as strings."""
    return msgspec.json.encode(value).decode()


def copy_rows(cursor: Curs, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """COPY rows into a table of the search path."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)))
    with cursor.copy(statement) as copy:
        write = copy.write_row
        for row in rows:
            write(row)
