"""Plain reading of partitions: no group, an explicit seek, and what was read is held against the log's end.

Enters: topic, partition and offsets. Leaves: batches of records, in order. `assign` with a reset to the end can silently read
nothing, so the reset is `earliest`, every read begins with `seek`, and a gap or an early end is an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from engine.config import Settings
from engine.errors import DependencyUnreachable, LogCorrupt
from engine.log.reach import asking

STALL_S: Final = 30.0
STOP_AGAIN_S: Final = 0.2
FETCH_BYTES: Final = 8 * 1024 * 1024
BATCH: Final = 2000
"""Records handed on at once: small enough that folding them does not hold up the event loop."""


@asynccontextmanager
async def open_consumer(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, for `assign` and `seek`."""
    defaults = {
        "bootstrap_servers": settings.kafka,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "max_partition_fetch_bytes": FETCH_BYTES,
        # The broker answers one request of a connection at a time: a fetch that waits at the end holds up every other question.
        "fetch_max_wait_ms": 25,
        "retry_backoff_ms": 20,
    }
    consumer = AIOKafkaConsumer(**(defaults | options))  # type: ignore[no-untyped-call]
    try:
        with asking(settings):
            await consumer.start()  # type: ignore[no-untyped-call]
            yield consumer
    finally:
        await stop_consumer(consumer)


async def stop_consumer(consumer: Any) -> None:
    """Stop for certain: who is cancelled meanwhile hears of it afterwards."""
    stopping = asyncio.create_task(_stop(consumer))
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        await asyncio.wait({stopping})
        raise


async def _stop(consumer: Any) -> None:
    await end_fetches(consumer)
    await consumer.stop()


async def end_fetches(consumer: Any) -> None:
    """What a consumer's own `stop` does badly. Its fetch routine swallows a cancellation that meets it right after an `assign`, and then
    never ends. And a fetch whose connection went is about to try again: `stop` cancels and awaits it, gets the cancellation itself, leaves
    the rest open and hands it on to us."""
    if (fetcher := consumer._fetcher) is None:
        return
    while not fetcher._fetch_task.done():
        fetcher._fetch_task.cancel()
        await asyncio.wait({fetcher._fetch_task}, timeout=STOP_AGAIN_S)
    if fetcher._pending_tasks:
        for fetch in fetcher._pending_tasks:
            fetch.cancel()
        await asyncio.wait(fetcher._pending_tasks)
        fetcher._pending_tasks.clear()


async def end_of(consumer: AIOKafkaConsumer, topic: str, partition: int) -> int:
    """The offset after the last record of a partition."""
    tp = TopicPartition(topic, partition)
    return int((await consumer.end_offsets([tp]))[tp])  # type: ignore[no-untyped-call]


async def bounds(consumer: AIOKafkaConsumer, topic: str, partition: int) -> tuple[int, int]:
    """First offset and the offset after the last record of a partition."""
    tp = TopicPartition(topic, partition)
    first = await consumer.beginning_offsets([tp])  # type: ignore[no-untyped-call]
    return int(first[tp]), await end_of(consumer, topic, partition)


async def read_range(
    consumer: AIOKafkaConsumer, topic: str, partition: int, start: int, stop: int, *, gaps: bool = False
) -> AsyncIterator[list[ConsumerRecord[bytes | None, bytes | None]]]:
    """Batches of the records from `start` up to but not including `stop`, all of them. `gaps`: the topic is compacted."""
    if start >= stop:
        return
    tp = TopicPartition(topic, partition)
    if consumer.assignment() != {tp}:  # type: ignore[no-untyped-call]
        consumer.assign([tp])  # type: ignore[no-untyped-call]
        consumer.seek(tp, start)  # type: ignore[no-untyped-call]
    elif await consumer.position(tp) != start:  # type: ignore[no-untyped-call]
        consumer.seek(tp, start)  # type: ignore[no-untyped-call]
    position, progress = start, time.monotonic()
    while position < stop:
        records = (await consumer.getmany(tp, timeout_ms=1000, max_records=BATCH)).get(tp, [])
        if records and not gaps and records[0].offset != position:
            raise LogCorrupt(f"{topic}[{partition}]: offset {records[0].offset} arrived, {position} was expected")
        if records and records[-1].offset >= stop:
            records = [record for record in records if record.offset < stop]
            position = stop
        if records:
            position, progress = max(position, records[-1].offset + 1), time.monotonic()
            yield records
        elif gaps and await _behind(consumer, tp, stop):
            return
        elif time.monotonic() - progress > STALL_S:
            raise DependencyUnreachable(f"{topic}[{partition}]: nothing arrived for {STALL_S} s at offset {position}")


async def _behind(consumer: AIOKafkaConsumer, tp: TopicPartition, stop: int) -> bool:
    """Whether the consumer has passed `stop`: the last records may have been compacted away."""
    position: int = await consumer.position(tp)  # type: ignore[no-untyped-call]
    return position >= stop
