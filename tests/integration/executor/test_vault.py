"""The vault on a real Postgres, and no secret in anything that a run writes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import SecretStr

from engine.errors import ConfigInvalid
from engine.exchanges.port import Credential
from engine.executor.accounts import (
    Directory,
    add_credential,
    ensure_vault,
    load_credentials,
    remove_credential,
    rotate_master_key,
    verify_vault,
)
from engine.executor.accounts.schema import SCHEMA
from engine.executor.accounts.sealing import VaultSealed, owner_data, parse_master_key, seal
from engine.executor.jobs import Account
from engine.log.consume import bounds, open_consumer, read_range
from tests.integration.executor.rig import MASTER_KEY, Rig
from tests.integration.executor.test_restarts import child
from tests.support import wait_until

A, B = parse_master_key(SecretStr("aa" * 32)), parse_master_key(SecretStr("bb" * 32))


@pytest.fixture
def vault(database: str) -> Any:
    """A connection to an empty vault."""
    with psycopg.connect(database) as conn:
        ensure_vault(conn)
        ensure_vault(conn)
        yield conn


def _add(conn: Any, follower: str, venue: str = "binance", key: str = "k", secret: str = "s", paper: bool = False) -> int:
    return add_credential(conn, A, follower, venue, SecretStr(key), SecretStr(secret), paper)  # type: ignore[arg-type]


def _secrets(found: list[Credential]) -> list[tuple[str, str, str, int]]:
    return [(each.follower_id, each.api_key.get_secret_value(), each.secret.get_secret_value(), each.version) for each in found]


def test_round_trip_and_replacement(vault: Any) -> None:
    assert _add(vault, "f1", key="k1") == 1
    assert _add(vault, "f1", key="k2", secret="s2") == 2
    assert _add(vault, "f2", "bybit", key="k3") == 1
    assert _secrets(load_credentials(vault, A)) == [("f1", "k2", "s2", 2), ("f2", "k3", "s", 1)]
    assert _secrets(load_credentials(vault, A, ["f2"])) == [("f2", "k3", "s", 1)]
    stored = vault.execute("SELECT * FROM vault.credentials").fetchall()
    assert b"s2" not in b"".join(value for row in stored for value in row if isinstance(value, bytes))
    assert remove_credential(vault, "f1", "binance") and not remove_credential(vault, "f1", "binance")


def test_one_account_belongs_to_one_follower(vault: Any) -> None:
    _add(vault, "f1", key="same")
    with pytest.raises(ConfigInvalid, match="another follower"):
        _add(vault, "f2", key="same")
    with pytest.raises(ConfigInvalid, match="venue"):
        _add(vault, "f2", "kraken")
    assert len(load_credentials(vault, A)) == 1


def test_rotation_and_what_does_not_open(vault: Any) -> None:
    for number in range(5):
        _add(vault, f"f{number}", key=f"k{number}")
    assert rotate_master_key(vault, A, B) == 5
    assert rotate_master_key(vault, A, B) == 0
    assert [each[1] for each in _secrets(load_credentials(vault, B))] == [f"k{number}" for number in range(5)]
    with pytest.raises(VaultSealed):
        load_credentials(vault, A)
    vault.execute("UPDATE vault.credentials SET follower_id = 'thief' WHERE follower_id = 'f3'")
    assert verify_vault(vault, B) == (4, ["thief binance live"])


def test_a_live_and_a_paper_account_lie_side_by_side(vault: Any) -> None:
    assert _add(vault, "f1", key="real") == _add(vault, "f1", key="play", paper=True) == 1
    assert _add(vault, "f1", key="real 2") == 2
    found = {(each.api_key.get_secret_value(), each.paper) for each in load_credentials(vault, A)}
    assert found == {("real 2", False), ("play", True)}
    with pytest.raises(ConfigInvalid, match="say which"):
        remove_credential(vault, "f1", "binance")
    assert remove_credential(vault, "f1", "binance", "paper") and not remove_credential(vault, "f1", "binance", "paper", A)
    assert [each.paper for each in load_credentials(vault, A)] == [False]


@pytest.mark.parametrize("kind", ["paper", ""])
def test_a_row_cannot_be_turned_into_the_other_kind(vault: Any, kind: str) -> None:
    _add(vault, "f1")
    vault.execute("UPDATE vault.credentials SET kind = %s", (kind,))
    assert verify_vault(vault, A) == (0, [f"f1 binance {kind}".strip()])


OLDER = SCHEMA.partition("-- A follower has one live")[0]


def _older(conn: Any, follower: str, key: str, paper: bool) -> None:
    """A row as it was written before kinds."""
    stored = seal(A, owner_data(follower, "binance", 3, ""), SecretStr(key), SecretStr("s"), paper)
    conn.execute(
        "INSERT INTO vault.credentials (follower_id, venue, key_version, master_fingerprint, wrapped_key, sealed, account_mark)"
        " VALUES (%s, 'binance', 3, %s, %s, %s, %s)",
        (follower, A.fingerprint, stored.wrapped_key, stored.sealed, key),
    )


async def test_rows_of_an_older_vault_keep_working(database: str) -> None:
    """They are found as what their seal says, rotated, replaced by the same kind, and left alone by the other."""
    with psycopg.connect(database) as conn:
        conn.execute(OLDER)
        _older(conn, "f1", "real", paper=False)
        _older(conn, "f2", "play", paper=True)
        conn.commit()
        directory = Directory(database, A, "beside", lambda account: None)
        with pytest.raises(ConfigInvalid, match="remora init"):
            await directory.open()
        ensure_vault(conn)
        ensure_vault(conn)
        await directory.open()
        assert set(directory.accounts()) == {Account("f1", "binance", "live"), Account("f2", "binance", "paper")}
        assert _add(conn, "f1", key="play 1", paper=True) == 1
        assert _add(conn, "f2", key="play 2", paper=True) == 4
        await directory.load()
        live, paper = Account("f1", "binance", "live"), Account("f1", "binance", "paper")
        assert set(directory.accounts()) == {live, paper, Account("f2", "binance", "paper")}
        assert rotate_master_key(conn, A, B) == 3 and verify_vault(conn, B) == (3, [])
        assert not remove_credential(conn, "f2", "binance", "live", B)
        assert remove_credential(conn, "f1", "binance", "live", B)
        assert [(each.follower_id, each.paper) for each in load_credentials(conn, B)] == [("f1", True), ("f2", True)]
        await directory.close()


async def test_where_one_simulator_stands_for_all_an_account_takes_every_order(database: str) -> None:
    with psycopg.connect(database) as conn:
        ensure_vault(conn)
        _add(conn, "f1", key="play", paper=True)
        one = Account("f1", "binance")
        for papers, known in (("same", {one}), ("nowhere", set()), ("beside", {one._replace(mode="paper")})):
            directory = Directory(database, A, papers, lambda account: None)  # type: ignore[arg-type]
            await directory.load()
            assert set(directory.accounts()) == known
            if papers == "same":
                _add(conn, "f1", key="real")
                await directory.load()
                assert [(await directory.credential(one)).paper] == [False]  # type: ignore[union-attr]
                remove_credential(conn, "f1", "binance", "live")
                await directory.load()
                assert [(await directory.credential(one)).paper] == [True]  # type: ignore[union-attr]
            await directory.close()


async def test_the_directory_follows_the_vault(database: str) -> None:
    appeared: list[Account] = []
    first, second = Account("f1", "binance", "live"), Account("f2", "binance", "live")
    with psycopg.connect(database) as conn:
        ensure_vault(conn)
        directory = Directory(database, A, "beside", appeared.append)
        await directory.load()
        assert await directory.credential(first) is None
        _add(conn, "f1")
        found = await directory.credential(first)
        assert found is not None and found.version == 1
        watch = asyncio.create_task(directory.watch())
        _add(conn, "f1", key="new")
        _add(conn, "f2", key="k2")
        await wait_until(lambda: appeared.count(first) == 2 and second in appeared)
        remove_credential(conn, "f2", "binance")

        async def gone() -> bool:
            return await directory.credential(second) is None

        await wait_until(gone)
        conn.execute("UPDATE vault.credentials SET sealed = 'x', revision = nextval('vault.revisions')")
        conn.commit()
        await directory.load()
        kept = await directory.credential(first)
        assert kept is not None and kept.api_key.get_secret_value() == "new", "a row that does not open changes nothing"
        watch.cancel()
        await directory.close()


def test_credentials_do_not_print() -> None:
    keys = Credential("f", "binance", SecretStr("canary-key"), SecretStr("canary-secret"))
    assert "canary" not in f"{keys!r} {keys}"


async def _topic_bytes(rig: Rig) -> bytes:
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.settings.kafka)
    await admin.start()
    topics = [name for name in await admin.list_topics() if name.startswith(rig.settings.topic_prefix)]
    described = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(topics)}
    await admin.close()
    found = b""
    async with open_consumer(rig.settings) as consumer:
        for tp in [TopicPartition(topic, number) for topic, count in described.items() for number in range(count)]:
            first, end = await bounds(consumer, tp.topic, tp.partition)
            async for records in read_range(consumer, tp.topic, tp.partition, first, end):
                found += b"".join((record.key or b"") + (record.value or b"") for record in records)
    return found


async def test_no_secret_in_logs_topics_or_errors(rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run with refused keys, lost replies and a wrong vault row; every byte it wrote is searched."""
    caplog.set_level(logging.DEBUG)
    await rig.account("good", "binance")
    await rig.account("cut", "bybit")
    await rig.account("refused", "binanceusdm")
    price = await rig.price()
    orders = [rig.order("good", "binance", price), rig.order("cut", "bybit", price), rig.order("refused", "binanceusdm", price)]
    rules = [
        {"kind": "accept_and_truncate", "client_id": orders[1].command_id},
        {"kind": "reject", "client_id": orders[2].command_id, "code": -2015},
    ]
    await rig.admin("POST", "/_faults", {"rules": rules})
    async with child(rig, tmp_path, "0"):
        await rig.send(*orders)
        await rig.wait_settled(*orders)
    async with rig.running():
        last = rig.order("good", "binance", price)
        await rig.send(last)
        await rig.wait_settled(last)
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()) + await _topic_bytes(rig)
    ours = "\n".join(f"{record.name} {record.getMessage()}" for record in caplog.records)
    for text in ("canary-secret", "key-good", "key-cut", "key-refused", MASTER_KEY):
        assert text.encode() not in written
        assert text not in ours
