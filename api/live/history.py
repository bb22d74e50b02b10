"""The newest accepted rounds in memory, and older ones from the log for a client that comes back: rounds enter, what was missed leaves.

An id names a position that we gave out. It is believed only if reading the log from there ends exactly where this process knows the
accepted rounds to begin, digest and all: a made-up id never shows a void round.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import Final, Literal

from aiokafka import AIOKafkaConsumer

from api.live.marks import Mark, Place
from api.live.rounds import Round, round_of
from engine.config import Settings
from engine.errors import LogCorrupt, RemoraError
from engine.log.codec import ROUND_KEY, decode_marker
from engine.log.consume import open_consumer
from engine.log.fetch import fetch_range
from engine.log.reader import Position, RoundReader, behind
from engine.topology import EVENTS

log = logging.getLogger(__name__)
KEPT_EVENTS: Final = 50_000
KEPT_ROUNDS: Final = 20_000
RESUME_RECORDS: Final = 20_000
"""Records of the log that are read for a client that comes back."""
READ_S: Final = 10.0
Refused = Literal["too_far_behind", "unknown_position", "log_unreachable"]


@dataclass
class Missed:
    """What a client has not seen yet. `vector`: where it stands. `inside`: partition and place in a round that it has seen in part."""

    rounds: deque[Round] = field(default_factory=deque)
    vector: list[int] = field(default_factory=list)
    inside: tuple[int, Place] | None = None


class History:
    """Rounds of all partitions. `first`: where the kept ones begin, `last`: where they end."""

    def __init__(self, settings: Settings, kept_events: int = KEPT_EVENTS) -> None:
        self._settings, self._kept_events = settings, kept_events
        self.first: list[Position] = []
        self.last: list[Position] = []
        self._rounds: deque[Round] = deque()
        self._index: list[dict[int, Round]] = []
        self._events = 0
        self._reading = asyncio.Lock()

    def begin(self, positions: Sequence[Position]) -> None:
        """Where the tail begins to read."""
        self.first, self.last = list(positions), list(positions)
        self._index = [{} for _ in positions]

    @property
    def vector(self) -> tuple[int, ...]:
        """Where all partitions stand."""
        return tuple(position.next_offset for position in self.last)

    def add(self, round_: Round) -> None:
        """The next round."""
        self._rounds.append(round_)
        self._keep(round_)
        self.last[round_.partition] = round_.after
        if not self._reading.locked():
            self._trim()

    def _keep(self, round_: Round) -> None:
        self._index[round_.partition][round_.before] = round_
        self._events += len(round_.values)

    def _trim(self) -> None:
        while len(self._rounds) > 1 and (self._events > self._kept_events or len(self._rounds) > KEPT_ROUNDS):
            gone = self._rounds.popleft()
            del self._index[gone.partition][gone.before]
            self._events -= len(gone.values)
            self.first[gone.partition] = gone.after

    def reached(self, mark: Mark) -> bool:
        """Whether everything that the mark speaks of has been read."""
        whole = all(position.next_offset >= offset for position, offset in zip(self.last, mark.vector, strict=True))
        return whole and (mark.inside is None or self.last[mark.inside[0]].next_offset > mark.inside[1][0])

    async def since(self, mark: Mark) -> Missed | Refused:
        """What came after a mark. The answer and `last` belong together: nothing is awaited between them."""
        async with self._reading:
            try:
                async with asyncio.timeout(READ_S):
                    refused = await self._reach(mark.vector)
            except (RemoraError, TimeoutError) as error:
                log.warning("what a client has missed cannot be read: %s", error or type(error).__name__)
                return "log_unreachable"
            return refused or self._missed(mark)

    async def _reach(self, vector: Sequence[int]) -> Refused | None:
        """Have every round behind the vector in memory."""
        older = {number: offset for number, offset in enumerate(vector) if offset < self.first[number].next_offset}
        if sum(self.first[number].next_offset - offset for number, offset in older.items()) > RESUME_RECORDS:
            return "too_far_behind"
        if older:
            async with open_consumer(self._settings) as consumer:
                for number, offset in older.items():
                    if not await self._read(consumer, number, offset):
                        return "unknown_position"
        return None if all(self._known(number, offset) for number, offset in enumerate(vector)) else "unknown_position"

    def _known(self, number: int, offset: int) -> bool:
        """Whether accepted rounds end there."""
        return offset == self.last[number].next_offset or offset in self._index[number]

    async def _read(self, consumer: AIOKafkaConsumer, partition: int, start: int) -> bool:
        """Put the rounds from an offset on before those in memory, if they fit."""
        first, topic = self.first[partition], self._settings.topic(EVENTS)
        reader = await _reader_at(consumer, topic, partition, start)
        if reader is None:
            return False
        begin, found = reader.position, list[Round]()
        position = begin
        try:
            async for records in fetch_range(consumer, topic, partition, start, first.next_offset):
                for accepted in reader.feed(records):
                    found.append(round_of(accepted, position.next_offset, self.vector))
                    position = found[-1].after
        except LogCorrupt:
            return False
        if position != first:
            return False
        self._rounds.extendleft(reversed(found))
        for round_ in found:
            self._keep(round_)
        self.first[partition] = begin
        return True

    def _missed(self, mark: Mark) -> Missed:
        """By time, those of one partition in their order."""
        following = [self._from(number, offset) for number, offset in enumerate(mark.vector)]
        return Missed(deque(merge(*following, key=lambda round_: round_.at_ms)), list(mark.vector), mark.inside)

    def _from(self, partition: int, offset: int) -> Iterator[Round]:
        while (round_ := self._index[partition].get(offset)) is not None:
            yield round_
            offset = round_.end


async def _reader_at(consumer: AIOKafkaConsumer, topic: str, partition: int, start: int) -> RoundReader | None:
    """A reader behind the marker before an offset; None when there is no marker."""
    if start == 0:
        return RoundReader(partition)
    async for records in fetch_range(consumer, topic, partition, start - 1, start):
        [record] = records
        if record.key == ROUND_KEY and record.value is not None:
            return RoundReader(partition, behind(decode_marker(record.value), record.offset))
    return None
