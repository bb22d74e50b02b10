"""What `remora up` keeps for its next start, and what it tells its children."""

from __future__ import annotations

import json
import socket
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console

from engine.config import Settings
from engine.errors import ConfigInvalid
from ops.processes import Child
from ops.up import (
    Options,
    last_words,
    lasting_overrides,
    master_key_file,
    only_one,
    remembered_ports,
    revive_servers,
    simulator_options,
    write_secret,
)


def test_ports_are_the_same_unless_somebody_has_one(tmp_path: Path) -> None:
    first = remembered_ports(tmp_path, ("kafka", "postgres"))
    assert remembered_ports(tmp_path, ("kafka", "postgres")) == first
    with socket.create_server(("127.0.0.1", first["kafka"])):
        second = remembered_ports(tmp_path, ("kafka", "postgres", "engine"))
    assert second["kafka"] != first["kafka"] and second["postgres"] == first["postgres"] and second["engine"]
    assert json.loads((tmp_path / "ports.json").read_text()) == second


def test_secrets_are_made_once_and_for_us_alone(tmp_path: Path) -> None:
    file = master_key_file(tmp_path)
    text = file.read_text()
    assert master_key_file(tmp_path).read_text() == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    write_secret(tmp_path / "key", SecretStr("s"))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["key", "master.key"], "nothing half written is left"


@pytest.mark.parametrize(("live", "leads"), [(False, "exchange_url"), (True, "paper_url")])
def test_real_venues_only_when_asked_for(tmp_path: Path, live: bool, leads: str) -> None:
    overrides = lasting_overrides(Options(tmp_path, live, 0), Settings(), 15_001, own_simulator=True)
    urls = {name: overrides[name] for name in ("exchange_url", "paper_url")}
    assert urls == {"exchange_url": None, "paper_url": None} | {leads: "http://127.0.0.1:15001"}
    assert ("--live-prices" in simulator_options(Options(tmp_path, live, 0))) == live
    assert overrides["master_key_file"] == tmp_path / "master.key" and "kafka" not in overrides


def test_what_the_environment_names_is_used(tmp_path: Path) -> None:
    given: dict[str, Any] = {"kafka": "kafka:9092", "database_url": "postgresql://me:secret@there/db", "master_key": "k"}
    overrides = lasting_overrides(Options(tmp_path, False, 0), Settings(**given, exchange_url="http://sim"), 0, own_simulator=False)
    assert overrides["kafka"] == "kafka:9092" and overrides["database_url"] == "postgresql://me:secret@there/db"
    assert overrides["exchange_url"] is None and overrides["master_key"] is None, "as the environment says"
    assert not list(tmp_path.iterdir())


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with only_one(folder), pytest.raises(ConfigInvalid, match="Another `remora up` runs on the folder"), only_one(folder):
        raise AssertionError("two at once")
    with only_one(folder):
        assert [path.name for path in folder.iterdir()] == ["up.lock"]


def test_last_words(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    child = Child("engine", [sys.executable], {}, log, tmp_path / "ready")
    assert last_words(child) == "(no log)"
    log.write_text("CRITICAL ending with exit code 70: FencedOut: shard 3\nTraceback\n  noise\n")
    assert last_words(child).endswith("FencedOut: shard 3")


def test_a_server_that_ended_is_started_again() -> None:
    restarted = []
    servers = [
        SimpleNamespace(name=name, running=name == "Kafka", restart=lambda name=name: restarted.append(name))
        for name in ("Kafka", "Postgres")
    ]
    revive_servers(SimpleNamespace(servers=servers), Console(quiet=True))  # type: ignore[arg-type]
    assert restarted == ["Postgres"]
