"""How an executor stops while something is under way: what is said is written, and nothing new begins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.executor import group
from engine.executor.service import Executor
from engine.topology import shard_of
from tests.integration.executor.rig import Rig
from tests.integration.executor.test_gates import Brake
from tests.support import wait_until


async def test_a_report_under_way_ends_with_the_executor(rig: Rig) -> None:
    """A venue that answers after the journals are drained: what it said is nobody's any more, and no reason to die of."""
    await rig.account("f1", "binance")
    asked, answered = asyncio.Event(), asyncio.Event()

    def slow(executor: Executor) -> None:
        adapter: Any = executor.exchanges["binance"]
        account, stop = adapter.account, executor.producer.stop

        async def late(*arguments: Any) -> Any:
            view = await account(*arguments)
            asked.set()
            await answered.wait()
            return view

        async def stopped() -> None:
            await stop()
            answered.set()
            await wait_until(lambda: not reports._tasks)

        reports = executor.reports
        adapter.account, executor.producer.stop = late, stopped

    async with rig.running(slow) as executor:
        await wait_until(lambda: asked.is_set() and len(executor.funding._books) == rig.settings.partitions)
        assert executor.reports._tasks
    assert not executor.reports._tasks


async def test_a_stop_takes_over_no_more_shards(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard whose take-over is under way when the stop comes: its orders are the next owner's."""
    followers = {shard_of(name, rig.settings.partitions): name for name in (f"f{number}" for number in range(20))}
    for name in followers.values():
        await rig.account(name, "binance")
    price, brake, stopping = await rig.price(), Brake("binance"), asyncio.Event()
    first, second = rig.order(followers[0], "binance", price), rig.order(followers[1], "binance", price)
    take_over = group.take_over

    async def held(settings: Any, producer: Any, partition: int, *rest: Any) -> Any:
        if partition == 1:
            await stopping.wait()
        return await take_over(settings, producer, partition, *rest)

    monkeypatch.setattr(group, "take_over", held)
    await rig.send(first, second)

    def prepare(executor: Executor) -> None:
        brake.install(executor)
        stop = executor.scheduler.stop

        async def begun(wait_s: float) -> None:
            stopping.set()
            await stop(wait_s)

        executor.scheduler.stop = begun  # type: ignore[method-assign]

    async with rig.running(prepare, owns=1):
        await wait_until(lambda: brake.asked)
    assert brake.asked == [first.command_id]
