"""`remora vault`: a key file, a check, a rotation; nothing secret on the screen."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from engine.config import Settings, load_settings
from engine.executor.accounts import add_credential, ensure_vault, load_credentials, load_master_key
from ops.cli import app


def _run(*arguments: str, code: int = 0) -> dict[str, object]:
    result = CliRunner().invoke(app, ["vault", *arguments, "--json"])
    assert result.exit_code == code, result.output
    assert "canary" not in result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_a_key_is_made_used_and_rotated(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
            add_credential(conn, load_master_key(Settings()), "f1", "binance", SecretStr("canary-key"), SecretStr("canary-secret"))
        assert _run("check") == {"fingerprint": made["fingerprint"], "open": 1, "sealed": []}
        _run("new-key", str(new))
        assert _run("rotate", "--new-key-file", str(new))["rewrapped"] == 1
        assert _run("check", code=5)["sealed"] == ["f1 binance"]
        monkeypatch.setenv("REMORA_MASTER_KEY_FILE", str(new))
        load_settings.cache_clear()
        assert _run("check")["open"] == 1
        with psycopg.connect(database) as conn:
            assert load_credentials(conn, load_master_key(Settings()))[0].secret.get_secret_value() == "canary-secret"
        listed = CliRunner().invoke(app, ["vault", "accounts", "--json"])
        assert [row["follower_id"] for row in json.loads(listed.stdout)] == ["f1"]
        assert _run("remove", "f1", "--venue", "binance") == {"removed": True}
    finally:
        load_settings.cache_clear()
