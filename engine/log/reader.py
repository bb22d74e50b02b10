"""The one place that knows which events count: engine, projector, sequencer and tools all read through it.

Enters: the records of one partition of `follower.events.v1`, in order and without a gap. Leaves: accepted rounds.

A writer first appends a claim, whose offset is its epoch, then rounds: events, closed by a marker. A round is accepted when its
marker's epoch is the newest claim before the marker, its `inbox_from` is where the accepted rounds have come to, and the events
since the last marker or claim are as many as the marker says. Everything else is void for everybody, for ever: torn rounds,
zombies, an older version's half-written work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol

import msgspec

from engine.domain.events import RoundCommitted
from engine.errors import LogCorrupt
from engine.log.codec import CLAIM_KEY, ROUND_KEY, decode_marker

NO_EPOCH: Final = -1
NO_DIGEST: Final = "0" * 32

AcceptedEvent = tuple[int, bytes, bytes, int]
"""Offset, key (originator id), value (JSON), append time in ms."""


class Record(Protocol):
    """What the reader needs of a Kafka record."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where accepted rounds have come to. Reading can begin at 0 or right behind an accepted marker, which these describe."""

    next_offset: int = 0
    epoch: int = NO_EPOCH
    inbox_position: int = 0
    digest: str = NO_DIGEST
    next_id: int = 1


@dataclass(frozen=True, slots=True)
class AcceptedRound:
    """A round that counts. `events` are in order; the first has notification id `marker.first_id`."""

    shard: int
    epoch: int
    marker: RoundCommitted
    marker_offset: int
    events: list[AcceptedEvent]


def behind(marker: RoundCommitted, offset: int) -> Position:
    """The position right behind an accepted marker that lies at an offset."""
    return Position(
        next_offset=offset + 1,
        epoch=marker.epoch,
        inbox_position=marker.inbox_to,
        digest=marker.digest,
        next_id=marker.first_id + marker.events,
    )


def chain(digest: str, values: Iterable[bytes]) -> str:
    """The digest after a round: blake2b-128 over the digest before it and the values of its events. No events, no change."""
    joined = b"".join(values)
    return blake2b(bytes.fromhex(digest) + joined, digest_size=16).hexdigest() if joined else digest


class RoundReader:
    """Reads one shard's partition from a `Position` on."""

    def __init__(self, shard: int, position: Position | None = None) -> None:
        self.shard = shard
        self.position = position or Position()
        self.next_offset = self.position.next_offset
        """The offset of the next record to feed; behind `position` it may hold a round that is not closed yet."""
        self.epoch = self.position.epoch
        """Newest claim that was read."""
        self.void_events = 0
        self.void_rounds = 0
        self._pending: list[AcceptedEvent] = []

    def feed(self, records: Iterable[Record]) -> list[AcceptedRound]:
        """Take the next records; give the rounds that were accepted with them. A gap raises `LogCorrupt`."""
        accepted: list[AcceptedRound] = []
        expected, pending = self.next_offset, self._pending
        for record in records:
            if record.offset != expected:
                raise LogCorrupt(f"shard {self.shard}: offset {record.offset} arrived, {expected} was expected")
            expected += 1
            key, value = record.key, record.value
            if key is None or value is None:
                raise LogCorrupt(f"shard {self.shard}: the record at offset {record.offset} has no key or no value")
            if key == ROUND_KEY:
                self._close(decode_marker(value), record.offset, accepted)
                pending = self._pending
            elif key == CLAIM_KEY:
                self._void()
                pending = self._pending
                self.epoch = record.offset
            else:
                pending.append((record.offset, key, value, record.timestamp))
        self.next_offset = expected
        return accepted

    def _close(self, marker: RoundCommitted, offset: int, accepted: list[AcceptedRound]) -> None:
        events = self._pending
        if marker.epoch != self.epoch or marker.inbox_from != self.position.inbox_position or marker.events != len(events):
            self.void_rounds += 1
            self._void()
            return
        digest = chain(self.position.digest, [value for _, _, value, _ in events])
        if digest != marker.digest or marker.first_id != self.position.next_id:
            raise LogCorrupt(f"shard {self.shard}: the marker at offset {offset} does not fit the events before it")
        self._pending = []
        self.position = behind(marker, offset)
        accepted.append(AcceptedRound(self.shard, self.epoch, marker, offset, events))

    def _void(self) -> None:
        self.void_events += len(self._pending)
        self._pending = []
