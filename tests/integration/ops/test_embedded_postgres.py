"""The embedded Postgres: it starts, keeps its data over kill and restart, and says in one sentence why it cannot start."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import psycopg
import pytest

from engine.errors import ConfigInvalid, DependencyUnreachable
from ops.embedded.postgres import EmbeddedPostgres
from ops.embedded.server import sweep
from tests.integration.ops.test_embedded_kafka import file_size_limit


def ask(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@pytest.mark.parametrize("fsync", [True, False])
def test_rows_survive_kill_and_clean_restart_on_the_same_port(fsync: bool) -> None:
    with EmbeddedPostgres(fsync=fsync) as server:
        dsn = server.dsn
        assert ask(dsn, "SHOW fsync") == ("on" if fsync else "off")
        assert ask(dsn, "SHOW max_connections") == "200"
        ask(dsn, "CREATE TABLE kept AS SELECT generate_series(1, 1000)")
        busy = psycopg.connect(dsn)
        busy.execute("SELECT 1")
        server.kill()
        assert not server.running
        server.restart()
        busy.close()
        assert ask(dsn, "SELECT count(*) FROM kept") == 1000
        server.restart()
        assert server.dsn == dsn
        assert ask(dsn, "SELECT count(*) FROM kept") == 1000


def test_a_temporary_folder_is_removed_and_a_named_one_kept(tmp_path: Path) -> None:
    with EmbeddedPostgres(fsync=False) as temporary:
        folder = temporary.folder
    assert not folder.exists()
    with EmbeddedPostgres(tmp_path, fsync=False) as first:
        ask(first.dsn, "CREATE TABLE kept ()")
    with EmbeddedPostgres(tmp_path, fsync=False) as second:
        assert ask(second.dsn, "SELECT count(*) FROM kept") == 0


def test_listens_on_loopback_and_asks_for_a_password(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, fsync=False) as server:
        assert ask(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
        assert ask(server.dsn, "SHOW server_version_num") >= "180000"  # type: ignore[operator]
        password = (tmp_path / "password").read_text()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            ask(server.dsn.replace(password, "guess"), "SELECT 1")


def test_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigInvalid, match=rf"Postgres cannot listen on 127\.0\.0\.1:{port}: another program has that port\.$"):
            EmbeddedPostgres(port=port).start()


def test_two_servers_on_one_folder(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path, fsync=False) as first,
        pytest.raises(ConfigInvalid, match="Another Postgres already uses the data folder"),
    ):
        assert first.running
        EmbeddedPostgres(tmp_path, fsync=False).start()


def test_full_disk(tmp_path: Path) -> None:
    with file_size_limit(1_000_000), pytest.raises(DependencyUnreachable, match=r"the disk under .* is full\.$"):
        EmbeddedPostgres(tmp_path).start()


def test_full_disk_leaves_a_folder_that_can_be_started_later(tmp_path: Path) -> None:
    with file_size_limit(1_000_000), pytest.raises(DependencyUnreachable):
        EmbeddedPostgres(tmp_path).start()
    with EmbeddedPostgres(tmp_path, fsync=False) as server:
        assert ask(server.dsn, "SELECT 1") == 1


def test_other_version(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, fsync=False):
        pass
    (tmp_path / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(ConfigInvalid, match="was made by another version of Postgres"):
        EmbeddedPostgres(tmp_path, fsync=False).start()


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DependencyUnreachable, match=r"data folder .* cannot be used"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_disk_without_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr("ops.embedded.server.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DependencyUnreachable, match="Postgres cannot start: the disk under"):
        EmbeddedPostgres(tmp_path).start()


def test_folders_of_killed_runs_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old, fresh = tmp_path / "remora-postgres-old", tmp_path / "remora-postgres-fresh"
    for folder in (old, fresh):
        folder.mkdir()
        (folder / "in-use").touch()
    os.utime(old / "in-use", (0, 0))
    with EmbeddedPostgres(fsync=False) as server:
        os.utime(server.folder / "in-use", (0, 0))
        sweep("Postgres")
        assert server.folder.exists()
    assert [old.exists(), fresh.exists()] == [False, True]
