"""A sequencer that goes on where the log says: nothing is lost and what comes twice is what the shards drop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import asynccontextmanager

import msgspec
from aiokafka import AIOKafkaProducer
from faust.types import TP

from engine.agents.seq_resume import next_offset, resume_positions, shard_marks
from engine.config import Settings
from engine.contracts.envelope import write_event
from engine.contracts.signal import SIGNAL_TYPE
from engine.contracts.types import from_ms
from engine.domain.messages import ConfigureFollower, ExecutorClaimed, InboxRecord, SetSwitch
from engine.domain.values import FollowerSettings
from engine.errors import LogCorrupt
from engine.log.consume import open_consumer
from engine.log.publish import Publisher
from engine.log.snapshots import write_snapshot
from engine.topology import EXECUTIONS, INBOX, REJECTED, SIGNALS
from tests.integration.sequencer.conftest import Child, answers, arrived, fake_shards, fresh, inbox, positions, read_all
from tests.support import wait_until


def first_seen(records: Iterable[InboxRecord], marks: dict[str, int] | None = None) -> dict[str, list[int]]:
    """What a shard works in: per source partition the offsets that are not behind what it has seen."""
    seen, order = dict(marks or {}), dict[str, list[int]]()
    for source, partition, offset in positions(list(records)):
        name = f"{source}/{partition}"
        if offset >= seen.get(name, 0):
            seen[name] = offset + 1
            order.setdefault(name, []).append(offset)
    return order


def test_marks_of_all_shards_give_the_next_offset() -> None:
    marks = [{"s/0": 7, "f/0": 3, "x/0": 9, "c/0": 2}, {"s/0": 5, "s/1": 4, "f/1": 1, "c/0": 2}]
    assert [next_offset(marks, "s", partition) for partition in (0, 1)] == [5, 0]
    assert [next_offset(marks, "f", partition) for partition in (0, 1)] == [3, 1]
    assert [next_offset(marks, "x", partition) for partition in (0, 1)] == [9, 0]
    assert next_offset(marks, "c", 0) == 2


async def test_each_source_goes_on_at_its_mark(made: Settings, child: Child, publisher: Publisher) -> None:
    for number in range(6):
        await publisher.publish_signal(fresh(number, whale_id="w"))
        await publisher.publish_control(SetSwitch(request_id=str(number), state="running"))
        await (await publisher.send_raw(EXECUTIONS, msgspec.json.encode(ExecutorClaimed(owner="e", at=1)), 1))
    [home] = {record.partition for partition in range(8) for record in await read_all(made, SIGNALS, partition)}
    async with fake_shards(made) as shards:
        for number, shard in enumerate(shards):
            await shard.round({f"s/{home}": 3 + number, "c/0": 6, "x/1": 5 if number == 1 else 0})
    child.start()
    for number in range(made.partitions):
        records = await arrived(made, number, 4 if number == 1 else 3)
        assert first_seen(records) == {f"s/{home}": [3, 4, 5]} | ({"x/1": [5]} if number == 1 else {})
        assert first_seen(records, {f"s/{home}": 3 + number}).get(f"s/{home}", []) == list(range(3 + number, 6))


async def test_a_kill_in_mid_stream_loses_nothing(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    total = 4000
    flood = asyncio.create_task(_flood(publisher, total))
    async with fake_shards(made) as shards:
        for shard, enough in ((0, 200), (1, 1500)):
            await wait_until(lambda shard=shard, enough=enough: _at_least(made, shard, enough))  # type: ignore[misc]
            child.kill()
            # The engine has worked in a part of what is there, every shard another one.
            for partition, fake in enumerate(shards):
                seen = first_seen(await inbox(made, partition))
                await fake.round({name: len(offsets) * (partition + 1) // 5 for name, offsets in seen.items()})
            child.start()
    await flood
    for partition in range(made.partitions):
        await wait_until(lambda partition=partition: _all_there(made, partition, total))  # type: ignore[misc]
    marks = await _marks(made)
    assert all(sum(shard.values()) > 0 for shard in marks)


async def _flood(publisher: Publisher, total: int) -> None:
    for number in range(total):
        await (await publisher.send_signal(fresh(number, whale_id=f"w{number % 5}")))


async def _at_least(settings: Settings, shard: int, count: int) -> bool:
    return len(await inbox(settings, shard)) >= count


async def _all_there(settings: Settings, shard: int, total: int) -> bool:
    seen = first_seen(await inbox(settings, shard))
    assert all(offsets == list(range(len(offsets))) for offsets in seen.values()), "a shard never sees a gap"
    return sum(map(len, seen.values())) == total


async def _marks(settings: Settings) -> list[dict[str, int]]:
    async with open_consumer(settings) as consumer:
        return [dict(await shard_marks(consumer, settings, shard)) for shard in range(settings.partitions)]


async def test_answers_are_given_once(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    await (await publisher.send_raw(SIGNALS, b"nonsense", 0, b"k"))
    await answers(made, REJECTED, 1)
    child.kill()
    await (await publisher.send_raw(SIGNALS, b"more nonsense", 0, b"k"))
    child.start()
    assert [answer["offset"] for answer in await answers(made, REJECTED, 2)] == [0, 1]
    await publisher.publish_control(SetSwitch(request_id="1", state="halt"))
    await arrived(made, 0, 1)
    assert len(await read_all(made, REJECTED)) == 2


async def test_a_zombie_beside_its_successor_makes_no_gap(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    flood = asyncio.create_task(_flood(publisher, 1500))
    await wait_until(lambda: _at_least(made, 0, 200))
    child.pause()
    successor = child.another("1")
    successor.start()
    await flood
    await wait_until(lambda: _all_there(made, 0, 1500))
    child.resume()
    await publisher.publish_signal(fresh(9999, whale_id="w0"))
    for partition in range(made.partitions):
        await wait_until(lambda partition=partition: _all_there(made, partition, 1501))  # type: ignore[misc]
    assert successor.exit_codes == []


async def test_offsets_without_records_are_no_loss(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    async with _transactional(made) as producer:
        for number in range(3):
            async with producer.transaction():
                headers, value = write_event(SIGNAL_TYPE, "/t", str(number), from_ms(0), fresh(number, whale_id="w").to_json())
                await producer.send(made.topic(SIGNALS), value, key=b"w", partition=0, headers=headers)
    records = await arrived(made, 0, 3)
    assert [offset for _, _, offset in positions(records)] == [0, 2, 4]
    assert child.exit_codes == []


@asynccontextmanager
async def _transactional(settings: Settings):  # type: ignore[no-untyped-def]
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, transactional_id=settings.topic_prefix)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def test_a_source_that_has_lost_records_is_refused(made: Settings, child: Child) -> None:
    async with fake_shards(made) as shards:
        for shard in shards:
            await shard.round({"s/0": 5})
    child.launch()
    await wait_until(lambda: child.exit_codes)
    assert child.exit_codes[0] == LogCorrupt.exit_code
    assert "records are lost" in child.log
    child.stop()


async def test_sequencing_goes_on_while_commands_wait_for_other_shards(made: Settings, child: Child, publisher: Publisher) -> None:
    """Each sharded source has a mark of its own: one shard that lags does not bring back the others' commands."""
    published = [
        await publisher.publish_follower_command(
            ConfigureFollower(request_id=str(number), follower_id=f"f{number}", settings=FollowerSettings())
        )
        for number in range(12)
    ]
    ends = {partition: sum(one.partition == partition for one in published) for partition in range(made.partitions)}
    async with fake_shards(made) as shards:
        for partition, shard in enumerate(shards):
            await shard.round({f"f/{partition}": ends[partition] if partition else 0})
    child.start()
    await publisher.publish_control(SetSwitch(request_id="1", state="halt"))
    for partition in range(made.partitions):
        records = await arrived(made, partition, 1 + (0 if partition else ends[0]))
        assert {source for source, _, _ in positions(records)} == ({"c"} if partition else {"c", "f"} if ends[0] else {"c"})


async def test_marks_are_read_from_the_newest_snapshot(made: Settings, producer: AIOKafkaProducer) -> None:
    async with fake_shards(made) as shards, open_consumer(made) as consumer:
        await shards[0].round({"s/0": 1})
        await write_snapshot(producer, made, 0, 0, shards[0].position, [b"state"])
        assert await shard_marks(consumer, made, 0) == {"s/0": 1}
        await shards[0].round({"s/0": 2})
        assert await shard_marks(consumer, made, 0) == {"s/0": 2}
        # A snapshot of another log than this one is of no use.
        await write_snapshot(producer, made, 1, 0, shards[0].position, [b"state"])
        assert await shard_marks(consumer, made, 1) == {}
        tps = [TP(made.topic(SIGNALS), 0)]
        assert await _refusal(made, tps) == ""
    assert await read_all(made, INBOX) == []


async def _refusal(settings: Settings, tps: list[TP]) -> str:
    try:
        return "" if await resume_positions(settings, tps) == {tps[0]: 0} else "elsewhere"
    except LogCorrupt as error:
        return str(error)
