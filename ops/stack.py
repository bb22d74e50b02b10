"""The whole system on one machine: Kafka, Postgres, the simulator and every role as child processes, on free loopback ports.

Enters: a folder, overrides of settings. Leaves: a running `Stack` with its settings, servers and supervisor; a clean stop. The demo,
the chaos run and the benches start from here.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Sequence
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
from ops.processes import Supervisor

ROLES: Final = ("sequencer", "engine", "executor", "projector", "api")
Step = Callable[[str], None]


class Stack:
    """Use as a context manager. Data lies in `folder`, or in a temporary folder that is removed at the end."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        roles: Sequence[str] = ROLES,
        simulator_options: Sequence[str] = (),
        fsync: bool = True,
        on_step: Step = lambda _: None,
        **overrides: Any,
    ) -> None:
        """`overrides` are settings by their field's name; children get them as environment."""
        self._exit = ExitStack()
        self._folder = folder
        self._fsync = fsync
        self._step = on_step
        self._simulator_options = simulator_options
        self.roles = tuple(roles)
        self._overrides = overrides
        self.settings: Settings = load_settings()
        self.kafka: EmbeddedKafka
        self.postgres: EmbeddedPostgres
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
        self.settings = Settings(**self._overrides)
        self.supervisor = self._exit.enter_context(Supervisor(folder / "logs", env))
        self._step("topics, tables and simulator")
        self.supervisor.start("simulator", "simulator", *self._simulator_options)
        initialise(self.settings)
        self.api_key = create_key(self.settings, "whoever started the stack", ["admin"]).secret
        self.supervisor.wait_ready("simulator")
        self._step("processes")
        self.metrics_ports = {role: free_port() for role in self.roles if role != "api"}
        for role in self.roles:
            port = self.metrics_ports.get(role, 0)
            self.supervisor.start(role, env={"REMORA_METRICS_PORT": str(port)} if port else None)
        for role in self.roles:
            self.supervisor.wait_ready(role)

    def _start_servers(self, folder: Path) -> None:
        self._step("Kafka and Postgres")
        self.kafka = EmbeddedKafka(folder / "kafka", cache_dir=self._overrides.get("cache_dir"))
        self.postgres = EmbeddedPostgres(folder / "postgres", fsync=self._fsync)
        with ThreadPoolExecutor(2) as pool:
            starts = [pool.submit(server.start) for server in (self.kafka, self.postgres)]
            self._exit.callback(self.postgres.stop)
            self._exit.callback(self.kafka.stop)
            for start in starts:
                start.result()

    def _environment(self, folder: Path) -> dict[str, str]:
        simulator_port = free_port()
        self._overrides = {
            "kafka": self.kafka.bootstrap,
            "database_url": self.postgres.dsn,
            "data_dir": folder,
            "simulator_port": simulator_port,
            "api_port": free_port(),
            "exchange_url": f"http://127.0.0.1:{simulator_port}",
            "venue_limits": False,
            "marks_interval_s": 1.0,
            "master_key": base64.b64encode(os.urandom(32)).decode(),
        } | self._overrides
        names = {"kafka": "KAFKA_BOOTSTRAP_SERVERS", "database_url": "DATABASE_URL"}
        return {names.get(name, f"REMORA_{name.upper()}"): _text(value) for name, value in self._overrides.items() if value is not None}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
