"""The supervisor of our own processes: starts roles as children, restarts what ends by itself, ends what we end.

Enters: a folder for logs and ready files, an environment, and roles by name. Leaves: running children; their facts once
they are ready (see `engine/lifecycle.py`). Our processes end themselves when they are fenced out, so a restart is normal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from engine.errors import ConfigInvalid, DependencyUnreachable
from ops import children

FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 2.0
SETTLED_S: Final = 10.0
"""A child that lived this long starts again without delay."""
STOP_S: Final = 10.0
POLL_S: Final = 0.02
KEPT_EXITS: Final = 1000
"""Former lives that a child is told of, for its `/metrics`."""


@dataclass
class Child:
    """One supervised process. `held` children are down on purpose and stay down."""

    name: str
    command: list[str]
    env: dict[str, str]
    log: Path
    ready: Path
    process: subprocess.Popen[bytes] | None = None
    held: bool = True
    restarts: int = 0
    exit_codes: list[int] = field(default_factory=list)
    started: float = 0.0
    not_before: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    log_start: int = 0
    noted: bool = False

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be paused)."""
        return self.process is not None and self.process.poll() is None

    def launch(self) -> None:
        """Start the process; its ready file belongs to this life only."""
        self.ready.unlink(missing_ok=True)
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        self.started = time.monotonic()
        self.noted = False
        former = {"REMORA_EXITS": ",".join(map(str, self.exit_codes[-KEPT_EXITS:]))}
        self.process = children.spawn(self.command, self.log, env=self.env | former)

    def note_end(self) -> bool:
        """Keep the exit code of a life that ended, and say when the next one may begin. False: nothing new."""
        if self.noted or self.process is None or (code := self.process.poll()) is None:
            return False
        self.noted = True
        self.exit_codes.append(code)
        if time.monotonic() - self.started > SETTLED_S:
            self.backoff_s = FIRST_BACKOFF_S
        self.not_before = time.monotonic() + self.backoff_s
        self.backoff_s = min(self.backoff_s * 2, LONGEST_BACKOFF_S)
        return True

    def relaunch(self) -> None:
        """The next life."""
        self.restarts += 1
        self.launch()

    def facts(self) -> dict[str, Any] | None:
        """What the process said when it was ready, or None."""
        try:
            facts: dict[str, Any] = json.loads(self.ready.read_text())
        except FileNotFoundError:
            return None
        return facts if self.process is not None and facts["pid"] == self.process.pid else None

    @property
    def wait_s(self) -> float:
        """How long until the next life may begin."""
        return max(self.not_before - time.monotonic(), 0.0)

    def refused(self) -> bool:
        """Ended over a wrong setting: starting again would end the same way."""
        return not self.running and self.exit_codes[-1:] == [ConfigInvalid.exit_code]


class Supervisor:
    """Use as a context manager. Thread-safe; every call returns quickly but `wait_ready` and `stop`."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None, on_end: Callable[[Child], None] = lambda _: None) -> None:
        """`env` is added to our own environment for every child. `on_end` hears, in another thread, of each life that ended by itself."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._on_end = folder, on_end
        self._env = dict(os.environ) | dict(env or {})
        self._children: dict[str, Child] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._watch_children, name="supervisor", daemon=True)
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self, name: str, *arguments: str, env: Mapping[str, str] | None = None, program: Sequence[str] | None = None) -> None:
        """Start a child: `remora ARGUMENTS` (by default `remora NAME`), or another program. A held child starts again."""
        with self._lock:
            child = self._children.get(name) or self._add(name, arguments or (name,), env or {}, program)
            assert not child.running, f"{name} runs already"
            child.held = False
            child.launch()

    def _add(self, name: str, arguments: Sequence[str], env: Mapping[str, str], program: Sequence[str] | None) -> Child:
        ready = self._folder / f"{name}.ready"
        command = list(program) if program else [sys.executable, "-m", "ops.cli", *arguments]
        own = self._env | dict(env) | {"REMORA_READY_FILE": str(ready)}
        child = self._children[name] = Child(name, command, own, self._folder / f"{name}.log", ready)
        return child

    def wait_ready(self, name: str, deadline_s: float = 60.0) -> dict[str, Any]:
        """The child's facts, across restarts; a child that refuses or is late ends this in one sentence and its log."""
        until = time.monotonic() + deadline_s
        child = self._children[name]
        while time.monotonic() < until:
            with self._lock:
                if (facts := child.facts()) is not None:
                    return facts
                if child.refused():
                    raise ConfigInvalid(f"The process {name} refused to start: {children.tail(child.log, 3, child.log_start)}")
            time.sleep(POLL_S)
        raise DependencyUnreachable(f"The process {name} was not ready within {deadline_s:.0f} s; its log:\n{children.tail(child.log, 8)}")

    def stop(self, name: str) -> int:
        """SIGTERM, then SIGKILL; it stays down until `start`. Returns the exit code."""
        with self._lock:
            child = self._children[name]
            child.held = True
        code = children.end(self._process(name), STOP_S)
        with self._lock:
            child.note_end()
        return code

    def kill9(self, name: str, *, restart: bool = True) -> None:
        """kill -9; the supervisor starts it again at once unless `restart` is False."""
        with self._lock:
            child = self._children[name]
            children.kill(self._process(name))
            child.note_end()
            child.held = not restart
            if restart:
                child.relaunch()

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        self._process(name).send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._process(name).send_signal(signal.SIGCONT)

    def pid(self, name: str) -> int:
        """The child's process id now."""
        return self._process(name).pid

    def running(self, name: str) -> bool:
        """Whether the child is there."""
        return self._children[name].running

    def restarts(self, name: str) -> int:
        """How often the child was started again."""
        return self._children[name].restarts

    def exit_codes(self, name: str) -> list[int]:
        """How the child's ended lives ended, oldest first; negative: by that signal."""
        return list(self._children[name].exit_codes)

    def log_file(self, name: str) -> Path:
        """What the child printed, over all its lives."""
        return self._children[name].log

    def names(self) -> list[str]:
        """Every child, in the order of the first start."""
        return list(self._children)

    def close(self) -> None:
        """Stop everything, last started first, all at once."""
        self._closing.set()
        self._watch.join()
        with self._lock:
            living = [child for child in reversed(self._children.values()) if child.running]
        for child in living:
            assert child.process is not None
            child.process.send_signal(signal.SIGTERM)
        for child in living:
            assert child.process is not None
            children.end(child.process, STOP_S)

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        process = self._children[name].process
        assert process is not None, f"{name} was never started"
        return process

    def _watch_children(self) -> None:
        while not self._closing.wait(POLL_S):
            with self._lock:
                for child in self._children.values():
                    self._look_after(child)

    def _look_after(self, child: Child) -> None:
        if child.held or child.running:
            return
        if child.note_end():
            self._on_end(child)
        if not child.refused() and time.monotonic() >= child.not_before:
            child.relaunch()
