"""The projector on a real broker and a real Postgres: what counts, what does not, and what cannot be read."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from aiokafka import TopicPartition

from engine.domain.ids import command_id
from engine.domain.messages import ExecutorClaimed, OrderAttempted, OrderUnknown
from engine.log.consume import bounds, open_consumer
from engine.topology import DEAD, EVENTS, EXECUTIONS
from projections import projector
from projections.compare import checksum
from projections.migrate import upgrade
from projections.projector import project
from projections.rebuild import rebuild
from projections.schema import PROJECTED
from tests.logbook import START_MS, admitted, configured, copied, decided, ended, expired, followed, order, signal
from tests.strays import consumers_of, give_up, lose_connections
from tests.support import wait_until
from tests.world import World

FOLLOWERS = [f"follower-{number}" for number in range(6)]


OTHERS_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def dead_letters(world: World, topic: str) -> list[Any]:
    """Every record of a dead letter topic."""
    name = world.settings.topic(DEAD[topic])
    async with open_consumer(world.settings) as consumer:
        _, end = await bounds(consumer, name, 0)
        consumer.assign([TopicPartition(name, 0)])
        consumer.seek(TopicPartition(name, 0), 0)
        found: list[Any] = []
        while len(found) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found


async def copy(world: World, follower: str, signal_id: str, offset: int) -> None:
    """One signal through the follower's shard, with a filled order."""
    shard, placed = world.book.shard(follower), order(follower, signal_id)
    told = copied(follower, placed, signal_id=signal_id)
    await world.book.round(shard, admitted(shard, signal(signal_id), offset), told, decided(shard, signal_id))
    await world.book.round(shard, ended(placed))


async def test_void_rounds_are_not_there(world: World) -> None:
    """A torn round, a zombie's round and a round from the wrong place count for nothing; the next writer's counts."""
    book, shard = world.book, world.book.shard("f")
    await book.round(shard, configured("f"), followed("f"))
    before = book.shards[shard].epoch
    await book.raw(shard, b"f", b'{"t":"SignalExpired.v1","o":"shard-0","v":1,"signal_id":"torn"}')
    await book.claim(shard)
    await book.round(shard, admitted(shard, signal("zombie")), epoch=before)
    await book.round(shard, admitted(shard, signal("elsewhere")), inbox_from=77)
    await book.round(shard, admitted(shard, signal("good")))
    async with world.projector():
        await world.caught_up()
    assert [row["signal_key"] for row in world.rows("SELECT signal_key FROM whale_signals")] == ["good"]
    assert world.count("users") == 1


async def test_poison_goes_to_the_dead_topic_and_the_partition_goes_on(world: World) -> None:
    """Not JSON, an unknown event, a text that Postgres cannot hold, a number that no column holds, a broken execution, an attempt of an
    order that was left out."""
    book, shard = world.book, world.book.shard("f")
    nul, wide = signal("nul", whale_order_id="a\x00b"), order("f", "after", quantity=Decimal(10) ** 25)
    await book.round(shard, configured("f"), followed("f"), poison=[b"{", b'{"t":"Later.v9","o":"f","v":1}'])
    await book.round(shard, admitted(shard, nul, 0), admitted(shard, signal("after"), 1))
    await book.round(shard, copied("f", wide, signal_id="after"))
    await book.raw(shard, b"f", b"garbage", EXECUTIONS.name)
    await book.execution(shard, ExecutorClaimed(owner="e", at=0))
    last, said = order("f", "last"), {"epoch": 1, "seq": 1, "attempt": 1}
    await book.execution(shard, OrderAttempted(sent_at=START_MS, recv_window_ms=5000, order=wide, **said))
    await book.execution(shard, OrderUnknown(command_id=last.command_id, follower_id="f", reason="a\x00b", at=START_MS, **said))
    await book.execution(shard, OrderAttempted(sent_at=START_MS, recv_window_ms=5000, order=last, **said))
    await copy(world, "f", "last", 3)
    async with world.projector():
        await world.caught_up()
        await wait_until(
            lambda: world.count(f"projection_positions WHERE notification_id = 5 AND topic = '{world.settings.topic(EXECUTIONS)}'"), 30
        )
    assert world.rows("SELECT version FROM trades") == [{"version": 3}], "its own attempt counts"
    assert sorted(row["signal_key"] for row in world.rows("SELECT signal_key FROM whale_signals")) == ["after", "last"]
    assert world.rows("SELECT status FROM trades") == [{"status": "filled"}]
    letters = await dead_letters(world, EVENTS.name)
    assert len(letters) == 4 and {letter.value[:1] for letter in letters} == {b"{"}
    reasons = [dict(letter.headers) for letter in letters]
    assert all(header["position"].startswith(f"follower.events.v1[{shard}]@".encode()) and header["reason"] for header in reasons)
    assert [letter.value[:25] for letter in await dead_letters(world, EXECUTIONS.name)] == [b"garbage", b'{"t":"OrderUnknown","epoc']
    assert (await rebuild(world.settings)).differences == [], "left out there as well"


async def test_two_projectors_at_once(world: World) -> None:
    """One owns the partitions, the other waits and takes over; every event counts once."""
    for name in ("f", "g"):
        await world.book.round(world.book.shard(name), configured(name), followed(name))
    async with world.projector() as first:
        await world.caught_up()
        async with world.projector():
            await copy(world, "f", "s-1", 0)
            await copy(world, "g", "s-2", 1)
            await world.caught_up()
            first.cancel()
            await asyncio.wait([first])
            await copy(world, "f", "s-3", 2)
            await copy(world, "g", "s-4", 3)
            await world.caught_up()
    assert [row["version"] for row in world.rows("SELECT version FROM trades")] == [2, 2, 2, 2] or world.count("trades") == 4
    assert world.rows("SELECT sum(trades_executed) AS n, sum(orders_sent) AS m FROM whale_signals") == [{"n": 4, "m": 4}]
    assert {row["version"] for row in world.rows("SELECT version FROM positions")} == {4}


async def test_where_batches_are_cut_changes_nothing(world: World, database: str) -> None:
    """Projected while it is written, and once more from the beginning in one go: every table is equal."""
    other = world.settings.model_copy(update={"database_url": type(world.settings.database_url)(database)})
    upgrade(database)
    names = [f"f-{number}" for number in range(6)]
    async with world.projector():
        for name in names:
            await world.book.round(world.book.shard(name), configured(name), followed(name))
        for number in range(8):
            for turn, name in enumerate(names):
                await copy(world, name, f"s-{number}-{name}", number * len(names) + turn)
            await world.caught_up()
        for shard in range(world.settings.partitions):
            await world.book.round(shard, expired(shard, "s-0-f-0"))
        await world.caught_up()
    async with World(other, world.book).projector():
        await World(other, world.book).caught_up()
    with psycopg.connect(world.dsn) as one, psycopg.connect(database) as two:
        for table in PROJECTED:
            assert checksum(one, "public", table) == checksum(two, "public", table), table


async def test_freshness_is_written(world: World) -> None:
    async with world.projector():
        await copy_of_nothing(world)
        await world.caught_up()
        where = "SELECT end_offset, notification_id, lag_seconds, sources FROM projection_positions WHERE topic = %s AND partition = 0"

        def fresh() -> bool:
            [row] = world.rows(where, world.settings.topic(EVENTS))
            return row["end_offset"] == row["notification_id"] == 4 and row["lag_seconds"] == 0

        await wait_until(fresh)
        [row] = world.rows(where, world.settings.topic(EVENTS))
    assert row["sources"] == {"s/0": 2}


@pytest.mark.parametrize("how", ["inside", "at its end"])
async def test_a_cancellation_that_nobody_asked_for_is_no_stop(world: World, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """aiokafka gives up what the projector waits for; or the session's end meets a fetch that waits to try again."""
    consumers = consumers_of(projector, monkeypatch)
    async with world.projector() as task:
        await world.book.round(0, admitted(0, signal()))
        await world.caught_up()
        if how == "inside":
            await give_up(consumers[-1])
        else:
            await lose_connections(consumers[-1])
            with psycopg.connect(world.dsn, autocommit=True) as connection:
                connection.execute(OTHERS_END)
        await wait_until(lambda: task.done() or len(consumers) == 2)
        await world.book.round(0, admitted(0, signal("s-2"), 1))
        await wait_until(lambda: task.done() or world.count("whale_signals") == 2)
        assert not task.done(), "it has taken up its work again"
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled(), "a stop ends it"


async def copy_of_nothing(world: World) -> None:
    """Two rounds on shard 0."""
    await world.book.round(0, admitted(0, signal()))
    await world.book.round(0)


async def test_a_gap_in_the_log_ends_the_process(world: World) -> None:
    """What our own markers rule out is no record's fault: the projector must not go on."""
    from engine.errors import LogCorrupt

    await world.book.round(0, admitted(0, signal()))
    await world.book.round(0, admitted(0, signal("s-2")), digest="0" * 32)
    with pytest.raises(LogCorrupt, match="does not fit"):
        await asyncio.wait_for(project(world.settings), 30)


async def test_command_ids_are_the_trades_keys(world: World) -> None:
    await world.book.round(world.book.shard("f"), configured("f"), followed("f"))
    await copy(world, "f", "s-1", 0)
    async with world.projector():
        await world.caught_up()
    assert world.rows("SELECT command_key FROM trades") == [{"command_key": command_id("s-1", "f")}]


async def test_what_is_far_behind_is_read_the_quick_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log is there before the projector; what comes meanwhile and afterwards is not left out, nothing counts twice."""
    monkeypatch.setattr(projector, "FAR", 3)
    monkeypatch.setattr(projector, "STRETCH", 4)
    for follower in FOLLOWERS:
        shard = world.book.shard(follower)
        await world.book.round(shard, configured(follower), followed(follower))
        await copy(world, follower, f"s-{follower}", ord(follower[-1]))
    async with world.projector():
        await copy(world, "follower-0", "late", 500)
        await world.caught_up()
        await copy(world, "follower-1", "later", 501)
        await world.caught_up()
    assert world.count("trades WHERE status = 'filled' AND version = 2") == len(FOLLOWERS) + 2
    assert world.rows("SELECT sum(filled) AS held, sum(version) AS events FROM positions") == [
        {"held": Decimal("0.002") * (len(FOLLOWERS) + 2), "events": 2 * (len(FOLLOWERS) + 2)}
    ]
