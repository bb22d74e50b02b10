"""What passes between a chaos run and its children: two small files a child, beside its log.

Enters: orders to a child (`arm`), what the child has come to (`Status`). Leaves: a process that signals itself at a labelled point;
facts about its life. The product knows nothing of either: `ops.chaos.wrapped` puts them round a role.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

LABELS: Final[dict[str, tuple[str, ...]]] = {
    "sequencer": ("before_append", "half_append", "after_append"),
    "engine": ("before_round", "before_copies", "torn_round", "after_round", "after_copies", "after_commands", "half_snapshot"),
    "executor": ("before_attempt", "after_attempt", "after_write", "before_outcome", "after_outcome"),
    "projector": ("before_write", "before_commit", "after_commit"),
}
"""Role to the points at which it can be stopped or killed."""


class Facts(msgspec.Struct):
    """One life of a child. `applied`: it has worked in a record; `taken`: partition to when (monotonic clock) it took it over."""

    pid: int = 0
    applied: bool = False
    taken: dict[str, float] = {}


def point_file(folder: Path, name: str) -> Path:
    """Where a child finds its order."""
    return folder / f"{name}.point"


def status_file(folder: Path, name: str) -> Path:
    """Where a child says what it has come to."""
    return folder / f"{name}.status"


def arm(folder: Path, name: str, label: str, nth: int, number: signal.Signals) -> None:
    """Let the child send itself the signal when it comes by the label for the nth time from now on."""
    _replace(point_file(folder, name), f"{label} {nth} {int(number)}".encode())


def disarm(folder: Path, name: str) -> bool:
    """Take the order back; False when it has been carried out."""
    try:
        point_file(folder, name).unlink()
    except FileNotFoundError:
        return False
    return True


def facts(folder: Path, name: str, pid: int) -> Facts:
    """What the child with this pid has said; nothing of an earlier life."""
    try:
        found = msgspec.json.decode(status_file(folder, name).read_bytes(), type=Facts)
    except FileNotFoundError:
        return Facts()
    return found if found.pid == pid else Facts()


class Point:
    """The child's side: its order, looked at whenever it comes by a label."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._passes = 0
        self._signal = 0

    def due(self, label: str) -> bool:
        """Whether the order is to be carried out here and now; the caller then calls `fire`."""
        try:
            wanted, nth, number = self._file.read_text().split()
        except FileNotFoundError:
            self._passes = 0
            return False
        if wanted != label:
            return False
        self._passes += 1
        if self._passes < int(nth):
            return False
        self._file.unlink(missing_ok=True)
        self._signal = int(number)
        return True

    def fire(self) -> None:
        """Send ourselves the signal."""
        os.kill(os.getpid(), self._signal)

    def reach(self, label: str) -> None:
        """The process comes by."""
        if self.due(label):
            self.fire()


class Status:
    """The child's side: facts of this life."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._facts = Facts(pid=os.getpid())

    def applied(self) -> None:
        """A record has been worked in."""
        if not self._facts.applied:
            self._facts.applied = True
            self._write()

    def took(self, partitions: Iterable[Any]) -> None:
        """Partitions are this process's now."""
        self._facts.taken |= {str(partition): time.monotonic() for partition in partitions}
        self._write()

    def _write(self) -> None:
        _replace(self._file, msgspec.json.encode(self._facts))


def _replace(file: Path, content: bytes) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_bytes(content)
    partial.replace(file)
