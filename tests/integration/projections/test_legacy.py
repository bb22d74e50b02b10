"""Moving over: the older system's users, follows and pending signals, read from its own tables, end up on the log once."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from aiokafka import TopicPartition

from engine.contracts.check import RawRecord, read_signal
from engine.log.codec import encode
from engine.log.consume import bounds, open_consumer
from engine.log.topics import ensure_topics
from engine.topology import CONTROL, FOLLOWER_COMMANDS, SIGNALS, Topic
from projections.legacy import bridge_legacy, import_legacy
from projections.rebuild import rebuild
from tests.logbook import admitted, configured, decided, followed, signal
from tests.world import World

OLDER = """
INSERT INTO users (email, copy_trading_enabled, preferred_exchange, max_leverage) VALUES
    ('a@b.c', true, 'bybit', 5), ('d@e.f', false, 'binance', 1), ('g@h.i', true, 'kraken', 1);
INSERT INTO user_whale_follows (user_id, whale_id, auto_copy_enabled, trade_size_usdt, trade_size_percent) VALUES
    (1, 42, true, 100.5, 3), (1, 43, false, NULL, 2.5), (2, 42, true, NULL, NULL), (3, 42, true, 7, NULL);
"""
SIGNALS_THERE = """
INSERT INTO whale_signals (whale_id, symbol, side, amount, price, status, detected_at, tx_hash) VALUES
    (42, 'BTC/USDT', 'buy', 0.5, 60000, 'pending', now() - interval '1 second', '0x1'),
    (42, 'ETH/USDT:USDT', 'sell', 1.25, 3000, 'PENDING', now(), '0x2'),
    (42, 'BTC/USDT', 'buy', 1, 1, 'processed', now(), '0x3'),
    (42, 'BTC/USDT', 'buy', 1, 1, 'pending', now() - interval '2 days', '0x4'),
    (42, 'BTC/USDT', 'buy', NULL, 1, 'pending', now(), '0x5');
"""


async def records(world: World, topic: Topic) -> list[Any]:
    """Everything on a topic."""
    name, found = world.settings.topic(topic), []
    async with open_consumer(world.settings) as consumer:
        for partition in range(topic.partition_count(world.settings.partitions)):
            begin, end = await bounds(consumer, name, partition)
            consumer.assign([TopicPartition(name, partition)])
            consumer.seek(TopicPartition(name, partition), begin)
            seen = 0
            while seen < end - begin:
                for batch in (await consumer.getmany(timeout_ms=500)).values():
                    found += batch
                    seen += len(batch)
    return found


@pytest.fixture
async def older(world: World) -> World:
    """The older system's rows in our own database."""
    await ensure_topics(world.settings, (SIGNALS, FOLLOWER_COMMANDS, CONTROL))
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute(OLDER.encode())
    return world


async def test_users_and_follows_become_commands(older: World) -> None:
    preview = await import_legacy(older.settings, older.dsn)
    assert not preview.sent and await records(older, FOLLOWER_COMMANDS) == [] == await records(older, CONTROL)
    found = await import_legacy(older.settings, older.dsn, apply=True, actor="ada")
    [told] = [json.loads(record.value) for record in await records(older, CONTROL)]
    assert told | {"t": "ImportLegacy", "actor": "ada", "commands": 4} == told
    assert [encode(command) for command in found.commands] == [encode(command) for command in preview.commands], "the same ids again"
    sent = {record.value for record in await records(older, FOLLOWER_COMMANDS)}
    assert sent == {encode(command) for command in found.commands} and len(sent) == 4
    first = found.commands[0]
    assert first.follower_id == "legacy-1" and first.settings.preferred_exchange == "bybit" and first.settings.max_leverage == 5  # type: ignore[union-attr]
    follows = {(each.whale_id, each.terms.sizing, each.terms.auto_copy_enabled) for each in found.commands[2:]}  # type: ignore[union-attr]
    assert follows == {("42", "fixed_quote", True), ("43", "percent_equity", False)}
    assert [line.split(":")[0] for line in found.refused] == ["user 3", "follow 3 of user 2", "follow 4 of user 3"]


async def test_what_is_here_already_is_left_out(older: World) -> None:
    async with older.projector():
        shard = older.book.shard("legacy-1")
        await older.book.round(shard, configured("legacy-1", max_leverage=Decimal(9)), followed("legacy-1", "42"))
        await older.caught_up()
    found = await import_legacy(older.settings, older.dsn)
    assert found.known == 2
    assert [type(command).__name__ for command in found.commands] == ["ConfigureFollower", "FollowWhale"]
    row = older.rows("SELECT id, email, follower_key, max_leverage, origin FROM users WHERE id = 1")
    assert row == [{"id": 1, "email": "a@b.c", "follower_key": "legacy-1", "max_leverage": 9, "origin": "legacy"}], "one row, both systems"
    report = await rebuild(older.settings)
    assert report.swapped and report.differences == []
    assert older.rows("SELECT id, email, follower_key, max_leverage, origin FROM users WHERE id = 1") == row


async def test_pending_rows_become_signals(older: World) -> None:
    with psycopg.connect(older.dsn, autocommit=True) as connection:
        connection.execute(SIGNALS_THERE.encode())
    state = await bridge_legacy(older.settings, older.dsn, once=True)
    assert state.published == 2
    assert {number: why.split(":")[0] for number, why in state.refused.items()} == {4: "too_old", 5: "quantity"}
    sent = {}
    for record in await records(older, SIGNALS):
        read = read_signal(RawRecord(record.value, record.key, record.headers, record.timestamp))
        sent[read.signal_id] = (read.symbol, read.trade_type, read.action, str(read.quantity))
    assert sent == {"legacy-1": ("BTC/USDT", "spot", "open", "0.5"), "legacy-2": ("ETH/USDT:USDT", "futures", "close", "1.25")}


async def test_a_bridged_row_gets_its_status_from_the_projector(older: World) -> None:
    """Older code sees its own row move on; a rebuild folds it again and keeps what only the row knows."""
    with psycopg.connect(older.dsn, autocommit=True) as connection:
        connection.execute(SIGNALS_THERE.encode())
    async with older.projector():
        for shard in range(older.settings.partitions):
            await older.book.round(shard, admitted(shard, signal("legacy-1", whale_id="42"), 3), decided(shard, "legacy-1"))
        await older.caught_up()
        look = "SELECT id, status, tx_hash, signal_key, whale_id, origin, version FROM whale_signals WHERE id = 1"
        row = older.rows(look)
        assert row == [
            {"id": 1, "status": "PROCESSED", "tx_hash": "0x1", "signal_key": "legacy-1", "whale_id": 42, "origin": "legacy", "version": 8}
        ]
        report = await rebuild(older.settings)
    assert report.swapped and report.differences == [] and older.rows(look) == row
    assert (await bridge_legacy(older.settings, older.dsn, once=True)).published == 1, "the bridged row is not pending any more"
