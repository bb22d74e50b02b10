"""Apps of ours in this process: where partitions are read from, and what a rebalance does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.types import TP
from faust.types.tuples import Message

from engine.agents.app import LogApp, build_app, consume
from engine.agents.engine import Engine
from engine.config import Settings
from engine.domain.messages import InboxRecord, Tick
from engine.log.consume import open_consumer
from engine.log.writer import ShardWriter
from engine.topology import INBOX
from tests.integration.engine.conftest import SESSION_S, SHARDS, Bench, copies
from tests.integration.engine.test_processes import check
from tests.support import wait_until

TICKS = [InboxRecord(body=Tick())] * 10


@asynccontextmanager
async def running(app: LogApp) -> AsyncIterator[None]:
    """As `run_worker` does, without signals."""
    app.in_worker = True
    app.finalize()
    await app.start()
    try:
        yield
    finally:
        await app.stop()


class Reader:
    """An app that notes what it gets, and says where to read from as `starts` says."""

    def __init__(self, settings: Settings, starts: dict[int, int], slow: dict[int, float] | None = None) -> None:
        self.starts, self.slow = starts, slow or {}
        self.asked: list[int] = []
        self.got: dict[int, list[int]] = {0: [], 1: []}
        self.app = build_app(settings, "reader", self.positions, one_by_one=True)
        consume(self.app, settings, (INBOX,), self.take)

    async def positions(self, tps: frozenset[TP]) -> Mapping[TP, int]:
        [tp] = tps
        self.asked.append(tp.partition)
        await asyncio.sleep(self.slow.get(tp.partition, 0))
        return {tp: self.starts[tp.partition] + len(self.got[tp.partition])}

    async def take(self, tp: TP, message: Message) -> None:
        self.got[tp.partition].append(message.offset)


async def test_partitions_are_read_from_where_the_log_says_and_not_from_group_offsets(shards: Bench) -> None:
    for number in range(SHARDS):
        await shards.put(TICKS, number)
    tps = [TopicPartition(shards.settings.topic(INBOX), number) for number in range(SHARDS)]
    async with open_consumer(shards.settings, group_id=shards.settings.group("reader")) as consumer:
        consumer.assign(tps)
        await consumer.commit({tps[0]: 10, tps[1]: 2})
    reader = Reader(shards.settings, {0: 4, 1: 0})
    async with running(reader.app):
        await wait_until(lambda: reader.got == {0: list(range(4, 10)), 1: list(range(10))}, what="both partitions are read")
        await shards.put(TICKS[:2], 0)
        await wait_until(lambda: reader.got[0][-2:] == [10, 11], what="new records arrive")


async def test_a_slow_answer_holds_up_no_other_partition_and_not_the_membership(shards: Bench) -> None:
    for number in range(SHARDS):
        await shards.put(TICKS, number)
    reader = Reader(shards.settings, {0: 0, 1: 5}, {1: 2 * SESSION_S})
    async with running(reader.app):
        await wait_until(lambda: len(reader.got[0]) == 10, what="the quick partition is read")
        assert reader.got[1] == []
        await wait_until(lambda: reader.got[1] == list(range(5, 10)), what="the slow one follows")
    assert sorted(reader.asked) == [0, 1], "the slow answer cost no rebalance"


async def test_an_engine_takes_a_second_member_in_and_keeps_what_nobody_claimed(shards: Bench) -> None:
    story = copies(3, 12)
    half = len(story) // 2
    first = Engine(shards.settings, shards.producer)
    second = Engine(shards.settings.model_copy(update={"instance": "1"}), shards.producer)
    async with running(first.app):
        for number in range(SHARDS):
            await shards.put(story[:half], number)
        await wait_until(lambda: _decided(first) == {0: half, 1: half}, what="one engine owns both shards")
        claims = {number: first.shards[number].writer.epoch for number in range(SHARDS)}
        async with running(second.app):
            await wait_until(lambda: len(first.shards) == len(second.shards) == 1, what="each has one")
            for number in range(SHARDS):
                await shards.put(story[half:], number)
            whole = {0: len(story), 1: len(story)}
            await wait_until(lambda: _decided(first) | _decided(second) == whole, what="both decide")
            [kept] = first.shards
            assert first.shards[kept].writer.epoch == claims[kept], "the state was kept: no second claim"
            await second.close()
    await first.close()
    await check(shards)


def _decided(engine: Engine) -> dict[int, int]:
    return {number: shard.position.inbox_position for number, shard in engine.shards.items() if hasattr(shard, "position")}


async def test_a_full_queue_stops_the_fetching_and_drops_nothing(shards: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.agents.shard.QUEUE_HIGH", 20)
    monkeypatch.setattr("engine.agents.shard.QUEUE_LOW", 5)
    story = copies(3, 60)
    for number in range(SHARDS):
        await shards.put(story, number)
    engine = Engine(shards.settings, shards.producer)
    told: list[bool] = []
    tell = engine._full
    monkeypatch.setattr(engine, "_full", lambda tp, full: (told.append(full), tell(tp, full)))
    write_round = ShardWriter.write_round

    async def held(self: ShardWriter, events: Any, marker: Any) -> int:
        await wait_until(lambda: True in told, what="a queue is full")
        return await write_round(self, events, marker)

    # However quick the machine is: no round is written before a queue has filled up.
    monkeypatch.setattr(ShardWriter, "write_round", held)
    async with running(engine.app):
        await wait_until(lambda: _decided(engine) == {0: len(story), 1: len(story)}, what="everything is decided")
    await engine.close()
    assert told.count(True) == told.count(False) > 0
    await check(shards)
