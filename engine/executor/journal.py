"""The one writer of a partition of `trade.executions.v1`: concurrent appends become one batch, and every ack must be the next offset.

Enters: encoded records. Leaves: their offsets, once durable. An ack at another offset (or none) means that another executor writes
here: the process ends before it sends anything (`FencedOut`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from engine.domain.messages import Execution, ExecutorClaimed
from engine.errors import DependencyUnreachable, FencedOut, RemoraError

CLAIM_KEY = b"~claim"
_ENCODER = msgspec.json.Encoder(decimal_format="string")


class JournalClosed(Exception):
    """The partition belongs to another executor now; what was to be written is void."""


class Journal:
    """Appends to one partition. `claim` first; then `append` from any number of tasks."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int, die: Callable[[RemoraError], NoReturn]) -> None:
        self._producer, self._topic, self.partition, self._die = producer, topic, partition, die
        self._queue: deque[tuple[bytes, bytes, asyncio.Future[int]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        self.epoch = -1
        self.next_offset = -1

    async def claim(self, owner: str, at: int) -> int:
        """Append the claim; its offset is the epoch of everything that follows."""
        value = _ENCODER.encode(ExecutorClaimed(owner=owner, at=at))
        metadata = await self._producer.send_and_wait(self._topic, value=value, key=CLAIM_KEY, partition=self.partition)  # type: ignore[no-untyped-call]
        if metadata.offset < 0:
            self._die(FencedOut(f"partition {self.partition}: the claim has no offset"))
        self.epoch, self.next_offset = metadata.offset, metadata.offset + 1
        return self.epoch

    def append(self, record: Execution, key: str) -> asyncio.Future[int]:
        """Queue a record; the future gives its offset when it is durable."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(JournalClosed())
            return future
        self._queue.append((key.encode(), _ENCODER.encode(record), future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return future

    async def _write(self) -> None:
        try:
            while self._queue:
                await self._write_batch()
        except KafkaError as error:
            self._die(DependencyUnreachable(f"partition {self.partition}: execution not written: {error!r}"))
        finally:
            self._writer = None

    async def _write_batch(self) -> None:
        batch, futures = self._producer.create_batch(), []  # type: ignore[no-untyped-call]
        while self._queue:
            key, value, future = self._queue[0]
            if batch.append(key=key, value=value, timestamp=None) is None:
                break
            futures.append(future)
            self._queue.popleft()
        assert futures, "a record of ours fits into an empty batch"
        batch.close()
        metadata = await (await self._producer.send_batch(batch, self._topic, partition=self.partition))  # type: ignore[no-untyped-call]
        if metadata.offset != self.next_offset:
            self._die(
                FencedOut(f"partition {self.partition}: ack {metadata.offset}, expected {self.next_offset}: another executor writes here")
            )
        self.next_offset += len(futures)
        for place, future in enumerate(futures):
            if not future.done():
                future.set_result(metadata.offset + place)

    async def drain(self) -> None:
        """Wait until everything queued is durable."""
        if self._writer is not None:
            await asyncio.wait((self._writer,))

    def close(self) -> None:
        """Write nothing any more."""
        self._closed = True
        while self._queue:
            future = self._queue.popleft()[2]
            if not future.done():
                future.set_exception(JournalClosed())
