"""`remora key`: the secret is shown once, works at once, and stops when it is revoked; a rebuild and older revisions leave keys alone."""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from engine.config import Settings, load_settings
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.topics import ensure_topics
from engine.topology import CONTROL
from ops.cli import app, main
from projections.access import AccessStore, NewKey, hash_of
from projections.migrate import downgrade, upgrade
from projections.reads import ReadModels
from tests.conftest import SettingsFactory
from tests.tables import Tables


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tables: Tables) -> Iterator[None]:
    """These tables are the CLI's; there is no broker."""
    monkeypatch.setenv("DATABASE_URL", tables.dsn)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.fixture
async def log(monkeypatch: pytest.MonkeyPatch, settings: SettingsFactory) -> Settings:
    """A broker with a control topic, for the CLI as well."""
    made = settings()
    await ensure_topics(made, (CONTROL,))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", made.kafka)
    monkeypatch.setenv("REMORA_TOPIC_PREFIX", made.topic_prefix)
    load_settings.cache_clear()
    return made


def trail(log: Settings) -> list[bytes]:
    """Everything on the control topic."""

    async def read() -> list[bytes]:
        async with open_consumer(log) as consumer:
            first, end = await bounds(consumer, log.topic(CONTROL), 0)
            return [record.value or b"" async for batch in read_range(consumer, log.topic(CONTROL), 0, first, end) for record in batch]

    return asyncio.run(read())


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


def test_a_key_from_first_to_last(tables: Tables, log: Settings) -> None:
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
    told = trail(log)
    made_it, revoked = (json.loads(value) for value in told)
    who = {"actor": getpass.getuser(), "key_id": made["key_id"]}
    assert made_it | who | {"t": "CreateKey", "name": "Ada", "scopes": ["read", "trade"], "follower_id": "ada"} == made_it
    assert revoked | who | {"t": "RevokeKey"} == revoked
    assert made_it["expires_at"][:19] == made["expires_at"][:19].replace(" ", "T")
    for hidden in (secret.split("_", 2)[2].encode(), hash_of(secret).hex().encode(), base64.b64encode(hash_of(secret))):
        assert hidden not in b"".join(told)


def test_without_kafka_no_key_is_made_and_none_is_revoked(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trail comes first: what cannot be said is not done, and that is said clearly."""
    monkeypatch.setattr("sys.argv", ["remora", "key", "create", "Ada"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (4, "")
    assert "Kafka at 127.0.0.1:1 did not answer" in said.err and "Nothing was done: the audit trail comes first." in said.err
    assert json.loads(remora("list", "--json")) == []

    async def make() -> NewKey:
        async with ReadModels(load_settings()) as models:
            return await AccessStore(models).add_key("there", ["read"])

    secret = asyncio.run(make()).secret.get_secret_value()
    monkeypatch.setattr("sys.argv", ["remora", "key", "revoke", secret.split("_")[1]])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 4 and proved(secret)
    assert json.loads(remora("revoke", secret.split("_")[1], "--unrecorded", "--json"))["revoked_at"] is not None
    assert not proved(secret), "a leaked key can always be stopped"


def test_what_is_refused() -> None:
    assert "is not one of" in remora("create", "x", "--scope", "all", code=2)
    assert "a key of one follower" in remora("create", "x", "--scope", "admin", "--follower", "f", code=2)
    assert "there is no key" in remora("revoke", "none", code=2)
