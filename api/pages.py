"""Pages of lists: an opaque cursor enters, the sort values of the last row leave, and back.

A cursor is base64url of the JSON array of those values. It stays valid while rows come and go: a page begins behind the row that the
cursor names, whether that is still there or not.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Query

from api.errors import BadCursor

MOST: Final = 500
Limit = Annotated[int, Query(ge=1, le=MOST, description="rows on a page")]
Cursor = Annotated[str | None, Query(max_length=300, description="`next` of the page before")]
Reader = Callable[[Any], Any]


def read_time(value: Any) -> datetime:
    """An ISO time with its zone."""
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("no time zone")
    return found.astimezone(UTC)


def read_number(value: Any) -> int:
    """A bigint."""
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
        raise ValueError("not a bigint")
    return value


def read_text(value: Any) -> str:
    """A short text."""
    if not isinstance(value, str) or len(value) > 128:
        raise ValueError("not a short text")
    return value


def decode_cursor(cursor: str | None, readers: Sequence[Reader]) -> tuple[Any, ...] | None:
    """The sort values in a cursor; one that we did not write is refused."""
    if cursor is None:
        return None
    try:
        values = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        if not isinstance(values, list) or len(values) != len(readers):
            raise ValueError("another list's cursor")
        return tuple(read(value) for read, value in zip(readers, values, strict=True))
    except (ValueError, TypeError, OverflowError, binascii.Error, RecursionError) as error:
        raise BadCursor(
            "The cursor is not one that this list gave.", errors=[{"field": "query.cursor", "expected": "`next` of a page"}]
        ) from error


def encode_cursor(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The cursor behind a row."""
    values = [value.isoformat() if isinstance(value := row[key], datetime) else value for key in keys]
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode()
