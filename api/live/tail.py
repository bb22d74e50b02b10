"""The process's one reader of the log's end: records of all partitions enter, accepted rounds leave, in one order.

It begins behind the last round that the tables have, which the log must confirm, and reads what is there before anybody is served.
When Kafka goes away it goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engine.config import Settings
from engine.errors import DependencyUnreachable, LogCorrupt
from engine.fate import own_cancellations
from engine.log.codec import ROUND_KEY, decode_marker
from engine.log.consume import BATCH, open_consumer
from engine.log.fetch import fetch_range
from engine.log.reader import AcceptedRound, Position, RoundReader
from engine.topology import EVENTS
from projections.reads import ReadModels
from projections.sql import load

log = logging.getLogger(__name__)
RETRY_S: Final = 1.0
ANSWER_S: Final = 10.0
IDLE_MS: Final = 500


class Tail:
    """`begin` gets the positions that reading starts at, `take` each accepted round, `ready` is set once the end was reached."""

    def __init__(
        self, settings: Settings, models: ReadModels, begin: Callable[[list[Position]], None], take: Callable[[AcceptedRound, int], None]
    ) -> None:
        self._settings, self._models, self._begin, self._take = settings, models, begin, take
        self._topic = settings.topic(EVENTS)
        self._readers: list[RoundReader] = []
        self.ready = asyncio.Event()
        self.failed = False

    async def run(self) -> None:
        """Read for ever; ends only when the log contradicts itself."""
        while True:
            try:
                with own_cancellations():
                    await self._session()
            except LogCorrupt as error:
                log.critical("the live feed ends: %s", error)
                self.failed = True
                return
            except (DependencyUnreachable, KafkaError, OSError, TimeoutError) as error:
                log.warning("the live feed waits: %s", error or type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _session(self) -> None:
        async with open_consumer(self._settings, fetch_max_wait_ms=100, max_poll_records=BATCH) as consumer:
            await self._read(consumer)

    def settled(self, partition: int, end: int) -> int:
        """Where the accepted rounds of a partition end whose last record is at `end`; `end` itself while it is not known."""
        reader = self._readers[partition] if self._readers else None
        return reader.position.next_offset if reader is not None and reader.next_offset >= end else end

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        if not self._readers:
            positions = [await self._start(consumer, number) for number in range(self._settings.partitions)]
            self._begin(positions)
            self._readers = [RoundReader(number, position) for number, position in enumerate(positions)]
        tps = [TopicPartition(self._topic, reader.shard) for reader in self._readers]
        async with asyncio.timeout(ANSWER_S):
            ends: dict[TopicPartition, int] = await consumer.end_offsets(tps)  # type: ignore[no-untyped-call]
        consumer.assign(tps)  # type: ignore[no-untyped-call]
        for tp, reader in zip(tps, self._readers, strict=True):
            consumer.seek(tp, reader.next_offset)  # type: ignore[no-untyped-call]
        while True:
            if all(reader.next_offset >= ends[tp] for tp, reader in zip(tps, self._readers, strict=True)):
                self.ready.set()
            for tp, records in (await consumer.getmany(*tps, timeout_ms=IDLE_MS, max_records=BATCH)).items():
                self._feed(tp.partition, records)
            await asyncio.sleep(0)

    def _feed(self, partition: int, records: Any) -> None:
        reader = self._readers[partition]
        before = reader.position.next_offset
        for accepted in reader.feed(records):
            self._take(accepted, before)
            before = accepted.marker_offset + 1

    async def _start(self, consumer: AIOKafkaConsumer, partition: int) -> Position:
        """Behind the last round in the tables, if the log has its marker; else at the log's begin."""
        statement = load("live.sql")["projected_stand"]
        rows = await self._models.fetch(statement, {"topic": self._topic, "partition": partition})
        position = Position(**rows[0]) if rows else Position()
        async with asyncio.timeout(ANSWER_S):
            tp = TopicPartition(self._topic, partition)
            end = (await consumer.end_offsets([tp]))[tp]  # type: ignore[no-untyped-call]
            at = position.next_offset - 1
            if not 0 <= at < end:
                return Position()
            async for records in fetch_range(consumer, self._topic, partition, at, at + 1):
                [record] = records
                fits = record.key == ROUND_KEY and decode_marker(record.value or b"").digest == position.digest
                return position if fits else Position()
        return Position()
