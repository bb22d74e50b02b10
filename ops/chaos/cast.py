"""The processes of a chaos run: two of every role, each of which can be killed, paused, or told to do so itself at a labelled point."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from engine.errors import DependencyUnreachable
from ops.chaos import child
from ops.stack import Stack

INSTANCES: Final = ("a", "b")
POLL_S: Final = 0.05
STANDING_S: Final = 150.0
REASON: Final = re.compile(r"(ending with exit code|[\w.]+(Error|Exception|Corrupt)\b)")
T = TypeVar("T")


class Cast:
    """All children, by name (`engine-a`). `busy`: somebody is doing something to it right now."""

    def __init__(self, stack: Stack, roles: Sequence[str], patches: str = "", instances: Sequence[str] = INSTANCES) -> None:
        self.stack, self.supervisor = stack, stack.supervisor
        self._folder: Path = stack.settings.data_dir / "logs"
        self.names = [f"{role}-{instance}" for role in roles for instance in instances]
        self.busy: set[str] = set()
        for name in self.names:
            self._start(name, patches)

    def _start(self, name: str, patches: str) -> None:
        role, _, instance = name.partition("-")
        env = {"REMORA_INSTANCE": instance, "CHAOS_FOLDER": str(self._folder), "CHAOS_NAME": name, "CHAOS_PATCHES": patches}
        self.supervisor.start(name, env=env, program=[sys.executable, "-m", "ops.chaos.wrapped", role])

    def wait_ready(self, deadline_s: float = 120.0) -> None:
        """Until every child has served once."""
        for name in self.names:
            self.supervisor.wait_ready(name, deadline_s)

    def of(self, role: str) -> list[str]:
        """The children of a role."""
        return [name for name in self.names if name.startswith(f"{role}-")]

    def siblings(self, name: str) -> list[str]:
        """The other children of its role."""
        return [other for other in self.of(name.partition("-")[0]) if other != name]

    def facts(self, name: str) -> child.Facts:
        """What the child has said in this life."""
        return child.facts(self._folder, name, self.supervisor.pid(name))

    def has_applied(self, name: str) -> bool:
        """Whether the child, alive, has worked in a record since its start."""
        return self.supervisor.running(name) and self.facts(name).applied

    async def choose(self, role: str, instance: str) -> str:
        """A child of the role that has applied something and that nobody else is busy with; it is ours (`busy`) until released."""
        preferred = f"{role}-{instance}"

        def found() -> str | None:
            ready = [name for name in self.of(role) if name not in self.busy and self.has_applied(name)]
            return preferred if preferred in ready else ready[0] if ready else None

        name = await until(found, STANDING_S)
        if name is None:
            raise DependencyUnreachable(f"No {role} did any work for {STANDING_S:.0f} s:\n{self.last_words(role)}")
        self.busy.add(name)
        return name

    def last_words(self, role: str) -> str:
        """The ends of the role's logs."""
        return "\n".join(f"{name} {self.supervisor.exit_codes(name)[-5:]}: {self.tail(name)}" for name in self.of(role))

    def tail(self, name: str, lines: int = 12) -> str:
        """The end of a child's log."""
        log = self.supervisor.log_file(name)
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def reasons(self, name: str) -> list[str]:
        """The newest lines of a child's log that say why it ended."""
        log = self.supervisor.log_file(name).read_text(errors="replace").splitlines()
        return [line for line in log if REASON.match(line)][-3:]

    async def kill(self, name: str, label: str, nth: int, patience_s: float) -> str | None:
        """kill -9: at the label, or right now if there is none or it is not reached in time. Where it died; None if not by this."""
        before = len(self.supervisor.exit_codes(name))
        reached = bool(label) and await self._at_point(name, label, nth, signal.SIGKILL, patience_s)
        if reached:
            await until(lambda: len(self.supervisor.exit_codes(name)) > before, 5.0)
        elif len(self.supervisor.exit_codes(name)) == before and self.has_applied(name):
            await asyncio.to_thread(self.supervisor.kill9, name)
        if self.supervisor.exit_codes(name)[before : before + 1] != [-signal.SIGKILL]:
            return None
        return label if reached else "at random"

    async def pause(self, name: str, label: str, nth: int, patience_s: float) -> float:
        """SIGSTOP, as `kill`. The time (monotonic) by which it stood still."""
        if not (label and await self._at_point(name, label, nth, signal.SIGSTOP, patience_s)):
            self.supervisor.pause(name)
        return time.monotonic()

    async def _at_point(self, name: str, label: str, nth: int, number: signal.Signals, patience_s: float) -> bool:
        child.arm(self._folder, name, label, nth, number)
        pid, file = self.supervisor.pid(name), child.point_file(self._folder, name)
        await until(lambda: not file.exists() or not self.supervisor.running(name) or self.supervisor.pid(name) != pid, patience_s)
        return not child.disarm(self._folder, name)

    async def superseded(self, name: str, since: float, deadline_s: float) -> bool:
        """Whether another child of its role took over a partition of this (paused) one after `since`."""
        mine = self._newest_taken(name)

        def taken() -> bool:
            return any(at > since and part in mine for other in self.siblings(name) for part, at in self.facts(other).taken.items())

        return bool(await until(taken, deadline_s))

    def _newest_taken(self, name: str) -> set[str]:
        others = [self.facts(other).taken for other in self.siblings(name)]
        return {part for part, at in self.facts(name).taken.items() if all(at > other.get(part, 0.0) for other in others)}


async def until(holds: Callable[[], T], deadline_s: float) -> T | None:
    """The first true value; None when the time is up."""
    end = time.monotonic() + deadline_s
    while not (value := holds()):
        if time.monotonic() > end:
            return None
        await asyncio.sleep(POLL_S)
    return value
