"""Newest marks beside the lots: what is held has a profit that is not realised; a broker that does not answer holds nothing up."""

from __future__ import annotations

import os
import signal
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import dict_row

from engine.domain.messages import MarketReport, MarksReported, RulesReported
from engine.log.codec import encode
from engine.log.consume import end_of, open_consumer, read_range
from engine.log.topics import ensure_topics
from engine.topology import DEAD, MARKET_REPORTS
from ops.embedded.kafka import EmbeddedKafka
from projections import projector
from projections.ids import user_id
from projections.queries import listing, query
from tests.conftest import SettingsFactory
from tests.logbook import START_MS, VENUE, VENUE_SYMBOL, Logbook, admitted, configured, copied, ended, followed, order
from tests.logbook import signal as whale_signal
from tests.support import wait_until
from tests.tables import copy_of
from tests.world import World


async def report(world: World, *told: MarketReport | bytes) -> None:
    """Records on `market.reports.v1`."""
    for each in told:
        await world.book.raw(0, VENUE.encode(), each if isinstance(each, bytes) else encode(each), MARKET_REPORTS.name)


def marks(at: int, **prices: str) -> MarksReported:
    """Prices of the test's symbol and others."""
    named = {VENUE_SYMBOL if name == "btc" else name: Decimal(price) for name, price in prices.items()}
    return MarksReported(venue=VENUE, marks=named, at=at)


async def copy(world: World, follower: str, **fields: Any) -> None:
    """A lot of 0.002 at 60000."""
    placed, shard = order(follower, f"s-{follower}", **fields), world.book.shard(follower)
    await world.book.round(shard, configured(follower), followed(follower), admitted(shard, whale_signal(f"s-{follower}"), ord(follower)))
    await world.book.round(shard, copied(follower, placed, signal_id=f"s-{follower}"))
    await world.book.round(shard, ended(placed, average_price=Decimal(60000), direction="long" if placed.side == "buy" else "short"))


def stand(world: World) -> dict[str, Decimal]:
    """Newest mark by symbol."""
    return {row["symbol"]: row["price"] for row in world.rows("SELECT symbol, price FROM market_marks")}


def rows_of(world: World, statement: LiteralString, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a statement with named parameters."""
    with psycopg.connect(world.dsn, row_factory=dict_row) as connection:
        return connection.execute(statement, parameters).fetchall()


async def test_newest_marks_value_what_is_held(world: World) -> None:
    """Newer prices replace older ones whatever their order; long and short gain the other way round; no mark, no profit."""
    await copy(world, "f")
    await copy(world, "g", side="sell")
    await copy(world, "h", symbol="ETH/USDT:USDT")
    await report(world, marks(START_MS + 2, btc="61000"), marks(START_MS + 1, btc="1"), RulesReported(venue=VENUE, rules=(), at=START_MS))
    async with world.projector():
        await world.caught_up()
        await wait_until(lambda: stand(world) == {VENUE_SYMBOL: 61000}, what="the newest mark is in the table, not the last")
        await report(world, b"no report", marks(START_MS + 9, btc="60500", SOL="150"))
        await wait_until(lambda: stand(world) == {VENUE_SYMBOL: 60500, "SOL": 150})
    values = {}
    for follower in ("f", "g", "h"):
        [row] = rows_of(world, query("open_positions"), {"user_id": user_id(follower)})
        values[follower] = (row["unrealised_pnl"], row["mark_price"], row["mark_age_ms"] is None)
    assert values == {"f": (1, 60500, False), "g": (-1, 60500, False), "h": (None, None, True)}
    statement, parameters = listing("list_positions", {}, None, 10)
    rows = rows_of(world, statement, parameters)
    assert sorted(str(row["unrealised_pnl"]) for row in rows) == ["-1.000", "1.000", "None"]
    assert await buried(world) == [b"no report"]


async def buried(world: World) -> list[bytes | None]:
    """Values of the dead letters."""
    topic = world.settings.topic(DEAD[MARKET_REPORTS.name])
    async with open_consumer(world.settings) as consumer:
        end = await end_of(consumer, topic, 0)
        return [record.value async for records in read_range(consumer, topic, 0, 0, end) for record in records]


async def test_reading_goes_on_behind_the_marks_in_the_table(world: World) -> None:
    """What a session finds in the table it does not read again."""
    await report(world, marks(START_MS + 1, btc="1"), marks(START_MS + 2, btc="2"))
    async with world.projector():
        await wait_until(lambda: stand(world) == {VENUE_SYMBOL: 2})
    await report(world, marks(START_MS + 3, btc="3"))
    async with world.projector():
        await wait_until(lambda: stand(world) == {VENUE_SYMBOL: 3})
    assert world.rows("SELECT position FROM market_marks") == [{"position": 2}]


async def test_a_broker_that_does_not_tell_its_ends(
    settings: SettingsFactory, postgres: str, empty_tables: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stops answering, not existing: the session ends after a moment instead of 40 s, and the next one goes on."""
    monkeypatch.setattr(projector, "ENDS_WAIT_S", 0.5)
    with EmbeddedKafka() as broker, copy_of(postgres, empty_tables) as url:
        found = settings(kafka=broker.bootstrap, database_url=url)
        await ensure_topics(found)
        async with Logbook(found) as book:
            world = World(found, book)
            async with world.projector():
                await copy(world, "f")
                await world.caught_up()
                os.kill(broker.pid, signal.SIGSTOP)
                try:
                    await wait_until(lambda: "did not tell the ends" in caplog.text, 20, "the question is given up")
                finally:
                    os.kill(broker.pid, signal.SIGCONT)
                await copy(world, "g")
                await world.caught_up()
