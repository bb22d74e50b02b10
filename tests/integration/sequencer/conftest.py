"""A sequencer in a child process, a topic to read, and shards that say what they have seen."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from engine.config import Settings
from engine.contracts.signal import WhaleSignal
from engine.domain.events import AnyEvent, RoundCommitted
from engine.domain.messages import InboxRecord, Tick
from engine.log.codec import decode_inbox, encode_event
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.publish import Publisher, open_publisher
from engine.log.reader import NO_DIGEST, Position, chain
from engine.log.topics import ensure_topics
from engine.log.writer import ShardWriter, build_producer
from engine.topology import INBOX, Topic
from ops.processes import Supervisor
from ops.seeded import seeded_signals
from tests.conftest import SettingsFactory
from tests.support import wait_until

PROGRAM = [
    sys.executable,
    "-c",
    "from engine.agents.sequencer import main; from engine.config import load_settings; main(load_settings())",
]
Record = ConsumerRecord[bytes | None, bytes | None]


@pytest.fixture
async def made(settings: SettingsFactory) -> Settings:
    """Settings whose topics exist; ticks are rare."""
    made = settings(tick_ms=600_000)
    await ensure_topics(made)
    return made


@pytest.fixture
async def publisher(made: Settings) -> AsyncIterator[Publisher]:
    """Sends to the public topics."""
    async with open_publisher(made) as publisher:
        yield publisher


@pytest.fixture
async def producer(made: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """For what the engine writes."""
    producer = build_producer(made, "test")
    await producer.start()
    yield producer
    await producer.stop()


class Child:
    """A sequencer as a supervised process."""

    def __init__(self, supervisor: Supervisor, settings: Settings, instance: str = "0") -> None:
        self._supervisor, self._settings, self._instance = supervisor, settings, instance
        self._name = f"sequencer-{instance}"

    def another(self, instance: str) -> Child:
        """A second member of the same group."""
        return Child(self._supervisor, self._settings, instance)

    def start(self, **env: str) -> None:
        """Start (again) and wait until it is ready."""
        self.launch(**env)
        self._supervisor.wait_ready(self._name)

    def launch(self, **env: str) -> None:
        """Start without waiting."""
        names = {"KAFKA_BOOTSTRAP_SERVERS": self._settings.kafka, "REMORA_TOPIC_PREFIX": self._settings.topic_prefix}
        names |= {"REMORA_PARTITIONS": str(self._settings.partitions), "REMORA_TICK_MS": str(self._settings.tick_ms)}
        names |= {"REMORA_INSTANCE": self._instance, "REMORA_DATA_DIR": str(self._settings.data_dir), "REMORA_SESSION_TIMEOUT_S": "2"} | env
        self._supervisor.start(self._name, program=PROGRAM, env=names)

    def kill(self) -> None:
        """kill -9; it stays down until `start`."""
        self._supervisor.kill9(self._name, restart=False)

    def stop(self) -> None:
        """SIGTERM."""
        self._supervisor.stop(self._name)

    def pause(self) -> None:
        """SIGSTOP."""
        self._supervisor.pause(self._name)

    def resume(self) -> None:
        """SIGCONT."""
        self._supervisor.resume(self._name)

    @property
    def log(self) -> str:
        """What it printed."""
        return self._supervisor.log_file(self._name).read_text()

    @property
    def exit_codes(self) -> list[int]:
        """How its lives have ended."""
        return self._supervisor.exit_codes(self._name)


@pytest.fixture
def child(made: Settings, tmp_path: Path) -> Any:
    """A sequencer that is not started yet."""
    with Supervisor(tmp_path / "run") as supervisor:
        yield Child(supervisor, made)


async def read_all(settings: Settings, topic: Topic, partition: int = 0) -> list[Record]:
    """Everything on a partition now."""
    async with open_consumer(settings) as consumer:
        first, end = await bounds(consumer, settings.topic(topic), partition)
        return [record async for batch in read_range(consumer, settings.topic(topic), partition, first, end) for record in batch]


async def inbox(settings: Settings, shard: int) -> list[InboxRecord]:
    """A shard's inbox without ticks."""
    records = [decode_inbox(record.value or b"") for record in await read_all(settings, INBOX, shard)]
    return [record for record in records if not isinstance(record.body, Tick)]


async def arrived(settings: Settings, shard: int, count: int) -> list[InboxRecord]:
    """A shard's inbox once it has `count` records (ticks aside)."""

    async def enough() -> list[InboxRecord]:
        records = await inbox(settings, shard)
        return records if len(records) >= count else []

    found = await wait_until(enough, what=f"{count} records in the inbox of shard {shard}")
    assert isinstance(found, list)
    return found


async def answers(settings: Settings, topic: Topic, count: int) -> list[dict[str, Any]]:
    """The first `count` records of a rejected or dead topic."""

    async def enough() -> list[Record]:
        records = await read_all(settings, topic)
        return records if len(records) >= count else []

    found = await wait_until(enough, what=f"{count} records on {topic.name}")
    assert isinstance(found, list)
    return [json.loads(record.value) for record in found]


def positions(records: list[InboxRecord]) -> list[tuple[str, int, int]]:
    """Source positions of inbox records, in order."""
    return [(record.src.source, record.src.partition, record.src.offset) for record in records if record.src]


def fresh(number: int, **changes: Any) -> WhaleSignal:
    """A valid signal of now."""
    signal = next(iter(seeded_signals(number, 1)))
    return signal.model_copy(update={"detected_at": datetime.now(UTC), "signal_id": f"s{number}"} | changes)


class FakeShard:
    """Says in a shard's log what the shard has seen, and which events it had."""

    def __init__(self, writer: ShardWriter) -> None:
        self._writer, self._digest, self._inbox, self._next_id, self._version = writer, NO_DIGEST, 0, 1, 0
        self.position = Position()

    async def round(self, sources: dict[str, int], make: Callable[[int], list[AnyEvent]] = lambda _: []) -> None:
        """One accepted round; `make` gets the next version of the shard's own originator."""
        events = [encode_event(event) for event in make(self._version + 1)]
        self._version += len(events)
        self._digest = chain(self._digest, (value for _, value in events))
        marker = RoundCommitted(
            epoch=self._writer.epoch,
            inbox_from=self._inbox,
            inbox_to=self._inbox + 1,
            sources=sources,
            events=len(events),
            first_id=self._next_id,
            digest=self._digest,
            logic_version=1,
            commands_through=0,
            commands_total=0,
            now=0,
        )
        offset = await self._writer.write_round(events, marker)
        self._inbox += 1
        self._next_id += len(events)
        self.position = Position(
            next_offset=offset + 1, epoch=marker.epoch, inbox_position=self._inbox, digest=self._digest, next_id=self._next_id
        )


@asynccontextmanager
async def fake_shards(settings: Settings) -> AsyncIterator[list[FakeShard]]:
    """All shards, claimed."""
    producer = build_producer(settings, "test-shards")
    await producer.start()
    try:
        writers = [ShardWriter(producer, settings, shard) for shard in range(settings.partitions)]
        for writer in writers:
            await writer.claim("test")
        yield [FakeShard(writer) for writer in writers]
    finally:
        await producer.stop()
