"""The one writer of a shard: a claim, then rounds, each fenced by the offsets of its acks; commands after the marker.

Enters: encoded events and their marker. Leaves: records on `follower.events.v1[p]`, then on `trade.commands.v1[p]`.

One partition has one writer, so the offset of every ack is known beforehand. An ack at another offset, or without one, means
that another writer is there: `FencedOut`, and the process ends before it sends a command (rule 4 of the design).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from engine.config import Settings
from engine.domain.events import RoundCommitted, ShardClaimed
from engine.domain.messages import TradeCommand
from engine.errors import FencedOut
from engine.log.codec import CLAIM_KEY, ROUND_KEY, encode
from engine.log.reach import asking
from engine.topology import EVENTS, MAX_RECORD_BYTES, TRADE_COMMANDS

Keyed = tuple[bytes, bytes]
"""Key and value of a record."""


def build_producer(settings: Settings, client_id: str) -> AIOKafkaProducer:
    """An idempotent producer: a retry after a lost answer cannot append twice."""
    return AIOKafkaProducer(  # type: ignore[no-untyped-call]
        bootstrap_servers=settings.kafka,
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=MAX_RECORD_BYTES,
        max_request_size=4 * MAX_RECORD_BYTES,
    )


class ShardWriter:
    """Writes one shard's partitions. Not for two tasks at once."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings, shard: int) -> None:
        self._producer: Any = producer
        self._events = settings.topic(EVENTS)
        self._commands = settings.topic(TRADE_COMMANDS)
        self.shard = shard
        self.epoch = -1
        self.next_offset = -1

    async def claim(self, owner: str) -> int:
        """Append the claim; its offset is our epoch from now on."""
        value = encode(ShardClaimed(shard=self.shard, owner=owner))
        answers = await self._append(self._events, [(CLAIM_KEY, value)])
        self.epoch = _offset(answers[0][0])
        self.next_offset = self.epoch + 1
        return self.epoch

    async def write_round(self, events: Sequence[Keyed], marker: RoundCommitted) -> int:
        """Append the events and then their marker; returns the marker's offset once every ack is where it must be."""
        assert self.epoch >= 0 and marker.epoch == self.epoch, "claim first"
        assert marker.events == len(events)
        for metadata, count in await self._append(self._events, [*events, (ROUND_KEY, encode(marker))]):
            offset = _offset(metadata)
            if offset != self.next_offset:
                raise FencedOut(f"shard {self.shard}, epoch {self.epoch}: acked at {offset}, not {self.next_offset}: not alone")
            self.next_offset += count
        return self.next_offset - 1

    async def send_commands(self, commands: Iterable[TradeCommand]) -> None:
        """Append commands in order and await every ack. Receivers drop what they have seen by `seq`."""
        records = [(command.body.follower_id.encode(), encode(command)) for command in commands]
        if records:
            await self._append(self._commands, records)

    async def _append(self, topic: str, records: Sequence[Keyed]) -> list[tuple[RecordMetadata, int]]:
        """Records in as few batches as they fit, in order; per batch the answer and its number of records."""
        sent: list[tuple[asyncio.Future[RecordMetadata], int]] = []
        try:
            builder: Any = self._producer.create_batch()
            for key, value in records:
                if builder.append(key=key, value=value, timestamp=None) is None:
                    sent.append(await self._send(topic, builder))
                    builder = self._producer.create_batch()
                    assert builder.append(key=key, value=value, timestamp=None) is not None, "the first record of a batch always fits"
            sent.append(await self._send(topic, builder))
            return [(await future, count) for future, count in sent]
        except KafkaError as error:
            raise FencedOut(f"shard {self.shard}: a write to {topic} was not acked ({error!r}); whether it is there is unknown") from error

    async def _send(self, topic: str, builder: Any) -> tuple[asyncio.Future[RecordMetadata], int]:
        count: int = builder.record_count()
        return await self._producer.send_batch(builder, topic, partition=self.shard), count


def _offset(metadata: RecordMetadata) -> int:
    """The base offset of a batch; -1 when the broker does not know it any more."""
    if metadata.offset < 0:
        raise FencedOut(f"{metadata.topic}[{metadata.partition}]: acked without an offset")
    return int(metadata.offset)


async def start_producer(settings: Settings, client_id: str) -> AIOKafkaProducer:
    """An idempotent producer, connected; raises `DependencyUnreachable`."""
    producer = build_producer(settings, client_id)
    await start(settings, producer)
    return producer


async def start(settings: Settings, producer: AIOKafkaProducer) -> None:
    """Connect a producer; one that cannot is stopped again. Raises `DependencyUnreachable`."""
    try:
        with asking(settings):
            await producer.start()  # type: ignore[no-untyped-call]
    except BaseException:
        await producer.stop()  # type: ignore[no-untyped-call]
        raise
