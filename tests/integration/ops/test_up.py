"""`remora up` as a process on given servers: everything serves, and Ctrl-C ends all of it."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
from rich.console import Console

from engine.config import Settings
from engine.log.topics import ensure_topics
from engine.topology import CONTROL
from ops.children import free_port, tail
from ops.processes import Supervisor
from ops.up import LastingStack, Options
from projections.migrate import upgrade
from tests.conftest import SettingsFactory
from tests.integration.ops.test_processes import is_gone
from tests.support import PROJECT, wait_until_sync


def children_of(pid: int) -> dict[str, int]:
    """Roles to process ids."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rsplit(")", 1)[1].split()
            command = stat.with_name("cmdline").read_text().split("\0")
        except OSError:
            continue
        if int(words[1]) == pid and "ops.cli" in command:
            found[command[command.index("ops.cli") + 1]] = int(stat.parent.name)
    return found


def test_everything_runs_until_it_is_told_to_stop(kafka: str, database: str, topic_prefix: str, tmp_path: Path) -> None:
    api, log, folder = free_port(), tmp_path / "up.log", tmp_path / "data"
    given = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "DATABASE_URL": database, "REMORA_TOPIC_PREFIX": topic_prefix, "REMORA_PARTITIONS": "1"}
    command = [sys.executable, "-m", "ops.cli", "up", "--data", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | given | {"REMORA_API_PORT": str(api)}, cwd=PROJECT, stdout=output, stderr=output
        )
    try:
        wait_until_sync(lambda: "running; end with Ctrl-C" in tail(log, 99), 90.0, "everything serves")
        roles = children_of(process.pid)
        assert set(roles) == {"simulator", "sequencer", "engine", "executor", "projector", "api"}
        assert urllib.request.urlopen(f"http://127.0.0.1:{api}/livez", timeout=10).status == 200
        assert f"http://127.0.0.1:{api}" in tail(log, 99) and "rmk_" not in tail(log, 99), "where it is, and no secret"
        assert (folder / "api.key").read_text().startswith("rmk_")
        for _ in range(2):
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, tail(log, 30)
        wait_until_sync(lambda: all(is_gone(pid) for pid in roles.values()))
        assert "stopped; the data stays" in tail(log, 3)
    finally:
        process.kill()


def test_the_key_of_the_last_start_is_used_while_it_opens(settings: SettingsFactory, database: str, tmp_path: Path) -> None:
    upgrade(database)
    made = settings(database_url=database)
    asyncio.run(ensure_topics(made, [CONTROL]))
    stack = LastingStack(Options(tmp_path, False, 0), made, Console(quiet=True))
    stack.settings = made
    first = stack._make_key()
    assert stack._make_key() == first
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE access.api_keys SET revoked_at = now()")
    second = stack._make_key()
    assert second != first and stack.key_file.read_text().strip() == second.get_secret_value()


def test_what_ends_by_itself_is_told_and_started_again(tmp_path: Path) -> None:
    said = io.StringIO()
    stack = LastingStack(Options(tmp_path, False, 0), Settings(), Console(file=said, width=200, log_path=False))
    line = "ending with exit code 70: FencedOut: shard 3 is not ours"
    program = [sys.executable, "-c", f"import sys; print({line!r}, file=sys.stderr); sys.exit(70)"]
    with Supervisor(tmp_path / "logs", on_end=stack._tell_end) as supervisor:
        supervisor.start("engine", program=program)
        wait_until_sync(lambda: supervisor.restarts("engine") >= 2)
        supervisor.start("wrong", program=[sys.executable, "-c", "import sys; sys.exit(3)"])
        wait_until_sync(lambda: "wrong ended" in said.getvalue())
    told = rf"engine ended with exit code 70 \(fenced_out\), starting again in \d\.\d s: {re.escape(line)}"
    assert re.search(told, said.getvalue())
    assert "wrong ended with exit code 3 (failed), it is not started again" in said.getvalue()
