"""Producers of the public topics: signals, follower commands, control and audit records. Used by the CLI, the API, the demo and importers.

Enters: contract models (signals) or the domain's messages (commands, control), checked against the contract before they are sent.
Leaves: records on explicit partitions, each with its acked position. Errors: ContractViolation, DependencyUnreachable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from engine.config import Settings
from engine.contracts.audit import AuditModel
from engine.contracts.check import RawRecord, read_audit, read_control, read_follower_command
from engine.contracts.envelope import write_event
from engine.contracts.signal import SIGNAL_TYPE, WhaleSignal
from engine.domain.messages import ControlRecord, FollowerCommand
from engine.log import reach
from engine.log.writer import start_producer
from engine.topology import CONTROL, FOLLOWER_COMMANDS, SIGNALS, Topic, shard_of

Headers = Sequence[tuple[str, bytes]]
DETECTOR: Final = "/remora"


@dataclass(frozen=True)
class Published:
    """Where a record lies: the position that `min_position` takes. `timestamp_ms` is the append time (or ours, on topics without)."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class Sent:
    """A record on its way; awaiting it gives its position. Errors: DependencyUnreachable."""

    def __init__(self, settings: Settings, name: str, answer: asyncio.Future[RecordMetadata]) -> None:
        self._settings, self._name, self._answer = settings, name, answer

    def __await__(self) -> Generator[Any, None, Published]:
        with _taking(self._settings, self._name):
            answer = yield from self._answer.__await__()
        return Published(self._name, answer.partition, answer.offset, answer.timestamp or 0)


class Publisher:
    """Sends records of the public topics; every `publish_` call returns once the broker has acked."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._settings = settings
        self._producer: Any = producer

    async def publish_signal(self, signal: WhaleSignal, *, source: str = DETECTOR, structured: bool = False) -> Published:
        """A CloudEvent keyed by whale_id, on the partition of the whale; `source` is the detector's URI reference."""
        return await (await self.send_signal(signal, source=source, structured=structured))

    async def send_signal(self, signal: WhaleSignal, *, source: str = DETECTOR, structured: bool = False) -> Sent:
        """`publish_signal` in two steps: signals sent one after the other keep their order while their acks are still to come."""
        headers, value = write_event(SIGNAL_TYPE, source, signal.signal_id, datetime.now(UTC), signal.to_json(), structured=structured)
        partition = await self.signal_partition(signal.whale_id)
        return await self.send_raw(SIGNALS, value, partition, signal.whale_id.encode(), headers)

    async def reachable(self) -> bool:
        """Whether the broker answers a question now. Errors: DependencyUnreachable."""
        with reach.asking(self._settings):
            await self._producer.client.fetch_all_metadata()
        return True

    async def signal_partition(self, whale_id: str) -> int:
        """Where signals of a whale go."""
        return shard_of(whale_id, await self._partitions(SIGNALS))

    async def publish_follower_command(self, command: FollowerCommand) -> Published:
        """A command on its follower's shard."""
        value, shards = msgspec.json.encode(command), self._settings.partitions
        partition, key = shard_of(command.follower_id, shards), command.follower_id.encode()
        read_follower_command(RawRecord(value, key), partition, shards)
        return await (await self.send_raw(FOLLOWER_COMMANDS, value, partition, key))

    async def publish_control(self, record: ControlRecord) -> Published:
        """A switch, gate, release, resync or logic version."""
        value = msgspec.json.encode(record)
        read_control(RawRecord(value))
        return await (await self.send_raw(CONTROL, value, 0))

    async def publish_audit(self, record: AuditModel) -> Published:
        """What is about to be written elsewhere, for the trail: it is acked before anything else is done."""
        value = record.to_json()
        read_audit(RawRecord(value))
        return await (await self.send_raw(CONTROL, value, 0))

    async def send_raw(self, topic: Topic, value: bytes | None, partition: int, key: bytes | None = None, headers: Headers = ()) -> Sent:
        """Any record as it is, unchecked: a redrive, or what others may send. Awaiting what this gives awaits the ack."""
        name = self._settings.topic(topic)
        with _taking(self._settings, name):
            future = await self._producer.send(name, value, key=key, partition=partition, headers=list(headers))
        return Sent(self._settings, name, future)

    async def _partitions(self, topic: Topic) -> int:
        """Detectors' topics may have any number of partitions; ours are known."""
        found: set[int] | None = await self._producer.partitions_for(self._settings.topic(topic))
        return len(found) if found else topic.partition_count(self._settings.partitions)


def _taking(settings: Settings, name: str) -> AbstractContextManager[None]:
    return reach.asking(settings, f"did not take a record for {name}")


@asynccontextmanager
async def open_publisher(settings: Settings, client_id: str = "remora-publisher") -> AsyncIterator[Publisher]:
    """A publisher for the time of the block. Errors: DependencyUnreachable."""
    producer = await start_producer(settings, client_id)
    try:
        yield Publisher(settings, producer)
    finally:
        await producer.stop()  # type: ignore[no-untyped-call]
