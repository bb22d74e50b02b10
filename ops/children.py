"""Child processes that end with us: how every broker, database and role of ours is started, watched and ended.

Enters: a command line, a log file, an account. Leaves: a `Popen` whose pid is the program's own (see `ops/launch.py`).
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from engine.errors import ConfigInvalid

LAUNCHER: Final = str(Path(__file__).with_name("launch.py"))
POLL_S: Final = 0.01

# The kernel ties a child's life to the thread that started it, so one thread starts them all and lives as long as we do.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")


def spawn(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    user: str = "-",
) -> subprocess.Popen[bytes]:
    """Start `command` (first item: absolute path) in its own process group, its output appended to `log`."""
    launcher = [sys.executable, "-IS", LAUNCHER, str(os.getpid()), str(int(death_signal)), user]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*launcher, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env and dict(env), cwd=cwd
            )

    return _starter.submit(start).result()


def end(process: subprocess.Popen[bytes], grace_s: float = 10.0, first: signal.Signals = signal.SIGTERM) -> int:
    """Ask to stop, wait, then kill. Returns the exit code."""
    if process.poll() is None:
        process.send_signal(first)
        # A paused process hears nothing until it goes on.
        process.send_signal(signal.SIGCONT)
    try:
        return process.wait(grace_s)
    except subprocess.TimeoutExpired:
        return kill(process)


def kill(process: subprocess.Popen[bytes]) -> int:
    """kill -9, also when the process is paused. Returns the exit code."""
    if process.poll() is None:
        process.kill()
    return process.wait()


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], deadline_s: float) -> bool:
    """True once `ready()` holds; False when the process ended or the time is up."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        if ready():
            return True
        if process.poll() is not None:
            return False
        time.sleep(POLL_S)
    return False


def tail(log: Path, lines: int = 12, start: int = 0) -> str:
    """The last lines of a log after byte `start`, without Java's stack frames, or a word that there are none."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as handle:
        handle.seek(max(start, log.stat().st_size - 65_536))
        text = handle.read().decode(errors="replace").strip()
    wanted = [line for line in text.splitlines() if not line.startswith("\tat ")]
    return "\n".join(wanted[-lines:]) or "(empty log)"


def port_is_free(port: int) -> bool:
    """Whether a listener could bind this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A free port below the range of outgoing connections.

    Inside that range a client that reconnects to a stopped server can be given the server's own port, so that the
    server cannot come back.
    """
    for _ in range(200):
        port = random.randint(15_000, 31_000)
        if port_is_free(port):
            return port
    raise ConfigInvalid("No free port was found between 15000 and 31000 on 127.0.0.1.")


def claim_port(port: int, what: str) -> int:
    """`port` if it is free, a free one if it is 0; a taken one is refused in one sentence."""
    if port == 0:
        return free_port()
    if not port_is_free(port):
        raise ConfigInvalid(f"{what} cannot listen on 127.0.0.1:{port}: another program has that port.")
    return port


def rss_mb(pid: int) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
