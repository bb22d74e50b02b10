"""The writer of `engine.inbox.v1`: encoded records enter, appended records leave, in order in every partition.

Each call sends one batch a partition (more only when one is full) and returns once all are acked. A write that is not acked ends the
process: what was appended is known again from the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from engine.config import Settings
from engine.log.reach import asking
from engine.topology import INBOX

ALL_SHARDS: Final = -1
InboxAppend = tuple[int, bytes]
"""Shard, or `ALL_SHARDS`, and the record's value."""


class InboxWriter:
    """Appends to all partitions of the inbox. Not for two tasks at once."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._producer: Any = producer
        self._settings, self._topic = settings, settings.topic(INBOX)
        self._shards = range(settings.partitions)

    async def append(self, records: Sequence[InboxAppend]) -> None:
        """Append in order. Errors: DependencyUnreachable, after which it is unknown what was appended."""
        with asking(self._settings, f"did not ack a batch for {self._topic} (whether it is there is unknown)"):
            await asyncio.gather(*(self._append_to(shard, records) for shard in self._shards))

    async def _append_to(self, shard: int, records: Iterable[InboxAppend]) -> None:
        acks: list[asyncio.Future[RecordMetadata]] = []
        builder: Any = None
        for target, value in records:
            if target not in (shard, ALL_SHARDS):
                continue
            if builder is None or builder.append(key=None, value=value, timestamp=None) is None:
                if builder is not None:
                    acks.append(await self._producer.send_batch(builder, self._topic, partition=shard))
                builder = self._producer.create_batch()
                first = builder.append(key=None, value=value, timestamp=None)
                assert first is not None, "the first record of a batch always fits"
        if builder is not None:
            acks.append(await self._producer.send_batch(builder, self._topic, partition=shard))
        for ack in acks:
            await ack
