"""Reading much of a partition quickly: aiokafka's client and its parser in C, without the consumer between them.

Enters: a started consumer (for its client), a partition and offsets. Leaves: slices of records, in order, every offset once. The consumer
makes a Python object of eleven fields for each record (2.7 us); a replay needs four of them (1.1 us). The next fetch is under way while
a slice is folded. Only for topics without gaps: what is missing is an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from engine.errors import DependencyUnreachable, LogCorrupt
from engine.log.consume import BATCH, FETCH_BYTES, STALL_S
from engine.log.reader import Record

WAIT_MS: Final = 100
RETRY_S: Final = 0.05


async def fetch_range(consumer: AIOKafkaConsumer, topic: str, partition: int, start: int, stop: int) -> AsyncIterator[list[Record]]:
    """Slices of the records from `start` up to but not including `stop`, all of them."""
    client: Any = consumer._client
    # What the consumer was assigned before, it would go on fetching on the same connection.
    consumer.unsubscribe()  # type: ignore[no-untyped-call]
    await client._wait_on_metadata(topic)
    position = start
    fetching = asyncio.create_task(_fetch(client, topic, partition, position))
    try:
        while position < stop:
            records, following = await fetching, position
            for batch in _batches(records, topic, partition):
                whole = batch[0].offset >= position and batch[-1].offset < stop
                kept = batch if whole else [record for record in batch if position <= record.offset < stop]
                following = batch[-1].offset + 1
                if kept and kept[0].offset != position:
                    raise LogCorrupt(f"{topic}[{partition}]: offset {kept[0].offset} arrived, {position} was expected")
                if following < stop and not records.has_next():
                    fetching = asyncio.create_task(_fetch(client, topic, partition, following))
                position = following
                for first in range(0, len(kept), BATCH):
                    yield kept[first : first + BATCH]
    finally:
        fetching.cancel()
        with suppress(asyncio.CancelledError, DependencyUnreachable, LogCorrupt):
            await fetching


def _batches(records: Any, topic: str, partition: int) -> Any:
    """The record batches of an answer, each as a list. What compaction or a transaction left empty is passed over."""
    while records.has_next():
        batch = records.next_batch()
        if not batch.validate_crc():
            raise LogCorrupt(f"{topic}[{partition}]: a batch at offset {batch.base_offset} is damaged")
        if found := list(batch):
            yield found


async def _fetch(client: Any, topic: str, partition: int, offset: int) -> Any:
    """One answer with records from `offset` on. A broker that is away is asked again, for `STALL_S` at most."""
    until = time.monotonic() + STALL_S
    error: Exception | None = None
    while time.monotonic() < until:
        try:
            records = await _ask(client, topic, partition, offset)
            if records.has_next():
                return records
        except OffsetOutOfRangeError as missing:
            raise LogCorrupt(f"{topic}[{partition}] does not hold offset {offset}") from missing
        except KafkaError as trouble:
            error = trouble
            client.force_metadata_update()
            await asyncio.sleep(RETRY_S)
    raise DependencyUnreachable(f"{topic}[{partition}]: nothing arrived for {STALL_S} s at offset {offset} ({error!r})")


async def _ask(client: Any, topic: str, partition: int, offset: int) -> Any:
    node = client.cluster.leader_for_partition(TopicPartition(topic, partition))
    wanted = [(topic, [(partition, offset, FETCH_BYTES)])]
    answer = await client.send(node, FetchRequest(WAIT_MS, 1, FETCH_BYTES, 0, wanted))
    [(_, [(_, code, _, *rest)])] = answer.topics
    if code:
        raise for_code(code)(topic, partition, offset)
    return MemoryRecords(rest[-1])
