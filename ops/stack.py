"""The whole system on one machine: Kafka, Postgres, the simulator and every role as child processes, on free loopback ports.

Enters: a folder, overrides of settings. Leaves: a running `Stack` with its settings, servers and supervisor; a clean stop. The demo,
the chaos run and the benches start from here.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydantic import SecretStr

from engine.config import Settings, load_settings
from ops.children import free_port
from ops.commands.key import create_key
from ops.commands.stack import initialise
from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.postgres import EmbeddedPostgres
from ops.embedded.server import EmbeddedServer
from ops.processes import Child, Supervisor

ROLES: Final = ("sequencer", "engine", "executor", "projector", "api")
Step = Callable[[str], None]


class Stack:
    """Use as a context manager. Data lies in `folder`, or in a temporary folder that is removed at the end."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        roles: Sequence[str] = ROLES,
        simulator_options: Sequence[str] | None = (),
        fsync: bool = True,
        on_step: Step = lambda _: None,
        on_end: Callable[[Child], None] = lambda _: None,
        ports: Mapping[str, int] | None = None,
        **overrides: Any,
    ) -> None:
        """`overrides` are settings by their field's name; children get them as environment. With `kafka` or `database_url` among them that
        server is not ours. `ports`: of kafka, postgres, and of the roles' metrics; a free one for each that is not named."""
        self._exit = ExitStack()
        self._folder = folder
        self._fsync = fsync
        self._step, self._on_end = on_step, on_end
        self._ports = dict(ports or {})
        self._simulator_options = simulator_options
        self.roles = tuple(roles)
        self._overrides = overrides
        self.settings: Settings = load_settings()
        self.kafka: EmbeddedKafka
        self.postgres: EmbeddedPostgres
        self.servers: list[EmbeddedServer] = []
        """The servers that are ours, running."""
        self.supervisor: Supervisor
        self.metrics_ports: dict[str, int] = {}
        """By role, where `/metrics` is answered (the api answers on its own port)."""
        self.api_key: SecretStr
        """A key of the API that may do everything."""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exit.close()

    @property
    def simulator_url(self) -> str:
        """Base URL of the simulator, admin calls included."""
        return f"http://127.0.0.1:{self.settings.simulator_port}"

    @property
    def api_url(self) -> str:
        """Base URL of the API."""
        return f"http://127.0.0.1:{self.settings.api_port}"

    def _start(self) -> None:
        folder = self._folder or Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="remora-")))
        self._start_servers(folder)
        env = self._environment(folder)
        self.settings = Settings(**{name: value for name, value in self._overrides.items() if value is not None})
        self.supervisor = self._exit.enter_context(Supervisor(folder / "logs", env, self._on_end))
        self._step("topics, tables and simulator")
        if self._simulator_options is not None:
            self.supervisor.start("simulator", "simulator", *self._simulator_options)
        initialise(self.settings)
        self.api_key = self._make_key()
        if self._simulator_options is not None:
            self.supervisor.wait_ready("simulator")
        self._step("processes")
        self.metrics_ports = {role: self._ports.get(role) or free_port() for role in self.roles if role != "api"}
        for role in self.roles:
            port = self.metrics_ports.get(role, 0)
            self.supervisor.start(role, env={"REMORA_METRICS_PORT": str(port)} if port else None)
        for role in self.roles:
            self.supervisor.wait_ready(role)

    def _start_servers(self, folder: Path) -> None:
        if "kafka" not in self._overrides:
            port = self._ports.get("kafka", 0)
            self.kafka = EmbeddedKafka(folder / "kafka", cache_dir=self._overrides.get("cache_dir"), port=port)
            self.servers.append(self.kafka)
        if "database_url" not in self._overrides:
            self.postgres = EmbeddedPostgres(folder / "postgres", fsync=self._fsync, port=self._ports.get("postgres", 0))
            self.servers.append(self.postgres)
        self._step(" and ".join(server.name for server in self.servers) or "with the given servers")
        with ThreadPoolExecutor(2) as pool:
            starts = [pool.submit(server.start) for server in self.servers]
            for server in reversed(self.servers):
                self._exit.callback(server.stop)
            for start in starts:
                start.result()

    def _make_key(self) -> SecretStr:
        """A key of the API that may do everything."""
        return create_key(self.settings, "whoever started the stack", ["admin"]).secret

    def _environment(self, folder: Path) -> dict[str, str]:
        simulator_port = self._overrides.get("simulator_port") or free_port()
        given = self._overrides
        self._overrides = {
            "kafka": given.get("kafka") or self.kafka.bootstrap,
            "database_url": given.get("database_url") or self.postgres.dsn,
            "data_dir": folder,
            "simulator_port": simulator_port,
            "api_port": free_port(),
            "exchange_url": f"http://127.0.0.1:{simulator_port}",
            "venue_limits": False,
            "marks_interval_s": 1.0,
            "master_key": base64.b64encode(os.urandom(32)).decode(),
        } | given
        names = {"kafka": "KAFKA_BOOTSTRAP_SERVERS", "database_url": "DATABASE_URL"}
        return {names.get(name, f"REMORA_{name.upper()}"): _text(value) for name, value in self._overrides.items() if value is not None}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
