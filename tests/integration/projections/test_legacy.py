"""Moving over: the older system's users, follows and pending signals, read from its own tables, end up on the log once."""

from __future__ import annotations

import asyncio
import getpass
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from aiokafka import TopicPartition
from psycopg.rows import dict_row
from typer.testing import CliRunner

from engine.config import load_settings
from engine.contracts.check import RawRecord, read_signal
from engine.log.codec import encode
from engine.log.consume import bounds, open_consumer
from engine.log.topics import ensure_topics
from engine.topology import CONTROL, FOLLOWER_COMMANDS, SIGNALS, Topic
from ops.cli import app
from projections.legacy import bridge_legacy, import_legacy
from projections.queries import listing, query
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


def asked(world: World, statement: Any, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a statement with named values."""
    with psycopg.connect(world.dsn, row_factory=dict_row) as connection:
        return connection.execute(statement, values).fetchall()


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
    assert [each["follower_key"] for each in asked(older, *listing("list_followers", {}, None, 10))] == ["legacy-1"], (
        "a follower like the others"
    )
    report = await rebuild(older.settings)
    assert report.swapped and report.differences == []
    assert older.rows("SELECT id, email, follower_key, max_leverage, origin FROM users WHERE id = 1") == row


ADDED = """
CREATE TABLE public.plans (id integer PRIMARY KEY);
INSERT INTO plans VALUES (7);
CREATE FUNCTION public.short(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
ALTER TABLE users ADD COLUMN password_hash text, ADD COLUMN plan_id integer REFERENCES plans (id);
CREATE INDEX ix_users_short ON users (public.short(email));
UPDATE users SET password_hash = 'canary', plan_id = 7;
ALTER TABLE user_whale_follows ADD COLUMN note text;
UPDATE user_whale_follows SET note = 'mine';
UPDATE whale_signals SET error_message = 'the first try timed out' WHERE id = 1;
"""


async def test_what_older_code_added_to_its_tables_survives_a_rebuild(older: World) -> None:
    """Columns of imported rows, keys to other tables, indexes on functions, and the rights of its own roles."""
    role = f"older_{older.settings.topic_prefix.strip('.-').replace('-', '_').replace('.', '_')}"
    with psycopg.connect(older.dsn, autocommit=True) as connection:
        connection.execute((SIGNALS_THERE + ADDED).encode())
        connection.execute(f"CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE (status) ON whale_signals TO {role}".encode())
        connection.execute(f"ALTER TABLE positions OWNER TO {role}".encode())
    try:
        async with older.projector():
            shard = older.book.shard("legacy-1")
            await older.book.round(shard, configured("legacy-1"), followed("legacy-1", "42"))
            await older.book.round(shard, admitted(shard, signal("legacy-1", whale_id="42"), 3), decided(shard, "legacy-1"))
            await older.caught_up()
        report = await rebuild(older.settings)
        assert report.swapped and report.differences == []
        assert older.rows("SELECT password_hash, plan_id FROM users WHERE id = 1") == [{"password_hash": "canary", "plan_id": 7}]
        assert older.rows("SELECT note FROM user_whale_follows WHERE whale_key = '42'") == [{"note": "mine"}]
        assert older.rows("SELECT error_message FROM whale_signals WHERE id = 1") == [{"error_message": None}], "of another try"
        with psycopg.connect(older.dsn, autocommit=True) as connection:
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                connection.execute("UPDATE users SET plan_id = 8")
            connection.execute(f"SET ROLE {role}".encode())
            connection.execute("SELECT id FROM whale_signals")
            connection.execute("UPDATE whale_signals SET status = status")
            connection.execute("ALTER TABLE positions ALTER COLUMN status SET DEFAULT 'open'")
    finally:
        with psycopg.connect(older.dsn, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


async def test_what_does_not_fit_the_contract_is_told_and_holds_up_nobody(older: World) -> None:
    with psycopg.connect(older.dsn, autocommit=True) as connection:
        connection.execute("UPDATE user_whale_follows SET trade_size_usdt = -5 WHERE id = 1")
        connection.execute("UPDATE user_whale_follows SET trade_size_percent = 250 WHERE id = 2")
    found = await import_legacy(older.settings, older.dsn, apply=True)
    assert len(await records(older, FOLLOWER_COMMANDS)) == len(found.commands) == 2
    assert [line.split(":")[0] for line in found.refused[1:3]] == ["follow 1 of user 1", "follow 2 of user 1"]
    assert "trade_size_percent" in found.refused[2]


@pytest.fixture
def login(older: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The environment of a login at this world."""
    settings = older.settings
    named = {"KAFKA_BOOTSTRAP_SERVERS": settings.kafka, "REMORA_TOPIC_PREFIX": settings.topic_prefix, "DATABASE_URL": older.dsn}
    for name, value in (named | {"REMORA_PARTITIONS": str(settings.partitions)}).items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    yield older
    load_settings.cache_clear()


async def run(*arguments: str) -> dict[str, Any]:
    """What a command prints."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def test_the_trail_has_who_imported(login: World) -> None:
    """`remora import legacy`: a preview tells nobody; sent, the trail has this login and how many commands."""
    assert (await run("import", "legacy"))["sent"] is False
    assert await records(login, CONTROL) == []
    found = await run("import", "legacy", "--apply")
    [told] = [json.loads(record.value) for record in await records(login, CONTROL)]
    assert told.pop("request_id") and told == {"t": "ImportLegacy", "actor": getpass.getuser(), "commands": 4}
    assert (found["sent"], found["commands"]) == (True, 4) and len(await records(login, FOLLOWER_COMMANDS)) == 4


async def test_the_trail_has_who_bridged(login: World) -> None:
    """`remora bridge legacy`: the trail has this login before a signal is there."""
    with psycopg.connect(login.dsn, autocommit=True) as connection:
        connection.execute(SIGNALS_THERE.encode())
    found = await run("bridge", "legacy", "--once")
    [told] = [json.loads(record.value) for record in await records(login, CONTROL)]
    assert told.pop("request_id") and told == {"t": "RunDetector", "actor": getpass.getuser(), "detector": "legacy"}
    assert (found["published"], sorted(found["refused"])) == (2, ["4", "5"]) and len(await records(login, SIGNALS)) == 2


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
    assert asked(older, query("board_funnel"), {"since": "-infinity"})[0]["valid"] == 1, "the dashboard counts it"
