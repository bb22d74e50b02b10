"""Rows on their way in: values or ready lines enter, COPY text leaves; a statement of `merges.sql` then merges what was staged.

Staging tables are temporary, one a session, and empty themselves at commit. Tables with many rows are written as lines that their
modules put together themselves: a third of the time that adapting value by value takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
import psycopg
from psycopg import Connection, Cursor, sql

from engine.errors import ConfigInvalid, DependencyUnreachable
from projections.ids import user_id

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NULL: Final = "\\N"
CHUNK: Final = 2000
"""Lines handed to COPY at once."""
Row = Sequence[Any]
Conn = Connection[tuple[Any, ...]]
Curs = Cursor[tuple[Any, ...]]
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@lru_cache(maxsize=100_000)
def when(ms: int) -> str:
    """Milliseconds since the epoch as a timestamptz text. The events of a round share their times: mostly cached."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(" ")


def when_known(ms: int | None) -> str | None:
    """As `when`; 0 and None are unknown."""
    return when(ms) if ms else None


@lru_cache(maxsize=100_000)
def when_line(ms: int | None) -> str:
    """As `when_known`, for lines."""
    return when(ms) if ms else NULL


@lru_cache(maxsize=200_000)
def text(value: str | None) -> str:
    """A text for lines; None and the empty one are NULL."""
    return value.translate(_ESCAPES) if value else NULL


def plain(value: str) -> str:
    """As `text`, for texts that are all different and almost always plain: hex ids."""
    return value if value.isalnum() else text(value)


@lru_cache(maxsize=200_000)
def who(follower_id: str) -> str:
    """The two columns `user_id` and `follower_key`, for lines."""
    return f"{user_id(follower_id)}\t{text(follower_id)}"


def raw_json(raw: msgspec.Raw) -> str:
    """JSON that the log holds, for lines."""
    return bytes(raw).decode().replace("\\", "\\\\")


def open_connection(dsn: str, **options: Any) -> Conn:
    """A connection for a command. Errors: DependencyUnreachable, ConfigInvalid."""
    try:
        return psycopg.connect(dsn, **options)
    except psycopg.OperationalError as error:
        raise DependencyUnreachable(f"Postgres did not answer: {str(error).splitlines()[0]}") from None
    except psycopg.ProgrammingError:
        # Its text repeats the URL, password and all.
        raise ConfigInvalid("Postgres cannot be asked: this is no URL of one.") from None


def copy_rows(cursor: Curs, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """COPY rows of values into a table of the search path."""
    with cursor.copy(_copy(table, tuple(columns))) as copy:
        for row in rows:
            copy.write_row(row)


def copy_lines(cursor: Curs, table: str, columns: Sequence[str], lines: Sequence[str]) -> None:
    """COPY ready lines into a table. Lines that hold more columns or rows than they should are refused: a value of the log broke out."""
    chunks = [_chunk(table, len(columns) - 1, lines[start : start + CHUNK]) for start in range(0, len(lines), CHUNK)]
    with cursor.copy(_copy(table, tuple(columns))) as copy:
        for chunk in chunks:
            copy.write(chunk)


def _chunk(table: str, tabs: int, lines: Sequence[str]) -> str:
    data = "\n".join(lines) + "\n"
    if data.count("\t") != tabs * len(lines) or data.count("\n") != len(lines):
        raise ValueError(f"{table}: a value with a tab or a line break")
    return data


@lru_cache(maxsize=100)
def _copy(table: str, columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)))
