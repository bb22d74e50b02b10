"""What `KafkaShardRecorder` stands on: one shard's accepted events in memory, kept up with the log, and appended to.

Enters: keys and values. Leaves: values by their place in the shard's order, and the places by originator. Asynchronous inside;
`StoreLoop` runs it for the library's threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from aiokafka import AIOKafkaConsumer
from eventsourcing.persistence import StoredEvent

from engine.config import Settings
from engine.domain.events import RoundCommitted
from engine.errors import FencedOut
from engine.log.consume import end_of, open_consumer, read_range
from engine.log.reader import RoundReader, chain
from engine.log.writer import Keyed, ShardWriter, build_producer
from engine.topology import EVENTS

T = TypeVar("T")
FOLLOW_S: Final = 0.05


class _Head(msgspec.Struct, omit_defaults=True):
    """What every value says of itself; `state` only when the state does not say it: then it is carried along."""

    o: str
    v: int
    t: str
    uuid: bool = False
    state: bytes | None = None


_decoder: Final = msgspec.json.Decoder(_Head)


def to_value(event: StoredEvent) -> bytes:
    """The record's value: the state itself if it is an event of ours, else an envelope around it."""
    try:
        head = _decoder.decode(event.state)
    except msgspec.DecodeError:
        head = None
    if head and (head.o, head.v, head.t) == (event.originator_id, event.originator_version, event.topic):
        return event.state
    is_uuid = isinstance(event.originator_id, UUID)
    return msgspec.json.encode(_Head(str(event.originator_id), event.originator_version, event.topic, is_uuid, event.state))


def from_value(value: bytes) -> StoredEvent:
    """The stored event that a value stands for."""
    head = _decoder.decode(value)
    return StoredEvent(UUID(head.o) if head.uuid else head.o, head.v, head.t, value if head.state is None else head.state)


class ShardStore:
    """One shard's log. `values` are the accepted events in order; `numbers` are places in it by key (originator id)."""

    def __init__(self, settings: Settings, shard: int, consumer: AIOKafkaConsumer, writer: ShardWriter, stack: AsyncExitStack) -> None:
        self._shard, self._consumer, self._writer, self._stack = shard, consumer, writer, stack
        self._topic = settings.topic(EVENTS)
        self._reader = RoundReader(shard)
        self._lock = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._follower: asyncio.Task[None] | None = None
        self.values: list[bytes] = []
        self.numbers: dict[bytes, list[int]] = {}
        self._marker: RoundCommitted | None = None

    @classmethod
    async def open(cls, settings: Settings, shard: int) -> ShardStore:
        """Connect; reads nothing yet."""
        stack = AsyncExitStack()
        consumer = await stack.enter_async_context(open_consumer(settings))
        producer: Any = build_producer(settings, f"remora-recorder-{shard}")
        await producer.start()
        stack.push_async_callback(producer.stop)
        return cls(settings, shard, consumer, ShardWriter(producer, settings, shard), stack)

    async def close(self) -> None:
        """Disconnect."""
        if self._follower is not None:
            self._follower.cancel()
        await self._stack.aclose()

    async def refresh(self) -> None:
        """Take in what the log has accepted since."""
        async with self._lock:
            end = await end_of(self._consumer, self._topic, self._shard)
            if end == self._reader.next_offset:
                return
            async for records in read_range(self._consumer, self._topic, self._shard, self._reader.next_offset, end):
                for accepted in self._reader.feed(records):
                    self._marker = accepted.marker
                    for _, key, value, _ in accepted.events:
                        self.numbers.setdefault(key, []).append(len(self.values))
                        self.values.append(value)
        for listener in self._listeners:
            listener()

    async def own(self, owner: str) -> None:
        """Be the shard's writer, with everything taken in that others have written before: what is checked then holds until `append`."""
        if self._writer.epoch < 0 or self._reader.epoch != self._writer.epoch:
            await self._writer.claim(owner)
            await self.refresh()

    async def append(self, records: Sequence[Keyed]) -> None:
        """Write one round behind what was taken in. It moves neither the inbox nor the source positions."""
        if self._reader.epoch != self._writer.epoch:
            raise FencedOut(f"shard {self._shard}: another writer has claimed it")
        await self._writer.write_round(records, self._next_marker(records))

    def _next_marker(self, records: Sequence[Keyed]) -> RoundCommitted:
        position, last = self._reader.position, self._marker
        return RoundCommitted(
            epoch=self._writer.epoch,
            inbox_from=position.inbox_position,
            inbox_to=position.inbox_position,
            sources=last.sources if last else {},
            events=len(records),
            first_id=position.next_id,
            digest=chain(position.digest, (value for _, value in records)),
            logic_version=last.logic_version if last else 1,
            commands_through=last.commands_through if last else 0,
            commands_total=last.commands_total if last else 0,
            now=last.now if last else 0,
        )

    async def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever something new was taken in, and keep taking in."""
        self._listeners.append(listener)
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow())

    async def unlisten(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def _follow(self) -> None:
        while True:
            if self._listeners:
                await self.refresh()
            await asyncio.sleep(FOLLOW_S)


class StoreLoop:
    """An event loop in a thread, for callers that have none."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="shard-store")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` there and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
