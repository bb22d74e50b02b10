"""Two ways to read a partition give the same; what is not there is said, never passed over."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from engine.errors import DependencyUnreachable, LogCorrupt
from engine.log import consume, fetch
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.fetch import fetch_range
from engine.log.topics import open_admin
from engine.topology import EVENTS
from tests.integration.log.conftest import Log
from tests.strays import lose_connections

Row = tuple[int, bytes | None, bytes | None, int]


async def _filled(log: Log) -> str:
    """A dozen batches, some of them large."""
    writer = log.writer()
    await writer.claim("a")
    for number in range(12):
        await log.write(writer, [f"{number}-{place}" * (2_000 if number == 5 else 1) for place in range(300)])
    return log.settings.topic(EVENTS)


@pytest.mark.parametrize(("start", "stop"), [(0, 3613), (1, 3000), (299, 303), (1500, 1501), (7, 7)])
async def test_both_ways_read_the_same(log: Log, start: int, stop: int) -> None:
    topic = await _filled(log)
    async with open_consumer(log.settings) as consumer:
        assert await bounds(consumer, topic, 0) == (0, 3613)
        slow: list[Row] = []
        async for records in read_range(consumer, topic, 0, start, stop):
            slow += [(record.offset, record.key, record.value, record.timestamp) for record in records]
        quick: list[Row] = []
        async for slice_ in fetch_range(consumer, topic, 0, start, stop):
            quick += [(record.offset, record.key, record.value, record.timestamp) for record in slice_]
    assert quick == slow
    assert [row[0] for row in quick] == list(range(start, stop))


async def test_a_reader_that_is_cancelled_while_it_stops_leaves_nothing_open(log: Log) -> None:
    stops, consumers = asyncio.Event(), []

    async def read() -> None:
        async with open_consumer(log.settings) as consumer:
            consumers.append(consumer)
            stops.set()

    reader = asyncio.create_task(read())
    await stops.wait()
    assert not reader.done() and not consumers[0]._closed
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert consumers[0]._closed and not consumers[0]._client._conns


async def test_an_offset_that_is_not_there_is_an_error(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "STALL_S", 0.3)
    monkeypatch.setattr(consume, "STALL_S", 0.3)
    topic = await _filled(log)
    async with open_consumer(log.settings) as consumer:
        with pytest.raises(LogCorrupt, match="does not hold offset 9999"):
            [_ async for _ in fetch_range(consumer, topic, 0, 9999, 10_001)]
        with pytest.raises(DependencyUnreachable, match="nothing arrived"):
            [_ async for _ in fetch_range(consumer, topic, 0, 3613, 3614)]
        with pytest.raises(DependencyUnreachable, match="nothing arrived"):
            [_ async for _ in read_range(consumer, topic, 0, 3613, 3614)]


async def test_records_that_the_broker_has_deleted_are_missed_also_near_the_end_of_what_is_read(log: Log) -> None:
    topic = await _filled(log)
    async with open_admin(log.settings) as admin:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(3000)})
    async with open_consumer(log.settings) as consumer:
        for stop in (2995, 3005):
            with pytest.raises(LogCorrupt, match="offset 3000 arrived, 2990 was expected"):
                [_ async for _ in read_range(consumer, topic, 0, 2990, stop)]
            consumer.unsubscribe()  # type: ignore[no-untyped-call]


async def test_a_reader_that_stops_early_leaves_nothing_behind(log: Log) -> None:
    topic = await _filled(log)
    async with open_consumer(log.settings) as consumer:
        async for records in fetch_range(consumer, topic, 0, 0, 3613):
            assert records[0].offset == 0
            break
        again = [record.offset async for records in fetch_range(consumer, topic, 0, 3600, 3613) for record in records]
    assert again == list(range(3600, 3613))


async def test_a_consumer_whose_fetch_waits_to_try_again_is_stopped_whole(log: Log) -> None:
    """aiokafka hands on the cancellation of such a fetch, and leaves the rest open: who stops would be cancelled by nobody."""
    topic = await _filled(log)
    async with open_consumer(log.settings) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 3613)
        await consumer.getmany(timeout_ms=50)
        await lose_connections(consumer)
    assert consumer._client._sync_task is None, "the client is closed as well"
