"""Signs of life on the log, for who looks from outside: members of a role's group, the newest round and claim of each shard, the ticks.

Enters: the settings. Leaves: what the log and its broker say now; nothing is written. Errors: DependencyUnreachable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupCoordinatorNotAvailableError

from engine.config import Settings
from engine.log.codec import CLAIM_KEY, ROUND_KEY, decode_claim, decode_marker
from engine.log.consume import bounds, end_of, open_consumer, read_range
from engine.log.topics import open_admin
from engine.topology import EVENTS, INBOX, Topic

COORDINATOR_S: Final = 5.0
FIRST_LOOK: Final = 200
LONGEST_LOOK: Final = 50_000
"""Records from a partition's end in which a marker must stand: more than the longest round."""


@dataclass(frozen=True)
class Member:
    """One process of a group: its client id, its host, and how many partitions of which topics it has."""

    client_id: str
    host: str
    partitions: dict[str, int]


@dataclass(frozen=True)
class Head:
    """How far a shard is. `alive_ms` is when its newest round or claim was appended; with `owner` None when none was found near the end."""

    shard: int
    decided: int
    inbox_end: int
    alive_ms: int | None
    owner: str | None

    @property
    def behind(self) -> int:
        """Inbox records that no accepted round has worked in."""
        return max(self.inbox_end - self.decided, 0)


async def members(settings: Settings, role: str) -> list[Member]:
    """The processes that share a role's work."""
    until = time.monotonic() + COORDINATOR_S
    async with open_admin(settings) as admin:
        while True:
            try:
                # One group a question: with two, aiokafka misreads the answer.
                answer: Any
                [answer] = await admin.describe_consumer_groups([settings.group(role)])
                return [_member(row) for group in answer.groups for row in group[5]]
            except GroupCoordinatorNotAvailableError:
                # The first question of a broker's life makes the topic that groups live in.
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)


def _member(row: Any) -> Member:
    assigned = ConsumerProtocolMemberAssignment.decode(row[4]).partitions() if row[4] else []
    topics = [tp.topic for tp in assigned]
    return Member(row[1], row[2].lstrip("/"), {topic: topics.count(topic) for topic in set(topics)})


async def heads(settings: Settings) -> list[Head]:
    """Every shard's newest round and claim."""
    async with open_consumer(settings) as consumer:
        return [await _head(consumer, settings, shard) for shard in range(settings.partitions)]


async def _head(consumer: AIOKafkaConsumer, settings: Settings, shard: int) -> Head:
    topic, look = settings.topic(EVENTS), FIRST_LOOK
    inbox_end = await end_of(consumer, settings.topic(INBOX), shard)
    first, end = await bounds(consumer, topic, shard)
    while True:
        begin = max(first, end - look)
        decided = alive_ms = owner = None
        async for records in read_range(consumer, topic, shard, begin, end):
            for record in records:
                if record.key == CLAIM_KEY:
                    owner, alive_ms = decode_claim(record.value or b"").owner, record.timestamp
                elif record.key == ROUND_KEY:
                    decided, alive_ms = decode_marker(record.value or b"").inbox_to, record.timestamp
        if decided is not None or begin == first or look >= LONGEST_LOOK:
            return Head(shard, decided or 0, inbox_end, alive_ms, owner)
        look = LONGEST_LOOK


async def tick_skew_ms(settings: Settings, wait_s: float) -> int | None:
    """The broker's clock less ours, by the next record that is appended to the inbox; None when none came in time."""
    name = settings.topic(INBOX)
    async with open_consumer(settings) as consumer:
        tp, until = TopicPartition(name, 0), time.monotonic() + wait_s
        end = await end_of(consumer, name, 0)
        consumer.assign([tp])  # type: ignore[no-untyped-call]
        consumer.seek(tp, end)  # type: ignore[no-untyped-call]
        while (left := until - time.monotonic()) > 0:
            found = await consumer.getmany(tp, timeout_ms=int(min(left, 1.0) * 1000))
            for record in found.get(tp, []):
                return round(record.timestamp - time.time() * 1000)
    return None


async def newest_records(
    settings: Settings, topic: Topic, partition: int, most: int
) -> AsyncIterator[list[ConsumerRecord[bytes | None, bytes | None]]]:
    """The last `most` records of a partition, oldest first."""
    name = settings.topic(topic)
    async with open_consumer(settings) as consumer:
        first, end = await bounds(consumer, name, partition)
        async for records in read_range(consumer, name, partition, max(first, end - most), end):
            yield records
