"""Rebuilding while the tables are read and written: equal, swapped without an error, rolled back, refused, gone on with after a kill."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import Any

import psycopg
import pytest

from engine.config import Settings
from engine.domain.messages import ExecutorClaimed, OrderAttempted
from engine.errors import ConfigInvalid
from projections import generations
from projections.filling import fill
from projections.migrate import differences as schema_differences
from projections.migrate import downgrade, upgrade
from projections.rebuild import TablesDiffer, live_targets, plan, rebuild, rollback
from tests.logbook import START_MS, admitted, configured, copied, decided, ended, followed, order, signal
from tests.support import wait_until
from tests.world import World

processes = multiprocessing.get_context("spawn")


def run_rebuild(settings: Settings) -> None:
    """A rebuild in a process of its own."""
    asyncio.run(rebuild(settings))


FOLLOWERS = [f"follower-{number}" for number in range(12)]


async def tell(world: World, begin: int, end: int) -> None:
    """Signals that every follower copies; each order is attempted and ends one signal later."""
    book = world.book
    if begin == 0:
        for name in FOLLOWERS:
            await book.round(book.shard(name), configured(name), followed(name))
        for shard in range(world.settings.partitions):
            await book.execution(shard, ExecutorClaimed(owner="e", at=0))
    for number in range(begin, end):
        told, at = signal(f"s-{number}", detected_at=START_MS + number), START_MS + number * 86_400_000
        for shard in range(world.settings.partitions):
            orders = [order(name, told.signal_id) for name in FOLLOWERS if book.shard(name) == shard]
            events: list[Any] = [copied(each.follower_id, each, signal_id=told.signal_id, at=at) for each in orders]
            await book.round(shard, admitted(shard, told, number, at=at), *events, decided(shard, told.signal_id, at=at))
            for each in orders:
                attempt = OrderAttempted(epoch=0, seq=1, attempt=1, sent_at=START_MS + 20, recv_window_ms=5000, order=each)
                await book.execution(shard, attempt)
            if orders:
                await book.round(shard, *(ended(each, at=at + 50) for each in orders))


async def attempts_in(world: World) -> None:
    """Wait until the executions are in the tables too."""
    topic = world.settings.topic_prefix + "trade.executions.v1"

    def done() -> bool:
        rows = world.rows("SELECT notification_id = end_offset AS done FROM projection_positions WHERE topic = %s", topic)
        return all(row["done"] for row in rows)

    await wait_until(done, 30, "executions are projected")


async def test_rebuild_equals_live_and_swaps(world: World) -> None:
    """The whole way, with older rows that survive, readers that notice nothing and a projector that goes on."""
    with psycopg.connect(world.dsn, autocommit=True) as older:
        older.execute("INSERT INTO users (email) VALUES ('a@b.c'), ('d@e.f')")
        older.execute("INSERT INTO trades (user_id, exchange, symbol, side, quantity) VALUES (1, 'binance', 'BTC/USDT', 'buy', 1)")
    async with world.projector():
        await tell(world, 0, 6)
        await world.caught_up()
        errors: list[Exception] = []
        counts: list[int] = []
        stop = asyncio.Event()
        reading = asyncio.create_task(asyncio.to_thread(read_on, world.dsn, errors, counts, stop))
        report = await rebuild(world.settings)
        await tell(world, 6, 9)
        await world.caught_up()
        stop.set()
        await reading
    assert report.swapped and report.compared and report.differences == []
    assert report.legacy_rows == 3
    assert errors == [] and counts and min(counts) >= 72, "12 followers x 6 signals, at every moment"
    assert world.count("trades WHERE origin = 'log'") == 108
    assert world.count("copy_decisions") == 108
    assert [row["email"] for row in world.rows("SELECT email FROM users WHERE origin = 'legacy' ORDER BY id")] == ["a@b.c", "d@e.f"]
    with psycopg.connect(world.dsn, autocommit=True) as older:
        row = older.execute("INSERT INTO users (email) VALUES ('g@h.i') RETURNING id").fetchone()
        assert row == (3,), "the older sequence goes on"
    assert schema_differences(world.dsn) == [], "names of keys and indexes are what they were"
    with psycopg.connect(world.dsn) as dashboard:
        dashboard.execute("SET ROLE dashboard")
        assert dashboard.execute("SELECT count(*) > 0 FROM trades").fetchone() == (True,), "rights come along"
    assert world.rows("SELECT live, previous FROM projection_generation") == [{"live": 2, "previous": 1}]


def read_on(dsn: str, errors: list[Exception], counts: list[int], stop: asyncio.Event) -> None:
    """A dashboard: named columns, prepared, on one connection that stays."""
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=1) as connection:
        while not stop.is_set():
            try:
                row = connection.execute("SELECT count(*) FROM trades WHERE origin = 'log'").fetchone()
                connection.execute("SELECT id, status, filled FROM trades ORDER BY created_at DESC LIMIT 20").fetchall()
                assert row is not None
                counts.append(row[0])
            except psycopg.Error as error:
                errors.append(error)
                return


async def test_rollback_catches_up(world: World) -> None:
    async with world.projector():
        await tell(world, 0, 2)
        await world.caught_up()
        await rebuild(world.settings)
        with psycopg.connect(world.dsn, autocommit=True) as older:
            older.execute("INSERT INTO users (email) VALUES ('new@b.c')")
        await tell(world, 2, 4)
        await world.caught_up()
        report = await rollback(world.settings)
        await tell(world, 4, 5)
        await world.caught_up()
    assert (report.generation, report.swapped) == (1, True)
    assert world.rows("SELECT live, previous FROM projection_generation") == [{"live": 1, "previous": 2}]
    assert world.count("trades") == 60
    assert world.count("users WHERE email = 'new@b.c'") == 1
    again = await rebuild(world.settings)
    assert (again.generation, again.differences) == (3, [])
    with psycopg.connect(world.dsn) as connection:
        assert not generations.exists(connection, "generation_2"), "the generation before the one before is dropped"


async def test_nothing_to_roll_back_to(world: World) -> None:
    with pytest.raises(ConfigInvalid, match="no generation to go back to"):
        await rollback(world.settings)


async def test_differences_are_found_and_not_swapped(world: World) -> None:
    """One digit in one row, one row too few: both are seen; an operator may accept them."""
    async with world.projector():
        await tell(world, 0, 3)
        await world.caught_up()
        await attempts_in(world)
        with psycopg.connect(world.dsn, autocommit=True) as hand:
            hand.execute("UPDATE trades SET fee_quote = fee_quote + 0.000000000000000001 WHERE id = (SELECT min(id) FROM trades)")
            hand.execute("DELETE FROM copy_decisions WHERE ctid = (SELECT min(ctid) FROM copy_decisions)")
        with pytest.raises(TablesDiffer, match=r"(?s)trades.*copy_decisions"):
            await rebuild(world.settings)
        assert world.rows("SELECT live FROM projection_generation") == [{"live": 1}]
        report = await rebuild(world.settings, accept=True)
        assert report.swapped and {each.table for each in report.differences} == {"trades", "copy_decisions"}
        assert world.count("copy_decisions") == 36
        assert (await rebuild(world.settings)).differences == []


async def test_preview_touches_nothing(world: World) -> None:
    async with world.projector():
        await tell(world, 0, 1)
        await world.caught_up()
        report = await plan(world.settings)
    assert report.generation == 2 and report.records > 30 and report.estimate_s > 0
    with psycopg.connect(world.dsn) as connection:
        assert not generations.exists(connection, "generation_2")


async def test_a_killed_rebuild_goes_on(world: World) -> None:
    """Filled halfway by somebody who is gone: the next one takes over where that stands."""
    async with world.projector():
        await tell(world, 0, 4)
        await world.caught_up()
        with psycopg.connect(world.dsn, autocommit=True) as connection:
            targets = live_targets(connection, world.settings)
            generations.create(connection, "generation_2")
        half = {key: end // 2 for key, end in targets.items()}
        await fill(world.settings, "generation_2", half)
        filled = world.count("generation_2.trades")
        left = (await plan(world.settings)).records
        report = await rebuild(world.settings)
    assert 0 < filled < 48 and 0 < left < sum(targets.values())
    assert report.swapped and report.differences == []


async def test_kill_9_of_a_rebuild(world: World) -> None:
    """Killed as soon as its generation is there, with its workers; the next one finishes it."""
    async with world.projector():
        await tell(world, 0, 4)
        await world.caught_up()
        victim = processes.Process(target=run_rebuild, args=(world.settings,))
        victim.start()

        def begun() -> bool:
            with psycopg.connect(world.dsn) as connection:
                return generations.exists(connection, "generation_2")

        await wait_until(begun)
        victim.kill()
        victim.join()
        report = await rebuild(world.settings)
    assert report.swapped and report.differences == [] and report.generation == 2


async def test_until_leaves_a_generation_to_look_at(world: World) -> None:
    async with world.projector():
        await tell(world, 0, 2)
        await world.caught_up()
        await attempts_in(world)
        newest = await last_append_ms(world)
        await tell(world, 2, 4)
        await world.caught_up()
        report = await rebuild(world.settings, until_ms=newest)
    assert not report.swapped and not report.compared
    assert world.count("generation_2.trades") == 24
    assert world.count("trades") == 48


async def last_append_ms(world: World) -> int:
    """Append time of the newest record of the events."""
    from aiokafka import TopicPartition

    from engine.log.consume import bounds, open_consumer, read_range
    from engine.topology import EVENTS

    newest = 0
    topic = world.settings.topic(EVENTS)
    async with open_consumer(world.settings) as consumer:
        for shard in range(world.settings.partitions):
            _, end = await bounds(consumer, TopicPartition(topic, shard).topic, shard)
            async for records in read_range(consumer, topic, shard, 0, end):
                newest = max(newest, *(record.timestamp for record in records))
    return newest


async def test_refuses_what_depends_on_the_tables(world: World) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE notes (user_id bigint REFERENCES users (id))")
        connection.execute("CREATE VIEW big AS SELECT id FROM trades WHERE quantity > 1")
    with pytest.raises(ConfigInvalid, match=r"(?s)foreign key.*users.*view big on trades"):
        await plan(world.settings)


async def test_refuses_a_log_without_its_beginning(world: World) -> None:
    from aiokafka import TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

    await tell(world, 0, 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=world.settings.kafka)
    await admin.start()
    partition = TopicPartition(world.settings.topic_prefix + "follower.events.v1", 0)
    await admin.delete_records({partition: RecordsToDelete(before_offset=2)})
    await admin.close()
    with pytest.raises(ConfigInvalid, match="begins at 2"):
        await plan(world.settings)


async def test_down_to_base_and_up_again_leaves_no_generation_in_the_way(world: World) -> None:
    """Archives are copies: what a downgrade left of them would stand where the next swap puts its own."""
    async with world.projector():
        await tell(world, 0, 1)
        await world.caught_up()
        await rebuild(world.settings)
    downgrade(world.dsn, "base")
    with psycopg.connect(world.dsn) as connection:
        assert not generations.exists(connection, "generation_1")
    upgrade(world.dsn)
    async with world.projector():
        await world.caught_up()
        report = await rebuild(world.settings)
    assert report.swapped and report.differences == []


async def test_months_that_were_dropped_while_a_generation_is_filled(world: World) -> None:
    """Killed before the month ended, gone on with after it: what the live tables let go of is let go of here."""
    async with world.projector():
        await tell(world, 0, 2)
        await world.caught_up()
        await attempts_in(world)
        await rebuild(world.settings, until_ms=await last_append_ms(world))
        with psycopg.connect(world.dsn, autocommit=True) as connection:
            connection.execute("SELECT remora_drop_months(1)")
        assert world.count("copy_decisions") == 0
        report = await rebuild(world.settings)
    assert report.swapped and report.differences == [] and world.count("copy_decisions") == 0
    assert (await rollback(world.settings)).swapped and world.count("copy_decisions") == 0
