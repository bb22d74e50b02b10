"""A log of one prefix with its topics, a producer, and writers for its shards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaProducer

from engine.config import Settings
from engine.domain.events import AnyEvent, RoundCommitted, SignalExpired
from engine.domain.ids import shard_originator
from engine.log.codec import encode_event
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.reader import AcceptedRound, Position, RoundReader, chain
from engine.log.topics import ensure_topics
from engine.log.writer import ShardWriter, build_producer
from engine.topology import EVENTS
from tests.conftest import SettingsFactory


@dataclass
class Log:
    """The events of one shard, written as an engine would and read back as everybody does."""

    settings: Settings
    producer: AIOKafkaProducer
    position: Position = field(default_factory=Position)

    def writer(self) -> ShardWriter:
        """A writer that has not claimed yet; several of them play zombies."""
        return ShardWriter(self.producer, self.settings, 0)

    def round(
        self, names: list[str], epoch: int, base: Position | None = None, **changes: object
    ) -> tuple[list[tuple[bytes, bytes]], RoundCommitted]:
        """Events named `names` and the marker that would close them behind `base`."""
        base = base or self.position
        events = [encode_event(event) for event in expired(names)]
        values: dict[str, object] = {
            "epoch": epoch,
            "inbox_from": base.inbox_position,
            "inbox_to": base.inbox_position + 1,
            "sources": {},
            "events": len(events),
            "first_id": base.next_id,
            "digest": chain(base.digest, (value for _, value in events)),
            "logic_version": 1,
            "commands_through": 0,
            "commands_total": 0,
            "now": 0,
        }
        return events, RoundCommitted(**(values | changes))  # type: ignore[arg-type]

    async def write(self, writer: ShardWriter, names: list[str], base: Position | None = None, **changes: object) -> None:
        """One round; `position` follows what the writer believes."""
        events, marker = self.round(names, writer.epoch, base, **changes)
        offset = await writer.write_round(events, marker)
        self.position = Position(
            next_offset=offset + 1,
            epoch=writer.epoch,
            inbox_position=marker.inbox_to,
            digest=marker.digest,
            next_id=marker.first_id + len(events),
        )

    async def put(self, records: list[tuple[bytes, bytes]]) -> None:
        """Records with no writer's care: what a torn or an old process leaves behind."""
        for key, value in records:
            await self.producer.send_and_wait(self.settings.topic(EVENTS), value, key=key, partition=0)

    async def read(self, position: Position | None = None) -> tuple[list[AcceptedRound], RoundReader]:
        """Everything that was accepted, and the reader behind it."""
        reader, rounds = RoundReader(0, position), []
        async with open_consumer(self.settings) as consumer:
            _, end = await bounds(consumer, self.settings.topic(EVENTS), 0)
            async for records in read_range(consumer, self.settings.topic(EVENTS), 0, reader.next_offset, end):
                rounds += reader.feed(records)
        return rounds, reader


def expired(names: list[str]) -> list[AnyEvent]:
    """Small events to write."""
    return [SignalExpired(originator_id=shard_originator(0), originator_version=1, signal_id=name) for name in names]


def names_of(rounds: list[AcceptedRound]) -> list[list[str]]:
    """Signal ids of the events, round by round."""
    import msgspec

    return [[msgspec.json.decode(value)["signal_id"] for _, _, value, _ in accepted.events] for accepted in rounds]


@pytest.fixture
async def log(settings: SettingsFactory) -> AsyncIterator[Log]:
    """An empty log of one shard."""
    made = settings(partitions=1)
    await ensure_topics(made)
    producer = build_producer(made, "test")
    await producer.start()
    yield Log(made, producer)
    await producer.stop()
