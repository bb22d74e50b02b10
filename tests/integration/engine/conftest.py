"""Inbox records as the sequencer writes them, on the real broker, and what the engine made of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaProducer

from engine.agents.shard import Shard
from engine.config import Settings
from engine.domain.messages import InboxRecord, TradeCommand
from engine.log.codec import decode_command, encode
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.reader import AcceptedRound, RoundReader
from engine.log.topics import ensure_topics
from engine.log.writer import build_producer
from engine.topology import EVENTS, INBOX, TRADE_COMMANDS, Topic
from tests import given
from tests.conftest import SettingsFactory
from tests.support import wait_until

DEADLINE_S = 60.0
SHARDS = 2
SESSION_S = 2.0


@dataclass
class Bench:
    """The topics of one test: the inbox is written here, events and commands are read back."""

    settings: Settings
    producer: AIOKafkaProducer

    async def put(self, records: list[InboxRecord], partition: int = 0) -> None:
        """Append inbox records."""
        topic = self.settings.topic(INBOX)
        futures = [await self.producer.send(topic, encode(record), partition=partition) for record in records]
        await asyncio.gather(*futures)

    async def records(self, topic: Topic, partition: int = 0, start: int = 0) -> list[tuple[int, bytes, int]]:
        """Offset, value and append time of everything on a partition."""
        found: list[tuple[int, bytes, int]] = []
        async with open_consumer(self.settings) as consumer:
            _, end = await bounds(consumer, self.settings.topic(topic), partition)
            async for batch in read_range(consumer, self.settings.topic(topic), partition, start, end):
                found += [(record.offset, record.value or b"", record.timestamp) for record in batch]
        return found

    async def commands(self, partition: int = 0) -> list[TradeCommand]:
        """Everything on the shard's commands."""
        return [decode_command(value) for _, value, _ in await self.records(TRADE_COMMANDS, partition)]

    async def accepted(self, partition: int = 0) -> tuple[list[AcceptedRound], RoundReader]:
        """The accepted rounds of a shard."""
        reader, rounds = RoundReader(partition), []
        async with open_consumer(self.settings) as consumer:
            topic = self.settings.topic(EVENTS)
            _, end = await bounds(consumer, topic, partition)
            async for batch in read_range(consumer, topic, partition, 0, end):
                rounds += reader.feed(batch)
        return rounds, reader

    async def decided_again(self, partition: int = 0) -> list[bytes]:
        """What deciding on the whole inbox gives, from nothing."""
        from engine.domain.shard import decide, new_state
        from engine.log.codec import decode_inbox

        state = new_state(partition, self.settings.partitions)
        records = await self.records(INBOX, partition)
        return [encode(event) for _, value, at in records for event in decide(state, decode_inbox(value), at)]

    async def shard(self, partition: int = 0) -> Shard:
        """An engine's shard without Faust, loaded and open."""
        shard = Shard(self.settings, partition, self.producer, "test")
        await shard.load()
        shard.resume()
        return shard

    async def feed(self, shard: Shard) -> None:
        """Hand the shard what the inbox has for it and wait until it is decided and written."""
        for item in await self.records(INBOX, shard.shard, shard.next_inbox):
            shard.put(item)
        await until(lambda: shard.position.inbox_position == shard._expected, "the shard has caught up")
        if shard._snapshot_task is not None:
            await shard._snapshot_task


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    await wait_until(holds, DEADLINE_S, what)


def copies(followers: int, signals: int) -> list[InboxRecord]:
    """A shard's story: followers with equity, then a whale's opens, each copied, filled, and at the end closed."""
    story = given.Shard()
    # The broker's append time is what "now" is: equity and signals must be fresh by it.
    story.now = int(time.time() * 1000)
    names = [f"f{number}" for number in range(followers)]
    for name in names:
        story.follower(name)
        story.equity(100_000, name)
    for _ in range(signals):
        story.signal("increase", "buy", 1, 1000)
        for name in names:
            for order in list((story.state.followers[name].orders or {}).values()):
                story.settle(order)
    story.signal("close", "sell", signals, 1000)
    return [record for record, _ in story.records]


@asynccontextmanager
async def _bench(settings: Settings) -> AsyncIterator[Bench]:
    await ensure_topics(settings)
    producer = build_producer(settings, "test")
    await producer.start()
    yield Bench(settings, producer)
    await producer.stop()


@pytest.fixture
async def bench(settings: SettingsFactory) -> AsyncIterator[Bench]:
    """One shard; snapshots every 40 events."""
    async with _bench(settings(partitions=1, snapshot_events=40)) as made:
        yield made


@pytest.fixture
async def shards(settings: SettingsFactory) -> AsyncIterator[Bench]:
    """Two shards; a member that is gone loses its partitions soon."""
    async with _bench(settings(partitions=SHARDS, session_timeout_s=SESSION_S)) as made:
        yield made
