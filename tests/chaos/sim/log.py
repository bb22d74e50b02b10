"""The virtual log: batches enter over a wire that may lose, hold up or fail to acknowledge them; records with offsets leave.

What was sent before its process died still arrives. A producer has one batch a partition on the wire; when one is lost for good, those
behind it are lost too (an idempotent producer's sequence forbids a hole).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError, UnknownProducerId
from aiokafka.structs import RecordMetadata

from engine.log.codec import CLAIM_KEY
from tests.chaos.sim.loop import VirtualLoop

Pair = tuple[bytes | None, bytes | None]


class Record:
    """A record as consumers see it; also what Faust calls a message (which counts seconds)."""

    __slots__ = ("headers", "key", "offset", "timestamp", "topic", "value")

    def __init__(self, topic: str, offset: int, pair: Pair, headers: Sequence[tuple[str, bytes]], timestamp: int) -> None:
        self.topic, self.offset, self.headers, self.timestamp = topic, offset, headers, timestamp
        self.key, self.value = pair


@dataclass
class Wire:
    """How bad the way to the broker is: chances of one batch."""

    slow: float = 0.0
    lost: float = 0.0
    """Never appended; the producer gives up."""
    ack_lost: float = 0.0
    """Appended; the producer gives up waiting."""
    ack_blind: float = 0.0
    """Appended; the broker does not know the offset any more."""


class Partition:
    """Records of one partition and who waits for more."""

    __slots__ = ("records", "waiting")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.waiting: list[Callable[[], None]] = []

    @property
    def end(self) -> int:
        """The offset after the last record."""
        return len(self.records)


class Broker:
    """All topics. Its clock is behind or ahead of the world's by a skew that moves (another leader)."""

    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self.loop, self.random, self.wire = loop, random, Wire()
        self.skew_ms = 0
        self.partitions: dict[tuple[str, int], Partition] = {}
        self.counts: dict[str, int] = {}
        self.groups: dict[str, Any] = {}
        self.blind = 0
        """Batches whose producer does not know where they are: they excuse the end of a process."""

    def create(self, topic: str, count: int) -> None:
        """A topic with `count` partitions."""
        self.counts[topic] = count
        for number in range(count):
            self.partitions[topic, number] = Partition()

    def at(self, tp: TopicPartition | tuple[str, int]) -> Partition:
        """One partition."""
        return self.partitions[tp[0], tp[1]]

    def latency(self) -> float:
        """Seconds on the wire, one way."""
        if self.wire.slow and self.random.random() < self.wire.slow:
            return self.random.uniform(0.05, 2.0)
        return self.random.uniform(0.0005, 0.006)

    def append(self, topic: str, partition: int, pairs: Sequence[Pair], headers: Sequence[tuple[str, bytes]] = ()) -> tuple[int, int]:
        """Base offset and append time of a batch."""
        log = self.partitions[topic, partition]
        base, now = log.end, self.loop.now_ms() + self.skew_ms
        log.records += [Record(topic, base + place, pair, headers, now) for place, pair in enumerate(pairs)]
        waiting, log.waiting = log.waiting, []
        for wake in waiting:
            wake()
        return base, now

    def digest(self) -> str:
        """Of every record with its place and time; claims name a process id of the real machine and count without it."""
        found = blake2b(digest_size=16)
        for (topic, number), log in self.partitions.items():
            for record in log.records:
                value = b"" if record.key == CLAIM_KEY else record.value
                found.update(f"{topic}[{number}] {record.timestamp} {record.key!r} {value!r}".encode())
        return found.hexdigest()


class Builder:
    """A batch under construction."""

    def __init__(self, most: int) -> None:
        self.pairs: list[Pair] = []
        self._most = most

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: int | None) -> object | None:
        """None when the batch is full."""
        del timestamp
        if len(self.pairs) >= self._most:
            return None
        self.pairs.append((key, value))
        return self.pairs

    def record_count(self) -> int:
        """Records so far."""
        return len(self.pairs)

    def close(self) -> None:
        """Complete as it is."""


class _Lane:
    __slots__ = ("broken", "busy", "queue")

    def __init__(self) -> None:
        self.queue: deque[tuple[list[Pair], Sequence[tuple[str, bytes]], asyncio.Future[RecordMetadata]]] = deque()
        self.busy = self.broken = False


class Producer:
    """What `AIOKafkaProducer` is to the code under test. Batches hold few records, so that many rounds take several."""

    def __init__(self, broker: Broker, most: int) -> None:
        self._broker, self._most = broker, most
        self._lanes: dict[tuple[str, int], _Lane] = {}

    async def start(self) -> None:
        """Connected."""

    async def stop(self) -> None:
        """Nothing is buffered for long."""

    def create_batch(self) -> Builder:
        """An empty batch."""
        return Builder(self._most)

    async def partitions_for(self, topic: str) -> set[int]:
        """Partition numbers."""
        return set(range(self._broker.counts[topic]))

    async def send_batch(self, builder: Builder, topic: str, *, partition: int) -> asyncio.Future[RecordMetadata]:
        """Queue a batch."""
        return self._queue(topic, partition, builder.pairs, ())

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = 0,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one record."""
        return self._queue(topic, partition, [(key, value)], headers)

    async def send_and_wait(self, topic: str, value: bytes | None = None, key: bytes | None = None, partition: int = 0) -> RecordMetadata:
        """Queue one record and await its ack."""
        return await (await self.send(topic, value, key, partition))

    def _queue(self, topic: str, partition: int, pairs: list[Pair], headers: Sequence[tuple[str, bytes]]) -> asyncio.Future[RecordMetadata]:
        future: asyncio.Future[RecordMetadata] = self._broker.loop.create_future()
        lane = self._lanes.setdefault((topic, partition), _Lane())
        lane.queue.append((pairs, headers, future))
        if not lane.busy:
            self._transmit(topic, partition, lane)
        return future

    def _transmit(self, topic: str, partition: int, lane: _Lane) -> None:
        """Put the next batch on the wire. This runs inside the producer's process; the arrival does not."""
        lane.busy = bool(lane.queue)
        if lane.queue:
            self._broker.loop.outside(self._broker.latency(), self._arrive, topic, partition, lane, *lane.queue.popleft(), _inside())

    def _arrive(self, topic: str, partition: int, lane: _Lane, pairs: Any, headers: Any, future: Any, inside: Callable[..., None]) -> None:
        broker, wire = self._broker, self._broker.wire
        chance = broker.random.random()
        if lane.broken or chance < wire.lost:
            lane.broken = True
            broker.blind += 1
            inside(broker.latency() + 1.0, self._answer, topic, partition, lane, future, KafkaTimeoutError())
            return
        base, now = broker.append(topic, partition, pairs, headers)
        answer: RecordMetadata | KafkaError = RecordMetadata(topic, partition, TopicPartition(topic, partition), base, now, 1, 0)
        if chance < wire.lost + wire.ack_lost:
            broker.blind += 1
            answer = KafkaTimeoutError() if chance < wire.lost + wire.ack_lost / 2 else UnknownProducerId()
        elif chance < wire.lost + wire.ack_lost + wire.ack_blind:
            broker.blind += 1
            answer = answer._replace(offset=-1)  # type: ignore[union-attr]
        inside(broker.latency(), self._answer, topic, partition, lane, future, answer)

    def _answer(self, topic: str, partition: int, lane: _Lane, future: asyncio.Future[RecordMetadata], answer: Any) -> None:
        if not future.done():
            if isinstance(answer, KafkaError):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._transmit(topic, partition, lane)


def _inside() -> Callable[..., None]:
    """A way back into the process that calls this now."""
    loop, context = asyncio.get_running_loop(), copy_context()
    return lambda delay, callback, *args: loop.call_later(delay, callback, *args, context=context) and None
