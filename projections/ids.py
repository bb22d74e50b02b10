"""Bigint keys of the older tables, derived from the log: a rebuild gives the same ones, and no sequence ever reaches them.

All of ours have bit 62 set. Positions pack partition (10 bits), offset (44 bits) and item (8 bits); text ids without a position
(followers, whales) are hashed to 62 bits: two of a million collide with a chance of 1e-7, and a collision is refused by a unique index.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

OURS: Final = 1 << 62
IMPORTED: Final = "legacy-"
"""Followers and signals of the older system keep their number there: follower `legacy-17` is users.id 17."""


def position_id(partition: int, offset: int, item: int = 0) -> int:
    """The id of the `item`-th thing that the record at this position brought."""
    assert partition < 1 << 10, partition
    assert offset < 1 << 44, offset
    assert item < 1 << 8, item
    return OURS | partition << 52 | offset << 8 | item


@lru_cache(maxsize=200_000)
def user_id(follower_id: str) -> int:
    """`users.id` of a follower."""
    number = follower_id.removeprefix(IMPORTED)
    return int(number) if number != follower_id and _plain(number) else _hashed(follower_id)


def signal_number(signal_id: str, partition: int, offset: int) -> int:
    """`whale_signals.id` of a signal at this position of its topic; one that was bridged keeps the older row's number."""
    number = signal_id.removeprefix(IMPORTED)
    return int(number) if number != signal_id and _plain(number) else position_id(partition, offset)


@lru_cache(maxsize=10_000)
def whale_number(whale_id: str) -> int:
    """The older tables' `whale_id`: numeric ids are kept."""
    return int(whale_id) if _plain(whale_id) else _hashed(whale_id)


def _plain(text: str) -> bool:
    """Whether this is a number as a sequence of the older system would write it."""
    return text.isascii() and text.isdigit() and text[0] != "0" and int(text) < OURS


def _hashed(text: str) -> int:
    return OURS | int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 2
