"""The projector process: `follower.events.v1`, `trade.executions.v1` and `market.reports.v1` enter, the read models in Postgres leave.

Plain reading without a group: positions lie in Postgres beside the rows. Every partition has one owner (an advisory lock); a second
projector waits for what the first one loses. When Postgres or Kafka goes away the session ends and the next one begins where the tables
stand.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from eventsourcing.persistence import IntegrityError

from engine.config import Settings
from engine.errors import DependencyUnreachable
from engine.fate import die, own_cancellations
from engine.lifecycle import announce_ready
from engine.log.consume import open_consumer
from engine.log.fetch import fetch_range
from engine.log.topics import ensure_topics
from engine.meters import Sample
from engine.topology import DEAD, EVENTS, EXECUTIONS, MARKET_REPORTS
from projections import meters
from projections.batch import Poison
from projections.marks import Marks
from projections.migrate import ensure
from projections.pipeline import BATCH_EVENTS, Pipeline, calm_interpreter
from projections.recorder import application_name
from projections.store import Bury, Store

log = logging.getLogger(__name__)
IDLE_MS: Final = 50
HURRY_MS: Final = 2
"""How long to wait for more records while a batch is ready and the one before it may come home any moment."""
FAR: Final = 20_000
"""Records behind the end of a partition from which on it is read by itself, in the quick way."""
STRETCH: Final = 100_000
"""Records of a partition that are read in one turn while it is far behind."""
LOOK_S: Final = 1.0
"""How often ends are looked at, partitions of others tried, and lag noted."""
SWEEP_S: Final = 3600.0
"""How often months that are too old are looked for, by the owner of partition 0."""
RETRY_S: Final = 0.5
ENDS_WAIT_S: Final = 3.0
"""Longest wait for the partitions' ends: a question to a broker that went away would be held for its request time, 40 s."""
WORLD: Final = (psycopg.OperationalError, psycopg.InterfaceError, KafkaError, OSError, DependencyUnreachable, IntegrityError)
"""What ends a session but not the process: servers that are away, another projector that was faster."""


async def run(settings: Settings) -> None:
    """Project for ever."""
    calm_interpreter()
    await ensure_topics(settings)
    await asyncio.to_thread(ensure, settings.database_url.get_secret_value())
    try:
        async with meters.PROJECTOR.serve(settings):
            await project(settings)
    except Exception as error:
        die(error)


async def project(settings: Settings) -> None:
    """What `run` does, for callers that handle what ends it."""
    announced = False

    def announce() -> None:
        nonlocal announced
        if not announced:
            announce_ready(settings, "projector")
            announced = True

    while True:
        try:
            with own_cancellations():
                await _serve(settings, announce)
        except WORLD as error:
            log.warning("projection begins again: %s: %s", type(error).__name__, error)
            await asyncio.sleep(RETRY_S)


async def _serve(settings: Settings, ready: Callable[[], None]) -> None:
    """One session."""
    async with open_consumer(settings, max_poll_records=BATCH_EVENTS, check_crcs=False) as consumer:
        session = await Session.begin(settings, consumer)
        meters.SESSIONS.inc()
        try:
            ready()
            async with meters.PROJECTOR.watch(session.samples):
                await session.run()
        finally:
            await session.end()


class Session:
    """From one connection to its end."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, store: Store) -> None:
        self._settings, self._consumer, self._store = settings, consumer, store
        self._producer: AIOKafkaProducer | None = None
        self._looked = 0.0
        self._swept = -SWEEP_S
        self._pipeline = Pipeline(store, self._bury_soon)
        self._event_ends: dict[int, int] = {}
        self._marks: Marks | None = None
        self._marks_from = TopicPartition(settings.topic(MARKET_REPORTS), 0)

    @classmethod
    async def begin(cls, settings: Settings, consumer: AIOKafkaConsumer) -> Session:
        """Connect to Postgres and take what is free."""
        dsn, topics = settings.database_url.get_secret_value(), (settings.topic(EVENTS), settings.topic(EXECUTIONS))
        store = await asyncio.to_thread(Store, dsn, settings.partitions, *topics)
        session = cls(settings, consumer, store)
        await session._take()
        return session

    async def end(self) -> None:
        """Give everything back."""
        await self._pipeline.end()
        if self._producer is not None:
            await self._producer.stop()  # type: ignore[no-untyped-call]

    def samples(self) -> Iterator[Sample]:
        """What `/metrics` shows of the partitions of this session."""
        yield meters.PARTITIONS, (), len(self._pipeline.lanes)
        yield from meters.lane_samples(self._pipeline.lanes.values(), self._event_ends)

    async def run(self) -> None:
        """Read, write, look around; ends only with an error."""
        await self._catch_up()
        while True:
            if not self._pipeline.lanes:
                await asyncio.sleep(LOOK_S)
            else:
                await self._project()
            await self._look_around()

    async def _catch_up(self) -> None:
        """Read what is far behind, some of each partition in turn, so that none waits for another's whole history."""
        if not self._pipeline.lanes:
            return
        far = {partition: end for partition, end in (await self._ends()).items() if self._is_far(partition, end)}
        for partition in far:
            # Until its turn comes, a partition is as late as its next record.
            first = await self._consumer.getone(partition)
            self._pipeline.lanes[partition.partition].begins_with(first.timestamp)
        while far:
            for partition, end in far.items():
                start = self._pipeline.next_offsets()[partition]
                async for records in fetch_range(self._consumer, *partition, start, min(end, start + STRETCH)):
                    await self._make_room()
                    self._pipeline.feed({partition: records})
                    await self._pipeline.hand_over()
                    await self._look_around()
            far = {partition: end for partition, end in far.items() if self._is_far(partition, end)}
        self._assign()

    def _is_far(self, partition: TopicPartition, end: int) -> bool:
        return partition.topic == self._settings.topic(EVENTS) and end - self._pipeline.next_offsets()[partition] >= FAR

    async def _make_room(self) -> None:
        if self._pipeline.full:
            await self._pipeline.make_room()

    async def _project(self) -> None:
        await self._make_room()
        idle_ms = HURRY_MS if self._pipeline.waiting else IDLE_MS
        records = await self._consumer.getmany(timeout_ms=idle_ms, max_records=BATCH_EVENTS)
        if self._marks is not None:
            self._marks.feed(records.pop(self._marks_from, ()))
        self._pipeline.feed(records)
        await self._pipeline.hand_over()

    def _bury_soon(self) -> Bury:
        """What the store calls, in its thread, before it commits: a record that is left out is first put where it can be found."""
        loop = asyncio.get_running_loop()
        return lambda topic, poison: asyncio.run_coroutine_threadsafe(self._bury(topic, poison), loop).result()

    async def _bury(self, topic: str, poison: Sequence[Poison]) -> None:
        meters.POISON.labels(topic).inc(len(poison))
        for each in poison:
            log.error("%s[%s] offset %s cannot be projected: %s", topic, each.partition, each.offset, each.reason)
            producer = await self._dead_letters()
            headers = [("reason", each.reason.encode()), ("position", f"{topic}[{each.partition}]@{each.offset}".encode())]
            await producer.send_and_wait(self._settings.topic(DEAD[topic]), each.value, key=each.key, headers=headers)  # type: ignore[no-untyped-call]

    async def _dead_letters(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(bootstrap_servers=self._settings.kafka, acks="all")  # type: ignore[no-untyped-call]
            await self._producer.start()  # type: ignore[no-untyped-call]
        return self._producer

    async def _take(self) -> None:
        """Take partitions that nobody projects, and read all of ours from where they stand."""
        pipeline = self._pipeline
        if await pipeline.take([number for number in range(self._settings.partitions) if number not in pipeline.lanes]):
            if self._marks is None and 0 in pipeline.lanes:
                self._marks = await asyncio.to_thread(self._store.marks)
            self._assign()

    def _assign(self) -> None:
        starts = self._pipeline.next_offsets() | ({self._marks_from: self._marks.next_offset} if self._marks else {})
        self._consumer.assign(list(starts))  # type: ignore[no-untyped-call]
        for partition, offset in starts.items():
            self._consumer.seek(partition, offset)  # type: ignore[no-untyped-call]

    async def _look_around(self) -> None:
        if time.monotonic() - self._looked >= LOOK_S:
            await self._look()

    async def _look(self) -> None:
        """Note how far behind each partition is, against ends that are fetched for this; write marks; take what others lost."""
        await self._pipeline.settle()
        if self._pipeline.lanes:
            asked_ms = time.time() * 1000
            ends = await self._ends()
            self._pipeline.saw_ends(ends, asked_ms)
            self._event_ends = {tp.partition: end for tp, end in ends.items() if tp.topic == self._settings.topic(EVENTS)}
            lags = [self._lag(partition, end) for partition, end in ends.items()]
            await asyncio.to_thread(self._store.note_lag, lags)
        if self._marks is not None:
            await self._bury(MARKET_REPORTS.name, self._marks.poison)
            await asyncio.to_thread(self._store.write_marks, self._marks)
        if len(self._pipeline.lanes) < self._settings.partitions:
            await self._take()
        self._looked = time.monotonic()
        if self._looked - self._swept >= SWEEP_S and 0 in self._pipeline.lanes:
            if dropped := await asyncio.to_thread(self._store.drop_months, self._settings.decisions_keep_months):
                log.info("months dropped: %s", ", ".join(dropped))
            self._swept = time.monotonic()

    async def _ends(self) -> dict[TopicPartition, int]:
        try:
            async with asyncio.timeout(ENDS_WAIT_S):
                ends: dict[TopicPartition, int] = await self._consumer.end_offsets(list(self._pipeline.next_offsets()))  # type: ignore[no-untyped-call]
                return ends
        except TimeoutError as error:
            raise DependencyUnreachable(f"Kafka did not tell the ends of the log within {ENDS_WAIT_S:g} s.") from error

    def _lag(self, partition: TopicPartition, end: int) -> tuple[str, int, float]:
        lane = self._pipeline.lanes[partition.partition]
        seconds = lane.lag_s(end) if partition.topic == self._settings.topic(EVENTS) else 0.0
        return application_name(partition.topic, partition.partition), end, seconds
