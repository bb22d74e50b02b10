"""What `AIOKafkaConsumer` and its admin client are to the code under test: positions enter, records of the virtual log leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.chaos.sim.groups import Group, Member, follow_notices
from tests.chaos.sim.log import Broker, Record
from tests.chaos.sim.loop import rest

LONG_POLL_S = 1.0
"""Virtual polls wait longer than real ones: nothing but a record is worth a step."""
Batches = dict[TopicPartition, list[Record]]


def wake_when_appended(broker: Broker, tps: Iterable[TopicPartition], wake: Callable[[], None]) -> None:
    """Call `wake` in the caller's process, a fetch after the next append to any of these."""
    loop, context = broker.loop, copy_context()
    done = False

    def appended() -> None:
        nonlocal done
        if not done:
            done = True
            loop.call_later(broker.latency(), wake, context=context)

    for tp in tps:
        broker.at(tp).waiting.append(appended)


async def more(broker: Broker, tps: Iterable[TopicPartition], wait_s: float) -> None:
    """Until something is appended, at most `wait_s`."""
    arrived: asyncio.Future[None] = broker.loop.create_future()

    def wake() -> None:
        if not arrived.done():
            arrived.set_result(None)

    wake_when_appended(broker, tps, wake)
    timer = broker.loop.call_later(wait_s, wake)
    try:
        await arrived
    finally:
        timer.cancel()


class Reader:
    """Positions of some partitions, and what lies behind them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    async def start(self) -> None:
        """Connected."""

    async def _travel(self) -> None:
        await rest(self._broker.latency())

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read on from here."""
        assert tp in self._positions, f"{tp} is not assigned"
        self._positions[tp] = offset

    def pause(self, *tps: TopicPartition) -> None:
        """Give nothing of these."""
        self._paused.update(tps)

    def resume(self, *tps: TopicPartition) -> None:
        """Give records again."""
        self._paused.difference_update(tps)

    async def end_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the logs end."""
        await self._travel()
        return {tp: self._broker.at(tp).end for tp in tps}

    async def beginning_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Nothing is ever deleted."""
        return dict.fromkeys(tps, 0)

    def _take(self, tps: Iterable[TopicPartition], most: int) -> Batches:
        batches: Batches = {}
        for tp in tps:
            position = self._positions[tp]
            if tp not in self._paused and (records := self._broker.at(tp).records[position : position + most]):
                batches[tp] = records
                self._positions[tp] = position + len(records)
        return batches

    async def getmany(self, *tps: TopicPartition, timeout_ms: int = 0, max_records: int = 500) -> Batches:
        """What there is; waits a while for the first record. A fetch brings any number of records."""
        wanted = tps or tuple(self._positions)
        most = self._broker.random.randint(1, max_records) if self._broker.random.random() < 0.3 else max_records
        batches = self._take(wanted, most)
        if not batches:
            await more(self._broker, [tp for tp in wanted if tp not in self._paused], max(timeout_ms / 1000, LONG_POLL_S))
            batches = self._take([tp for tp in wanted if tp in self._positions], most)
        else:
            await self._travel()
        return batches


class PlainConsumer(Reader):
    """A consumer without a group."""

    _fetcher: None = None

    def assign(self, tps: Iterable[TopicPartition]) -> None:
        """Read these."""
        self._positions = dict.fromkeys(tps, 0)

    def assignment(self) -> set[TopicPartition]:
        """What is read."""
        return set(self._positions)

    async def position(self, tp: TopicPartition) -> int:
        """The next offset."""
        return self._positions[tp]

    async def stop(self) -> None:
        """Closed."""


class GroupConsumer(Reader):
    """A member of a group, with callbacks at each rebalance."""

    _fetcher: None = None

    def __init__(self, broker: Broker, **options: Any) -> None:
        super().__init__(broker)
        self._group: Group = broker.groups[options["group_id"]]
        self._instance = options["group_instance_id"]
        self._member: Member | None = None
        self._listener: Any = None

    def subscribe(self, topics: list[str], listener: Any) -> None:
        """Join the group."""
        del topics
        self._listener, self._member = listener, self._group.join(self._instance)
        self._notices = asyncio.create_task(follow_notices(self._member, self._revoked, self._assigned))

    async def _revoked(self) -> None:
        tps, self._positions = set(self._positions), {}
        await self._listener.on_partitions_revoked(tps)

    async def _assigned(self, tps: frozenset[TopicPartition]) -> None:
        self._paused.clear()
        committed = self._group.offsets
        self._positions = {tp: committed[tp].offset if tp in committed else 0 for tp in sorted(tps)}
        await self._listener.on_partitions_assigned(tps)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read on from here; what was revoked meanwhile is not read."""
        if tp in self._positions:
            super().seek(tp, offset)

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Store positions in the group."""
        await self._travel()
        assert self._member is not None
        self._group.commit(self._member, offsets)

    async def stop(self) -> None:
        """Leave."""
        self._notices.cancel()
        assert self._member is not None
        self._group.leave(self._member)


class AdminClient:
    """Asks groups for their positions."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def start(self) -> None:
        """Connected."""

    async def close(self) -> None:
        """Closed."""

    async def list_consumer_group_offsets(self, group: str, partitions: list[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        """Committed positions."""
        await rest(self._broker.latency())
        offsets: dict[TopicPartition, OffsetAndMetadata] = self._broker.groups[group].offsets
        return {tp: offsets[tp] for tp in partitions if tp in offsets}
