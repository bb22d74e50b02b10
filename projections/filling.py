"""Fills a generation from the log up to given offsets: the same rounds, the same tables, nothing but tables.

Runs in worker processes, some partitions each. Records that cannot be projected are left out as the live projector leaves them out, but
nothing is written to a topic: a replay tells nobody.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.config import Settings
from engine.errors import DependencyUnreachable
from engine.log.consume import STALL_S, open_consumer, read_range
from engine.log.reader import RoundReader
from engine.topology import EVENTS, EXECUTIONS
from projections.batch import Batch
from projections.pipeline import Pipeline, calm_collector
from projections.store import Bury, Store

FILL_EVENTS: Final = 60_000
"""Events in one transaction while filling: fewer, larger ones than live."""
TAKE_TRIES: Final = 50
SAMPLE: Final = 20_000
Targets = dict[tuple[str, int], int]
"""Topic of the map and partition to the offset up to which a generation is filled."""


def fill_process(settings: Settings, schema: str, targets: Targets, parent: int) -> None:
    """`fill` with an event loop of its own, for as long as the parent lives."""
    calm_collector()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        import uvloop
    except ImportError:
        asyncio.run(fill(settings, schema, targets))
    else:
        uvloop.run(fill(settings, schema, targets))


def _end_with(parent: int) -> None:
    """Nobody waits for an orphan's work, but its locks would keep the next rebuild out."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


async def fill(settings: Settings, schema: str, targets: Targets) -> None:
    """Bring the partitions of `targets` to their offsets: events first, then executions, whose orders are then known."""
    dsn, topics = settings.database_url.get_secret_value(), (settings.topic(EVENTS), settings.topic(EXECUTIONS))
    store = await asyncio.to_thread(Store, dsn, settings.partitions, *topics, schema)
    pipeline = Pipeline(store, _tell_nobody, FILL_EVENTS)
    try:
        await _take_all(pipeline, schema, {partition for _, partition in targets})
        async with open_consumer(settings, max_poll_records=FILL_EVENTS, check_crcs=False) as consumer:
            for topic in (EVENTS, EXECUTIONS):
                goals = {
                    TopicPartition(settings.topic(topic), number): end for (name, number), end in targets.items() if name == topic.name
                }
                await _fill_topic(consumer, pipeline, goals)
    finally:
        await pipeline.end()


async def _take_all(pipeline: Pipeline, schema: str, wanted: set[int]) -> None:
    """A rebuild that was killed lets go within moments; one that lives does not."""
    for _ in range(TAKE_TRIES):
        await pipeline.take(sorted(wanted - pipeline.lanes.keys()))
        if not wanted - pipeline.lanes.keys():
            return
        await asyncio.sleep(0.2)
    raise DependencyUnreachable(f"Another rebuild fills {schema}: let it end, or end it.")


def _tell_nobody() -> Bury:
    return lambda topic, poison: None


async def _fill_topic(consumer: AIOKafkaConsumer, pipeline: Pipeline, goals: Mapping[TopicPartition, int]) -> None:
    starts = {partition: offset for partition, offset in pipeline.next_offsets().items() if offset < goals.get(partition, 0)}
    if starts:
        consumer.assign(list(starts))  # type: ignore[no-untyped-call]
        for partition, offset in starts.items():
            consumer.seek(partition, offset)  # type: ignore[no-untyped-call]
    open_goals = set(starts)
    waited = 0.0
    while open_goals:
        if pipeline.full:
            await pipeline.settle()
        records = await consumer.getmany(*open_goals, timeout_ms=200, max_records=FILL_EVENTS)
        waited = 0.0 if records else waited + 0.2
        if waited > STALL_S:
            raise DependencyUnreachable(f"Nothing arrived for {STALL_S:g} s; still open: {sorted(map(str, open_goals))}.")
        pipeline.feed({partition: _before(found, goals[partition]) for partition, found in records.items()})
        open_goals -= {partition for partition, found in records.items() if found and found[-1].offset + 1 >= goals[partition]}
        await pipeline.hand_over(FILL_EVENTS)
    await pipeline.settle()
    await pipeline.hand_over()
    await pipeline.settle()


def _before(records: Sequence[Any], end: int) -> Sequence[Any]:
    return records if records[-1].offset < end else [record for record in records if record.offset < end]


async def sample_rate(settings: Settings, targets: Targets) -> float:
    """Records a second that one worker takes, from reading and folding the first few of the longest partition; writing doubles it."""
    (_, partition), end = max(((key, end) for key, end in targets.items() if key[0] == EVENTS.name), key=lambda item: item[1])
    reader, batch, count = RoundReader(partition), Batch(settings.partitions, {}), 0
    begun = time.perf_counter()
    async with open_consumer(settings) as consumer:
        async for records in read_range(consumer, settings.topic(EVENTS), partition, 0, min(end, SAMPLE)):
            batch.add_all(reader.feed(records))
            count += len(records)
    return max(1, count) / (time.perf_counter() - begun) / 2
