"""Claims, hints, repeats, gaps and rebalances: group offsets may say what they like."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from engine.domain.messages import EquityReported, OrderAttempted, PlaceOrder, TradeCommand
from engine.errors import FencedOut, LogCorrupt
from engine.exchanges.wire import now_ms
from engine.executor.takeover import read_hint
from engine.topology import EXECUTIONS, TRADE_COMMANDS, shard_of
from tests.integration.executor.rig import _ENCODER, Rig
from tests.support import wait_until


async def _orders(rig: Rig, count: int, followers: tuple[str, ...] = ("f1", "f2", "f3")) -> list[PlaceOrder]:
    price = await rig.price()
    return [rig.order(followers[number % len(followers)], "binance", price) for number in range(count)]


async def _each_once(rig: Rig, orders: list[PlaceOrder]) -> None:
    ends = await rig.wait_settled(*orders)
    ledger = await rig.ledger()
    assert {end.status for end in ends} == {"filled"}, ends
    assert [ledger[order.command_id]["executions"] for order in orders] == [1] * len(orders)


async def _accounts(rig: Rig) -> None:
    for name in ("f1", "f2", "f3"):
        await rig.account(name, "binance")


async def test_the_next_life_starts_at_the_hint(rig: Rig) -> None:
    await _accounts(rig)
    first, second = await _orders(rig, 6), await _orders(rig, 6)
    async with rig.running() as executor:
        await rig.send(*first)
        await _each_once(rig, first)
        await executor.shards.commit_once()
    shard = shard_of("f1", rig.settings.partitions)
    hint = await read_hint(rig.settings, shard)
    assert hint is not None and hint[1].watermark == rig.seqs[shard] and hint[1].executions > 6
    async with rig.running() as executor:
        await rig.send(*second)
        await _each_once(rig, first + second)
        assert executor.shards.owned[shard].seqs.watermark == rig.seqs[shard]
    attempts = [record for _, _, record in await rig.executions() if isinstance(record, OrderAttempted)]
    assert len(attempts) == 12


async def test_a_stop_writes_and_commits_what_was_said(rig: Rig) -> None:
    """Records that wait behind a slow write when the stop comes: the producer outlives them, and the next life starts behind them."""
    await _accounts(rig)
    [order] = await _orders(rig, 1, ("f1",))
    shard, said = shard_of("f1", rig.settings.partitions), 3
    async with rig.running() as executor:
        await rig.send(order)
        await _each_once(rig, [order])
        journal, closed, written = executor.shards.owned[shard].journal, asyncio.Event(), asyncio.Event()
        send, drain, stop = executor.producer.send_batch, journal.drain, executor.producer.stop

        async def held(*arguments: Any, **options: Any) -> Any:
            await written.wait()
            return await send(*arguments, **options)

        async def drained() -> None:
            written.set()
            await drain()

        async def stopped() -> None:
            await stop()
            closed.set()
            written.set()

        executor.producer.send_batch, journal.drain, executor.producer.stop = held, drained, stopped
        money, futures = Decimal(1), []
        for _ in range(said):
            report = EquityReported(
                epoch=journal.epoch, follower_id="f1", venue="binance", equity=money, available=money, at=now_ms(), mode="live"
            )
            futures.append(journal.append(report, "f1"))
            await asyncio.sleep(0)
    assert closed.is_set()
    assert all(future.done() and future.exception() is None for future in futures)
    hint = await read_hint(rig.settings, shard)
    assert hint is not None and hint[1].executions > max(future.result() for future in futures)


@pytest.mark.parametrize("metadata", ["", "not a hint"])
async def test_a_group_offset_without_a_hint_is_not_believed(rig: Rig, metadata: str) -> None:
    await _accounts(rig)
    orders = await _orders(rig, 4)
    await rig.send(*orders)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=rig.settings.kafka,
        group_id=rig.settings.group("executor"),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    tps = [TopicPartition(rig.settings.topic(TRADE_COMMANDS), number) for number in range(rig.settings.partitions)]
    consumer.assign(tps)
    ends = await consumer.end_offsets(tps)
    await consumer.commit({tp: OffsetAndMetadata(ends[tp], metadata) for tp in tps})
    await consumer.stop()
    async with rig.running():
        await _each_once(rig, orders)


async def test_commands_sent_again_by_a_new_engine_are_dropped(rig: Rig) -> None:
    await _accounts(rig)
    orders = await _orders(rig, 4)
    async with rig.running():
        await rig.send(*orders)
        rig.seqs.clear()
        await rig.send(*orders)
        more = await _orders(rig, 4)
        await rig.send(*more)
        await _each_once(rig, orders + more)


async def test_a_gap_in_the_commands_is_corruption(rig: Rig) -> None:
    await rig.account("f1", "binance")
    orders = await _orders(rig, 2, ("f1",))
    shard = shard_of("f1", rig.settings.partitions)
    with pytest.raises(LogCorrupt):
        async with rig.running() as executor:
            await rig.send(orders[0])
            await _each_once(rig, orders[:1])
            value = _ENCODER.encode(TradeCommand(seq=5, body=orders[1]))
            await rig.producer.send_and_wait(rig.settings.topic(TRADE_COMMANDS), value, partition=shard)
            await wait_until(lambda: executor.shards.owned[shard].rewound)
            await asyncio.Event().wait()
    assert orders[1].command_id not in await rig.ledger()


async def test_a_foreign_record_ends_the_process_before_the_next_request(rig: Rig) -> None:
    await rig.account("f1", "binance")
    first, second = await _orders(rig, 2, ("f1",))
    with pytest.raises(FencedOut):
        async with rig.running():
            await rig.send(first)
            await _each_once(rig, [first])
            shard = shard_of("f1", rig.settings.partitions)
            await rig.producer.send_and_wait(rig.settings.topic(EXECUTIONS), b'{"t":"ExecutorClaimed","owner":"x","at":1}', partition=shard)
            await rig.send(second)
            await asyncio.Event().wait()
    assert second.command_id not in await rig.ledger()
    async with rig.running():
        (end,) = await rig.wait_settled(second)
    assert end.status in ("filled", "missed")
    assert (await rig.ledger()).get(second.command_id, {"executions": 0})["executions"] == (1 if end.status == "filled" else 0)


async def test_shards_move_between_two_executors_under_load(rig: Rig) -> None:
    names = tuple(f"g{number}" for number in range(12))
    for name in names:
        await rig.account(name, "binance")
    orders = await _orders(rig, 120, names)
    async with rig.running(instance="a") as first:
        await rig.send(*orders[:40])
        async with rig.running(instance="b", owns=1) as second:
            await rig.send(*orders[40:80])
            await wait_until(lambda: len(first.shards.owned) == 1 and len(second.shards.owned) == 1)
            await rig.wait_settled(*orders[:80], deadline_s=60.0)
        await wait_until(lambda: len(first.shards.owned) == rig.settings.partitions)
        await rig.send(*orders[80:])
        ends = await rig.wait_settled(*orders, deadline_s=60.0)
    ledger = await rig.ledger()
    for order, end in zip(orders, ends, strict=True):
        executions = ledger[order.command_id]["executions"] if order.command_id in ledger else 0
        assert executions == (1 if end.status == "filled" else 0), end
    assert sum(end.status == "filled" for end in ends) >= 115
