"""kill -9 of projectors and of Postgres while events arrive: every event counts once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from decimal import Decimal

import psycopg
import pytest

from engine.config import Settings
from engine.domain.events import EquityRecorded
from engine.log.topics import ensure_topics
from engine.topology import DEAD, EVENTS, EXECUTIONS, MARKET_REPORTS
from ops.embedded.postgres import EmbeddedPostgres
from projections.migrate import upgrade
from tests.conftest import SettingsFactory
from tests.logbook import START_MS, Logbook, admitted, configured, copied, decided, ended, followed, order
from tests.logbook import signal as whale_signal
from tests.support import wait_until
from tests.world import World

READ = (EVENTS, EXECUTIONS, MARKET_REPORTS)
PROJECTOR_KILLS = 30
POSTGRES_KILLS = 10
FOLLOWERS = [f"follower-{number}" for number in range(8)]
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["projections.projector"])


def run_projector(settings: Settings) -> None:
    """A projector process; it restarts its session by itself when Postgres goes away."""
    from projections.projector import project

    asyncio.run(project(settings))


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A Postgres that may be killed."""
    with EmbeddedPostgres(fsync=False) as found:
        yield found


@pytest.fixture
async def own_world(settings: SettingsFactory, server: EmbeddedPostgres) -> AsyncIterator[World]:
    """A world on that Postgres."""
    upgrade(server.dsn)
    found = settings(database_url=server.dsn)
    await ensure_topics(found, (*READ, *(DEAD[topic.name] for topic in READ)))
    async with Logbook(found) as book:
        yield World(found, book)


async def keep_writing(world: World, done: asyncio.Event) -> int:
    """Signals one after another until told to stop, every follower copying; gives their number."""
    book, number = world.book, 0
    for name in FOLLOWERS:
        await book.round(book.shard(name), configured(name), followed(name))
    while not done.is_set():
        told = whale_signal(f"s-{number}")
        for shard in range(world.settings.partitions):
            orders = [order(name, told.signal_id) for name in FOLLOWERS if book.shard(name) == shard]
            copies = [copied(each.follower_id, each, signal_id=told.signal_id) for each in orders]
            await book.round(shard, admitted(shard, told, number), *copies, decided(shard, told.signal_id, followers=len(orders)))
            equities = [
                EquityRecorded(
                    originator_id=each.follower_id,
                    originator_version=1,
                    at=START_MS,
                    venue="binance",
                    equity=Decimal(number),
                    available=Decimal(0),
                    reported_at=START_MS,
                )
                for each in orders
            ]
            await book.round(shard, *(ended(each) for each in orders), *equities)
        number += 1
    return number


async def progress(world: World, beyond: int) -> int:
    """Wait until more signals are in the tables; Postgres may be down meanwhile."""

    def moved() -> int:
        with suppress(psycopg.Error):
            count = world.count("whale_signals")
            return count if count > beyond else 0
        return 0

    return int(str(await wait_until(moved, 60, f"more than {beyond} signals are projected")))


def assert_counted_once(world: World, signals: int) -> None:
    """Sums over all tables are exactly what was written."""
    copies = signals * len(FOLLOWERS)
    assert world.count("trades") == world.count("copy_decisions") == copies
    counts = "count(*) AS n, sum(followers) AS f, sum(orders_sent) AS s, sum(trades_executed) AS t, min(status) AS a, max(status) AS b"
    [row] = world.rows(f"SELECT {counts} FROM whale_signals")  # type: ignore[arg-type]
    assert tuple(row.values()) == (signals, copies, copies, copies, "PROCESSED", "PROCESSED")
    assert {row["version"] for row in world.rows("SELECT DISTINCT version FROM trades")} == {2}
    [row] = world.rows("SELECT sum(filled) AS filled, sum(version) AS version, sum(pending) AS pending FROM positions")
    assert (row["filled"], row["version"], row["pending"]) == (Decimal("0.002") * copies, 2 * copies, 0)
    assert {row["version"] for row in world.rows("SELECT DISTINCT version FROM account_equity")} == {signals}


@pytest.mark.parametrize(("victim", "kills"), [("projector", PROJECTOR_KILLS), ("postgres", POSTGRES_KILLS)])
async def test_every_event_counts_once(own_world: World, server: EmbeddedPostgres, victim: str, kills: int) -> None:
    world, chance, done = own_world, random.Random(7), asyncio.Event()
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE users, whale_signals, copy_decisions, account_equity, projection_positions CASCADE")
    writing = asyncio.create_task(keep_writing(world, done))
    projector = processes.Process(target=run_projector, args=(world.settings,), daemon=True)
    projector.start()
    seen = 0
    for _ in range(kills):
        seen = await progress(world, seen + chance.randrange(8))
        if victim == "projector":
            assert projector.pid is not None
            os.kill(projector.pid, signal.SIGKILL)
            projector.join()
            projector = processes.Process(target=run_projector, args=(world.settings,), daemon=True)
            projector.start()
        else:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)
    done.set()
    signals = await writing
    await world.caught_up(120)
    projector.kill()
    projector.join()
    assert_counted_once(world, signals)
