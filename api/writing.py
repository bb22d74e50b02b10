"""How routes write: a command for the log enters, 202 with its position leaves. Every write carries an `Idempotency-Key`.

A write's id is a hash of the caller's key and the `Idempotency-Key`; it is the `request_id` of the record. What was answered is kept in
Postgres (`access.answers`), so that the same request gets the same answer from every process, for a week. When an answer was lost (the
process ended between log and table), whoever asks again looks on the log for the id before sending anything; and should two records
carry it all the same, the shards and the executor drop the second.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from time import monotonic, time_ns
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request
from fastapi_problem.error import Problem
from pydantic import BaseModel, Field

from api.errors import Conflict, KeyReused
from api.security import Principal
from engine.config import Settings
from engine.contracts.audit import PublishSignal
from engine.contracts.check import check_age
from engine.contracts.signal import WhaleSignal
from engine.domain.messages import ControlRecord, FollowerCommand
from engine.errors import DependencyUnreachable
from engine.log.find import find_request
from engine.log.publish import Published, Publisher, open_publisher
from engine.topology import CONTROL, FOLLOWER_COMMANDS, SIGNALS, SOURCES, Topic, shard_of
from projections.access import AccessStore
from projections.reads import Row

BUSY_S: Final = 15.0
"""How long one process may take for a request before another one may."""
WAIT_S: Final = 5.0
REACH_S: Final = 2.0
POLL_S: Final = 0.05
ID_CHARS: Final = 32
CODES: Final = {topic.name: code for code, topic in SOURCES.items()}

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern="^[\\x21-\\x7e]+$",
        description="Any text that is new for every wish and the same when it is sent again.",
    ),
]


class Accepted(BaseModel):
    """The command is on the log. `position` is what `min_position` of a read takes; `id` is the record's `request_id`."""

    id: str
    topic: str
    partition: int
    offset: int
    position: str = Field(examples=["f/3/127"])


class Asked:
    """What is asked, told apart by its caller, its key and its content."""

    def __init__(self, caller: Principal, key: str, content: bytes) -> None:
        self.id = hashlib.sha256(f"{caller.key_id}\x00{key}".encode()).hexdigest()[:ID_CHARS]
        self.key = hashlib.sha256(self.id.encode()).digest()
        self.hash = hashlib.sha256(content).digest()


class Writes:
    """One for the process. Its producer opens with the first write, so that reads do not need Kafka."""

    def __init__(self, settings: Settings, store: AccessStore) -> None:
        self._settings, self._store = settings, store
        self._open = AsyncExitStack()
        self._publisher: Publisher | None = None
        self._opening = asyncio.Lock()

    async def publisher(self) -> Publisher:
        """Errors: DependencyUnreachable."""
        async with self._opening:
            if self._publisher is None:
                self._publisher = await self._open.enter_async_context(open_publisher(self._settings, "remora-api"))
            return self._publisher

    async def reachable(self) -> bool:
        """Whether Kafka answers now."""
        try:
            async with asyncio.timeout(REACH_S):
                return await (await self.publisher()).reachable()
        except (DependencyUnreachable, TimeoutError):
            return False

    async def close(self) -> None:
        """Stop the producer."""
        await self._open.aclose()

    async def once(self, asked: Asked, where: tuple[Topic, int], send: Callable[[], Awaitable[Published]]) -> Accepted:
        """Carry out a request that may have been asked before; `where` its record goes. Errors: KeyReused, Conflict, what `send` raises."""
        row = await self._claim(asked)
        if row["answer"] is not None:
            return Accepted.model_validate(row["answer"])
        published = None if row["fresh"] else await find_request(self._settings, *where, asked.id, row["created_at"])
        try:
            published = published or await send()
        except Problem:
            await self._store.drop_answer(asked.key)
            raise
        except BaseException:
            await self._store.free_answer(asked.key)
            raise
        return Accepted.model_validate(await self._store.keep_answer(asked.key, asdict(published) | _named(asked, where[0], published)))

    async def _claim(self, asked: Asked) -> Row:
        """Ours to answer, or answered. While another process is at it: wait a little."""
        until = monotonic() + WAIT_S
        while True:
            row = await self._store.claim_answer(asked.key, asked.hash, BUSY_S)
            if bytes(row["request_hash"]) != asked.hash:
                raise KeyReused("This Idempotency-Key came with another request before.")
            if row["mine"] or row["answer"] is not None:
                return row
            if monotonic() > until:
                raise Conflict("The same request is being carried out: ask again.", headers={"Retry-After": "1"})
            await asyncio.sleep(POLL_S)


def _named(asked: Asked, topic: Topic, published: Published) -> dict[str, Any]:
    return {"id": asked.id, "position": f"{CODES[topic.name]}/{published.partition}/{published.offset}"}


class Write:
    """One write of a route: who asks and under which key. `id` goes into the record."""

    def __init__(self, writes: Writes, settings: Settings, asked: Asked, actor: str) -> None:
        self._writes, self._settings, self._asked, self._actor = writes, settings, asked, actor
        self.id = asked.id

    async def command(self, follower_id: str, build: Callable[[], Awaitable[FollowerCommand]]) -> Accepted:
        """A command of a follower; `build` is called only when it is to be sent, and may refuse with a problem."""

        async def send() -> Published:
            command = await build()
            return await (await self._writes.publisher()).publish_follower_command(command)

        return await self._writes.once(self._asked, (FOLLOWER_COMMANDS, shard_of(follower_id, self._settings.partitions)), send)

    async def control(self, build: Callable[[], Awaitable[ControlRecord]]) -> Accepted:
        """A control record."""

        async def send() -> Published:
            record = await build()
            return await (await self._writes.publisher()).publish_control(record)

        return await self._writes.once(self._asked, (CONTROL, 0), send)

    async def signal(self, signal: WhaleSignal, source: str) -> Accepted:
        """A signal by hand. Signals name no actor, so the trail has it first: no such signal without its record."""
        publisher = await self._writes.publisher()
        partition = await publisher.signal_partition(signal.whale_id)

        async def send() -> Published:
            check_age(signal, time_ns() // 1_000_000)  # The sequencer would reject it, and nobody could wait for it.
            await publisher.publish_audit(told(signal, self.id, self._actor))
            return await publisher.publish_signal(signal, source=source)

        return await self._writes.once(self._asked, (SIGNALS, partition), send)


def told(signal: WhaleSignal, request_id: str, actor: str) -> PublishSignal:
    """What the trail says of a signal by hand."""
    whose = {name: getattr(signal, name) for name in ("signal_id", "whale_id", "symbol", "action", "side", "quantity", "price")}
    return PublishSignal(t="PublishSignal", request_id=request_id, actor=actor, **whose)


def begin(caller: Principal, request: Request, key: str, body: bytes) -> Write:
    """A write of this caller under this key."""
    content = b"\x00".join((request.method.encode(), request.url.path.encode(), request.url.query.encode(), _canonical(body)))
    return Write(request.app.state.writes, request.app.state.settings, Asked(caller, key, content), caller.actor)


def _canonical(body: bytes) -> bytes:
    """The same JSON in another spelling is the same request."""
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return body


async def get_write(request: Request, key: IdempotencyKey) -> Callable[[Principal], Write]:
    """How a route begins its write, once it knows that the caller may."""
    body = await request.body()
    return lambda caller: begin(caller, request, key, body)


Writing = Annotated[Callable[[Principal], Write], Depends(get_write)]
