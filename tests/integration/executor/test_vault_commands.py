"""`remora vault`: a key file, a check, a rotation; nothing secret on the screen, and nothing done that the trail does not have."""

from __future__ import annotations

import asyncio
import getpass
import json
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from engine.config import Settings, load_settings
from engine.errors import DependencyUnreachable
from engine.executor.accounts import add_credential, ensure_vault, load_credentials, load_master_key
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.topics import ensure_topics
from engine.topology import CONTROL, FOLLOWER_COMMANDS
from ops.cli import app
from tests.conftest import SettingsFactory


def _run(*arguments: str, code: int = 0) -> dict[str, object]:
    result = CliRunner().invoke(app, ["vault", *arguments, "--json"])
    assert result.exit_code == code, result.output
    assert "canary" not in result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


async def _trail(settings: Settings) -> list[dict[str, object]]:
    async with open_consumer(settings) as consumer:
        first, end = await bounds(consumer, settings.topic(CONTROL), 0)
        return [
            json.loads(record.value or b"")
            async for batch in read_range(consumer, settings.topic(CONTROL), 0, first, end)
            for record in batch
        ]


@pytest.fixture
async def log(monkeypatch: pytest.MonkeyPatch, settings: SettingsFactory) -> Settings:
    """A broker for the CLI."""
    made = settings()
    await ensure_topics(made, (CONTROL, FOLLOWER_COMMANDS))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", made.kafka)
    monkeypatch.setenv("REMORA_TOPIC_PREFIX", made.topic_prefix)
    monkeypatch.setenv("REMORA_PARTITIONS", str(made.partitions))
    return made


def test_a_key_is_made_used_and_rotated(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Settings) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("REMORA_MASTER_KEY_FILE", str(old))
    monkeypatch.delenv("REMORA_MASTER_KEY", raising=False)
    load_settings.cache_clear()
    try:
        made = _run("new-key", str(old))
        assert old.stat().st_mode & 0o777 == 0o600
        with psycopg.connect(database) as conn:
            ensure_vault(conn)
        added = ["follower", "add", "f1", "--api-key", "canary-key", "--secret", "canary-secret"]
        assert CliRunner().invoke(app, added).exit_code == 0
        assert _run("check") == {"fingerprint": made["fingerprint"], "open": 1, "sealed": []}
        _run("new-key", str(new))
        assert _run("rotate", "--new-key-file", str(new))["rewrapped"] == 1
        assert _run("check", code=5)["sealed"] == ["f1 binance live"]
        monkeypatch.setenv("REMORA_MASTER_KEY_FILE", str(new))
        load_settings.cache_clear()
        assert _run("check")["open"] == 1
        with psycopg.connect(database) as conn:
            assert load_credentials(conn, load_master_key(Settings()))[0].secret.get_secret_value() == "canary-secret"
        listed = CliRunner().invoke(app, ["vault", "accounts", "--json"])
        assert [row["follower_id"] for row in json.loads(listed.stdout)] == ["f1"]
        with psycopg.connect(database) as conn:
            add_credential(conn, load_master_key(Settings()), "f1", "binance", SecretStr("canary-play"), SecretStr("canary-s"), paper=True)
        assert "say which one" in str(CliRunner().invoke(app, ["vault", "remove", "f1", "--venue", "binance"]).exception)
        assert _run("remove", "f1", "--venue", "binance", "--kind", "paper") == {"removed": True}
        assert _run("remove", "f1", "--venue", "binance") == {"removed": True}
        told = asyncio.run(_trail(log))
        assert [act["t"] for act in told] == ["StoreCredential", "RotateMasterKey"] + 3 * ["RemoveCredential"]
        assert [act.get("account") for act in told[2:]] == [None, "paper", None]
        assert all(act["actor"] == getpass.getuser() for act in told) and "canary" not in str(told)
        assert told[0] | {"follower_id": "f1", "venue": "binance"} == told[0]
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
        load_settings.cache_clear()
        _refused(["follower", "add", "f1", "--api-key", "canary-key", "--secret", "canary-secret"], database, 0)
        with psycopg.connect(database) as conn:
            add_credential(conn, load_master_key(Settings()), "f1", "binance", SecretStr("canary-key"), SecretStr("canary-secret"))
        _refused(["vault", "remove", "f1", "--venue", "binance"], database, 1)
        _refused(["vault", "rotate", "--new-key-file", str(old)], database, 1)
    finally:
        load_settings.cache_clear()


def _refused(arguments: list[str], database: str, accounts: int) -> None:
    """Without a trail nothing is done."""
    with psycopg.connect(database) as conn:
        before = conn.execute("SELECT * FROM vault.credentials").fetchall()
    assert len(before) == accounts
    assert isinstance(CliRunner().invoke(app, arguments).exception, DependencyUnreachable)
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT * FROM vault.credentials").fetchall() == before
