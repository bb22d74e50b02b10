"""`remora up`: the whole system in the foreground on a folder that lasts, until Ctrl-C or SIGTERM.

Enters: a folder and the settings of the environment; Kafka and Postgres are ours unless these name others. Leaves: a `Stack` with every
role, restarted when one ends, and in the folder what the next start needs: data, ports, master key, a key of the API, paper accounts.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from rich.console import Console

from engine.config import Settings
from engine.errors import ConfigInvalid, RemoraError
from engine.executor.accounts import new_master_key
from engine.meters import CAUSES
from ops import children
from ops.children import free_port, port_is_free
from ops.processes import Child
from ops.stack import ROLES, Stack
from projections.access import AccessStore
from projections.reads import ReadModels

WATCHED: Final = tuple(role for role in ROLES if role != "api")
LOOK_S: Final = 0.5
"""How often the servers are looked at."""


@dataclass(frozen=True)
class Options:
    """What the command line says. `metrics_port`: of the sequencer, the others' follow; 0: as before, else free ones."""

    folder: Path
    live: bool
    metrics_port: int


class LastingStack(Stack):
    """A stack whose folder is there for the next start."""

    def __init__(self, options: Options, settings: Settings, words: Console) -> None:
        self._lasting, self._words = options.folder, words
        own_simulator = settings.exchange_url is None and settings.paper_url is None
        ports = remembered_ports(options.folder, ("kafka", "postgres", "simulator", *WATCHED))
        if options.metrics_port:
            ports |= {role: options.metrics_port + number for number, role in enumerate(WATCHED)}
        super().__init__(
            options.folder,
            simulator_options=simulator_options(options) if own_simulator else None,
            on_step=lambda step: words.log(f"starting {step}"),
            on_end=self._tell_end,
            ports=ports,
            **lasting_overrides(options, settings, ports["simulator"], own_simulator),
        )

    @property
    def key_file(self) -> Path:
        """Where the API key of this folder is."""
        return self._lasting / "api.key"

    @property
    def env_file(self) -> Path:
        """Settings of this system, to be read by a shell."""
        return self._lasting / "remora.env"

    def _make_key(self) -> SecretStr:
        """The key of the last start, if it still opens."""
        if self.key_file.exists():
            known = SecretStr(self.key_file.read_text().strip())
            if asyncio.run(_opens(self.settings, known)):
                return known
        made = super()._make_key()
        write_secret(self.key_file, made)
        return made

    def _tell_end(self, child: Child) -> None:
        code = child.exit_codes[-1]
        how = f"{child.name} ended with exit code {code} ({CAUSES.get(str(code), 'failed')})"
        then = "it is not started again" if child.refused() else f"starting again in {child.wait_s:.1f} s"
        self._words.log(f"{how}, {then}: {last_words(child)}", markup=False)

    def _environment(self, folder: Path) -> dict[str, str]:
        """What the children get, also as a file for commands in another shell."""
        env = super()._environment(folder)
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in env.items()]
        write_secret(self.env_file, SecretStr("".join(lines)))
        return env


def last_words(child: Child) -> str:
    """Why a life ended, as far as its log says."""
    lines = children.tail(child.log, 200, child.log_start).splitlines()
    return next((line for line in reversed(lines) if "ending with exit code" in line), lines[-1])


async def _opens(settings: Settings, key: SecretStr) -> bool:
    async with ReadModels(settings) as models:
        row = await AccessStore(models).key(key.get_secret_value())
    return row is not None and not (row["revoked"] or row["expired"])


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """The folder is ours for the time of the block. Errors: ConfigInvalid."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigInvalid(f"Another `remora up` runs on the folder {folder}: name another one with --data.") from None
        yield


def simulator_options(options: Options) -> Sequence[str]:
    """A simulator whose accounts outlive it; beside the real venues it has their prices."""
    kept = ("--accounts", str(options.folder / "paper-accounts.json"))
    return (*kept, "--live-prices") if options.live else kept


def lasting_overrides(options: Options, settings: Settings, simulator_port: int, own_simulator: bool) -> dict[str, Any]:
    """Settings of the children beside those of the environment. None: as the environment says."""
    given = settings.model_fields_set
    url = f"http://127.0.0.1:{simulator_port}"
    overrides: dict[str, Any] = {
        "api_port": settings.api_port,
        "simulator_port": simulator_port,
        "venue_limits": settings.venue_limits,
        "marks_interval_s": settings.marks_interval_s,
        "exchange_url": url if own_simulator and not options.live else None,
        "paper_url": url if own_simulator and options.live else None,
        "master_key": None,
    }
    if "kafka" in given:
        overrides["kafka"] = settings.kafka
    if "database_url" in given:
        overrides["database_url"] = settings.database_url.get_secret_value()
    if settings.master_key is None and settings.master_key_file is None:
        overrides["master_key_file"] = master_key_file(options.folder)
    return overrides


def master_key_file(folder: Path) -> Path:
    """The folder's master key, made at the first start: what the vault holds cannot be read without it."""
    file = (folder / "master.key").absolute()
    if not file.exists():
        write_secret(file, new_master_key())
    return file


def write_secret(file: Path, secret: SecretStr) -> None:
    """For our account's eyes only, whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.touch(0o600)
    partial.write_text(secret.get_secret_value() + "\n")
    partial.replace(file)


def remembered_ports(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """The ports of the last start, so that whoever connects need not ask again; another one where somebody else has it now."""
    file = folder / "ports.json"
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    ports = {name: port if (port := known.get(name, 0)) and port_is_free(port) else free_port() for name in names}
    file.write_text(json.dumps(ports))
    return ports


def run_up(options: Options, settings: Settings) -> int:
    """Start, say where everything is, stay, stop. Errors: ConfigInvalid, DependencyUnreachable when something cannot start."""
    words, stop = Console(stderr=True, log_path=False), threading.Event()
    with only_one(options.folder), LastingStack(options, settings, words) as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        tell_where(stack, words)
        while not stop.wait(LOOK_S):
            revive_servers(stack, words)
        words.log("stopping")
    words.log("stopped; the data stays")
    return 0


def tell_where(stack: LastingStack, words: Console) -> None:
    """Each on a line of its own that a terminal does not break: people copy them. Secrets are named by their files."""
    metrics = ", ".join(f"{role} {port}" for role, port in stack.metrics_ports.items())
    told = {
        "dashboard and API": stack.api_url,
        "its key": stack.key_file,
        "Kafka": stack.settings.kafka,
        "Postgres": stack.settings.database_url.get_secret_value().rsplit("@", 1)[-1],
        "metrics": metrics,
        "in other shells": f". {shlex.quote(str(stack.env_file))}",
        "data and logs": stack.settings.data_dir,
    }
    for name, text in told.items():
        words.print(f"{name:>18}  {text}", soft_wrap=True, highlight=False, markup=False)
    words.log("running; end with Ctrl-C")


def revive_servers(stack: Stack, words: Console) -> None:
    """A server of ours that ended is started again, on its port and its data."""
    for server in stack.servers:
        if not server.running:
            words.log(f"{server.name} ended, starting it again")
            try:
                server.restart()
            except RemoraError as error:
                words.log(str(error), markup=False)
