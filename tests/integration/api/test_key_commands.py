"""`remora key`: the secret is shown once, works at once, and stops when it is revoked; a rebuild and older revisions leave keys alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from engine.config import load_settings
from ops.cli import app
from projections.access import AccessStore
from projections.migrate import downgrade, upgrade
from projections.reads import ReadModels
from tests.tables import Tables


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tables: Tables) -> Iterator[None]:
    """These tables are the CLI's."""
    monkeypatch.setenv("DATABASE_URL", tables.dsn)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def remora(*arguments: str, code: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, ["key", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def proved(secret: str) -> bool:
    """Whether the store knows the secret, and as one that works."""

    async def ask() -> bool:
        async with ReadModels(load_settings()) as models:
            row = await AccessStore(models).key(secret)
            return row is not None and not row["revoked"]

    return asyncio.run(ask())


def test_a_key_from_first_to_last(tables: Tables) -> None:
    made = json.loads(remora("create", "Ada", "--scope", "read", "--scope", "trade", "--follower", "ada", "--days", "3", "--json"))
    secret = made["key"]
    assert proved(secret) and not proved(secret[:-1] + "~") and (made["scopes"], made["follower_id"]) == (["read", "trade"], "ada")
    listed = remora("list", "--json")
    assert [row["key_id"] for row in json.loads(listed)] == [made["key_id"]] and secret.split("_", 2)[2] not in listed
    downgrade(tables.dsn, "0002")
    upgrade(tables.dsn)
    assert proved(secret), "no revision takes keys away"
    assert json.loads(remora("revoke", made["key_id"], "--json"))["revoked_at"] is not None
    assert not proved(secret)


def test_what_is_refused() -> None:
    assert "is not one of" in remora("create", "x", "--scope", "all", code=2)
    assert "a key of one follower" in remora("create", "x", "--scope", "admin", "--follower", "f", code=2)
    assert "there is no key" in remora("revoke", "none", code=2)
