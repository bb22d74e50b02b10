"""Ids of live events: a text enters, what a client has seen leaves, and back.

An id is the next offset of each partition of the events, right behind an accepted round, joined by dots: `12.40.7.9`. These are the numbers
of `freshness.position`. An event inside a round adds which one it is, `12.40.7.9-2.8.0`: of partition 2, everything up to item 0 of the
record at offset 8 is seen too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_CHARS: Final = 20_000
_FORM: Final = re.compile(r"\d{1,18}(\.\d{1,18})*(-\d{1,4}\.\d{1,18}\.\d{1,9})?")

Place = tuple[int, int]
"""Offset of a record and number of the item in it."""


class Mark(NamedTuple):
    """`vector`: next offset of each partition behind the last whole round; `inside`: partition and place within the round after it."""

    vector: tuple[int, ...]
    inside: tuple[int, Place] | None = None


def parse_mark(text: str, partitions: int) -> Mark | None:
    """None: not an id of ours, or of a log with another number of partitions."""
    if len(text) > MAX_CHARS or not _FORM.fullmatch(text, 0):
        return None
    vector, _, inside = text.partition("-")
    offsets = tuple(map(int, vector.split(".")))
    if len(offsets) != partitions:
        return None
    if not inside:
        return Mark(offsets)
    partition, offset, item = map(int, inside.split("."))
    if partition >= partitions or offset < offsets[partition]:
        return None
    return Mark(offsets, (partition, (offset, item)))


def write_vector(vector: Sequence[int]) -> str:
    """The id behind a whole round."""
    return ".".join(map(str, vector))
