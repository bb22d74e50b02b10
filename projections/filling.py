"""Fills a generation from the log up to given offsets: the same rounds, the same tables, nothing but tables.

Runs in worker processes, some partitions each. Records that cannot be projected are left out as the live projector leaves them out, but
nothing is written to a topic: a replay tells nobody.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.config import Settings
from engine.errors import DependencyUnreachable
from engine.log.consume import open_consumer
from engine.log.fetch import fetch_range
from engine.log.reader import RoundReader
from engine.topology import EVENTS, EXECUTIONS
from projections.batch import Batch
from projections.pipeline import Pipeline, calm_interpreter
from projections.store import Bury, Store

FILL_EVENTS: Final = 60_000
"""Events in one transaction while filling: fewer, larger ones than live."""
TAKE_TRIES: Final = 50
SAMPLE: Final = 20_000
Targets = dict[tuple[str, int], int]
"""Topic of the map and partition to the offset up to which a generation is filled."""


def fill_process(settings: Settings, schema: str, targets: Targets, as_live: bool, parent: int) -> None:
    """`fill` with an event loop of its own, for as long as the parent lives."""
    calm_interpreter()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        import uvloop
    except ImportError:
        asyncio.run(fill(settings, schema, targets, as_live))
    else:
        uvloop.run(fill(settings, schema, targets, as_live))


def _end_with(parent: int) -> None:
    """Nobody waits for an orphan's work, but its locks would keep the next rebuild out."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


async def fill(settings: Settings, schema: str, targets: Targets, as_live: bool = False) -> None:
    """Bring the partitions of `targets` to their offsets: events first, then executions, whose orders are then known. `as_live`: this is
    where the live tables stood, so an order that is not here by then was left out there, too."""
    dsn, topics = settings.database_url.get_secret_value(), (settings.topic(EVENTS), settings.topic(EXECUTIONS))
    store = await asyncio.to_thread(Store, dsn, settings.partitions, *topics, schema)
    pipeline = Pipeline(store, _tell_nobody)
    try:
        await _take_all(pipeline, schema, {partition for _, partition in targets})
        async with open_consumer(settings) as consumer:
            for topic in (EVENTS, EXECUTIONS):
                ends = {TopicPartition(settings.topic(topic), number): end for (name, number), end in targets.items() if name == topic.name}
                await _fill_topic(consumer, pipeline, ends)
                if as_live and topic is EVENTS:
                    _expect_no_more(pipeline, targets)
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


def _expect_no_more(pipeline: Pipeline, targets: Targets) -> None:
    """No attempt waits for its order any more."""
    for (name, number), end in targets.items():
        if name == EXECUTIONS.name:
            pipeline.executions[number].wait_no_more(end)


def _tell_nobody() -> Bury:
    return lambda topic, poison: None


async def _fill_topic(consumer: AIOKafkaConsumer, pipeline: Pipeline, ends: Mapping[TopicPartition, int]) -> None:
    """One partition after the other; while a batch is written, the next one is read and folded."""
    starts, count = pipeline.next_offsets(), 0
    for partition, end in ends.items():
        if starts[partition] < end:
            async for records in fetch_range(consumer, partition.topic, partition.partition, starts[partition], end):
                pipeline.feed({partition: records})
                count += len(records)
                if count >= FILL_EVENTS:
                    await pipeline.make_room()
                    count = 0
    await pipeline.settle()
    await pipeline.hand_over()
    await pipeline.settle()


async def sample_rate(settings: Settings, targets: Targets) -> float:
    """Records a second that one worker takes, from reading and folding the first few of the longest partition; writing doubles it."""
    (_, partition), end = max(((key, end) for key, end in targets.items() if key[0] == EVENTS.name), key=lambda item: item[1])
    reader, batch, count = RoundReader(partition), Batch(settings.partitions, {}), 0
    begun = time.perf_counter()
    async with open_consumer(settings) as consumer:
        async for records in fetch_range(consumer, settings.topic(EVENTS), partition, 0, min(end, SAMPLE)):
            batch.add_all(reader.feed(records))
            count += len(records)
    return max(1, count) / (time.perf_counter() - begun) / 2
