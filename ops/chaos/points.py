"""Labelled points in the roles, put there from outside: methods of the product are wrapped in this process only.

Enters: a `Point` and a `Status`. Leaves: patched classes. Each wrapper does what the method did, and comes by its labels on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

from ops.chaos.child import Point, Status

COPY: Final = b'{"t":"CopyDecided.'


def install(role: str, point: Point, status: Status) -> None:
    """Wrap a role. Only that role's modules are imported."""
    {"sequencer": _sequencer, "engine": _engine, "executor": _executor, "projector": _projector}[role](point, status)


def _sequencer(point: Point, status: Status) -> None:
    from engine.agents.seq_route import TICK
    from engine.agents.sequencer import Sequencer
    from engine.log.inbox import InboxWriter

    append, positions = InboxWriter.append, Sequencer.positions

    async def appended(self: Any, records: Any) -> None:
        if all(value == TICK for _, value in records):
            return await append(self, records)
        point.reach("before_append")
        if point.due("half_append"):
            await self._append_to(0, records)
            point.fire()
        await append(self, records)
        status.applied()
        point.reach("after_append")
        return None

    async def placed(self: Any, tps: Any) -> Any:
        found = await positions(self, tps)
        status.took(f"{tp.topic}/{tp.partition}" for tp in tps)
        return found

    _patch(InboxWriter, append=appended)
    _patch(Sequencer, positions=placed)


def _engine(point: Point, status: Status) -> None:
    from engine.agents import shard
    from engine.log.snapshots import write_snapshot
    from engine.log.writer import ShardWriter

    claim, write_round, send_commands = ShardWriter.claim, ShardWriter.write_round, ShardWriter.send_commands

    async def claimed(self: Any, owner: str) -> int:
        epoch = await claim(self, owner)
        status.took([self.shard])
        return epoch

    async def written(self: Any, events: Any, marker: Any) -> int:
        copies = any(value.startswith(COPY) for _, value in events)
        point.reach("before_copies" if copies else "before_round")
        if events and point.due("torn_round"):
            await self._append(self._events, list(events))
            point.fire()
        offset = await write_round(self, events, marker)
        if events:
            status.applied()
        point.reach("after_copies" if copies else "after_round")
        return offset

    async def sent(self: Any, commands: Any) -> None:
        await send_commands(self, commands)
        if commands:
            point.reach("after_commands")

    def halfway(chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            point.reach("half_snapshot")

    async def snapped(producer: Any, settings: Any, number: int, slot: int, position: Any, chunks: Iterable[bytes]) -> None:
        await write_snapshot(producer, settings, number, slot, position, halfway(chunks))

    _patch(ShardWriter, claim=claimed, write_round=written, send_commands=sent)
    _patch(shard, write_snapshot=snapped)


def _executor(point: Point, status: Status) -> None:
    from engine.domain.messages import OrderAttempted, OrderSettled
    from engine.exchanges import binance, bybit
    from engine.executor.journal import Journal

    claim, append = Journal.claim, Journal.append

    async def claimed(self: Any, owner: str, at: int) -> int:
        epoch = await claim(self, owner, at)
        status.took([self.partition])
        return epoch

    def appended(self: Any, record: Any, key: str) -> asyncio.Future[int]:
        if not isinstance(record, OrderAttempted | OrderSettled):
            return append(self, record, key)
        label = "attempt" if isinstance(record, OrderAttempted) else "outcome"
        point.reach(f"before_{label}")
        return asyncio.ensure_future(after(append(self, record, key), label))

    async def after(future: asyncio.Future[int], label: str) -> int:
        offset = await future
        status.applied()
        point.reach(f"after_{label}")
        return offset

    _patch(Journal, claim=claimed, append=appended)
    for adapter in (binance.Binance, bybit.Bybit):
        _patch(adapter, place=_posted(adapter.place, point))


def _posted(place: Callable[..., Awaitable[Any]], point: Point) -> Callable[..., Awaitable[Any]]:
    async def posted(*arguments: Any) -> Any:
        answer = await place(*arguments)
        point.reach("after_write")
        return answer

    return posted


def _projector(point: Point, status: Status) -> None:
    from projections.batch import Batch
    from projections.store import Store

    apply, write = Store.apply, Batch.write

    def applied(self: Any, *arguments: Any) -> None:
        point.reach("before_write")
        apply(self, *arguments)
        status.applied()
        point.reach("after_commit")

    def written(self: Any, cursor: Any) -> None:
        write(self, cursor)
        point.reach("before_commit")

    _patch(Store, apply=applied)
    _patch(Batch, write=written)


def _patch(owner: Any, **members: Any) -> None:
    for name, member in members.items():
        assert hasattr(owner, name), f"{owner} has no {name} any more"
        setattr(owner, name, member)
