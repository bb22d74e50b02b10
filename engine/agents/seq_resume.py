"""Where the sequencer goes on: the log enters, the next offset of every source partition leaves.

A shard's last accepted round says what it has seen of each source. A broadcast source goes on at the least of all shards, a sharded
one at its own shard's mark. What was appended to the inbox but not yet accepted is appended again; the shards drop it as seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer
from faust.types import TP

from engine.config import Settings
from engine.errors import LogCorrupt
from engine.log.codec import ROUND_KEY, decode_marker
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.reader import Position, RoundReader
from engine.log.snapshots import newest_snapshot
from engine.topology import BROADCAST_SOURCES, CONTROL, DEAD, EVENTS, FOLLOWER_COMMANDS, REJECTED, SOURCES

Marks = Mapping[str, int]
"""`code/partition` to the next offset of that source."""
ANSWERS_LOOKED_AT: Final = 2000


class _Answer(msgspec.Struct):
    """Where an answered record lies; the rest of a rejection does not matter here."""

    topic: str
    partition: int
    offset: int


_answer: Final = msgspec.json.Decoder(_Answer)


def codes_by_topic(settings: Settings) -> dict[str, str]:
    """Broker topic name to source code."""
    return {settings.topic(topic): code for code, topic in SOURCES.items()}


async def resume_positions(settings: Settings, tps: Iterable[TP]) -> dict[TP, int]:
    """Where to read each source partition from. Errors: LogCorrupt when the log has seen more than the source holds."""
    codes = codes_by_topic(settings)
    async with open_consumer(settings) as consumer:
        marks = [await shard_marks(consumer, settings, shard) for shard in range(settings.partitions)]
        return {tp: await _within_source(consumer, tp, next_offset(marks, codes[tp.topic], tp.partition)) for tp in tps}


def next_offset(marks: list[Marks], code: str, partition: int) -> int:
    """The next offset to sequence of one source partition, from all shards' marks."""
    name = f"{code}/{partition}"
    if code in BROADCAST_SOURCES:
        return min(shard.get(name, 0) for shard in marks)
    return marks[partition].get(name, 0)


async def _within_source(consumer: AIOKafkaConsumer, tp: TP, position: int) -> int:
    first, end = await bounds(consumer, tp.topic, tp.partition)
    if position > end:
        raise LogCorrupt(f"{tp.topic}[{tp.partition}] ends at offset {end}, but shards have seen it up to {position}: records are lost")
    return max(position, first)


async def shard_marks(consumer: AIOKafkaConsumer, settings: Settings, shard: int) -> Marks:
    """The source marks of a shard's last accepted round, read from its newest snapshot on (nothing is folded)."""
    topic = settings.topic(EVENTS)
    _, end = await bounds(consumer, topic, shard)
    position, marks = await _snapshot_marks(consumer, settings, shard, end)
    reader = RoundReader(shard, position)
    async for records in read_range(consumer, topic, shard, position.next_offset, end):
        for accepted in reader.feed(records):
            marks = accepted.marker.sources
    return marks


async def _snapshot_marks(consumer: AIOKafkaConsumer, settings: Settings, shard: int, end: int) -> tuple[Position, Marks]:
    """The newest snapshot's position and marks, if the log has the marker that it stands behind; else the log's beginning."""
    snapshot, _ = await newest_snapshot(consumer, settings, shard)
    at = -1 if snapshot is None else snapshot.position.next_offset - 1
    if snapshot is None or not 0 <= at < end:
        return Position(), {}
    async for records in read_range(consumer, settings.topic(EVENTS), shard, at, at + 1):
        record = records[0]
        if record.key == ROUND_KEY and record.value is not None:
            marker = decode_marker(record.value)
            if marker.digest == snapshot.position.digest:
                return snapshot.position, marker.sources
    return Position(), {}


async def answered_through(settings: Settings) -> dict[TP, int]:
    """Per source partition the newest refused offset among the newest answers: those are not answered again after a restart."""
    answered: dict[TP, int] = {}
    async with open_consumer(settings) as consumer:
        for topic in (REJECTED, DEAD[FOLLOWER_COMMANDS.name], DEAD[CONTROL.name]):
            name = settings.topic(topic)
            first, end = await bounds(consumer, name, 0)
            async for records in read_range(consumer, name, 0, max(first, end - ANSWERS_LOOKED_AT), end):
                for record in records:
                    answer = _answer.decode(record.value or b"")
                    answered[TP(answer.topic, answer.partition)] = answer.offset
    return answered


async def holds_records(settings: Settings, tp: TP, start: int, stop: int) -> bool:
    """Whether a source has any record from `start` up to but not including `stop`: if not, a gap there is legal."""
    async with open_consumer(settings) as consumer:
        first, _ = await bounds(consumer, tp.topic, tp.partition)
        async for _records in read_range(consumer, tp.topic, tp.partition, max(first, start), stop, gaps=True):
            return True
    return False
