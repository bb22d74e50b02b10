"""Which commands of a shard are finished: a watermark plus the set above it, and where both logs must be read from again.

Enters: command sequences as they are read and as they end. Leaves: new or seen; the hint for the next owner (`Hint`), which is only
an optimisation: without it everything is read from the start, with the same result.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import msgspec


class FundingMark(msgspec.Struct, frozen=True):
    """Funding payments before `paid_to` (ms) are reported or concern nobody; reports of later ones lie at execution offset `offset` or
    behind it, where the claim in force is `epoch`."""

    paid_to: int
    offset: int
    epoch: int


class Hint(msgspec.Struct, frozen=True):
    """Every command up to `watermark` has ended; later ones are mentioned only from execution offset `executions` on, where the claim in
    force is `epoch`."""

    watermark: int
    executions: int
    epoch: int
    funding: FundingMark | None = None


@dataclass(slots=True)
class _Read:
    command_offset: int
    execution_offset: int
    epoch: int


class SeqGap(Exception):
    """A command sequence is missing between what was read and this one."""


class Seqs:
    """Bookkeeping of one shard. Without a watermark the first command that is read is the first one there is.

    `ended` and `attempted` are what the executions from the hint's offset on say about commands.
    """

    def __init__(self, hint: Hint | None, ended: set[int], attempted: set[int]) -> None:
        self.watermark: int | None = hint.watermark if hint else None
        watermark = self.watermark
        self._from = (hint.executions, hint.epoch) if hint else (0, -1)
        self._read: deque[_Read] = deque()
        self._ended = {seq for seq in ended if watermark is None or seq > watermark}
        self._mentioned_to = max(ended | attempted, default=0)

    @property
    def seen(self) -> int:
        """Highest sequence that was read; everything up to it is known."""
        return (self.watermark or 0) + len(self._read)

    def read(self, seq: int, command_offset: int, execution_offset: int, epoch: int) -> bool:
        """Note a command that was read from the log; False when it is a repeat. Raises `SeqGap`."""
        if self.watermark is None:
            self.watermark = seq - 1
        if seq <= self.seen:
            return False
        if seq != self.seen + 1:
            raise SeqGap(f"command {seq} follows {self.seen}")
        # What a former owner wrote about this command lies anywhere behind the hint that we started from.
        start = self._from if seq <= self._mentioned_to else (execution_offset, epoch)
        self._read.append(_Read(command_offset, *start))
        self._advance()
        return True

    def has_ended(self, seq: int) -> bool:
        """Whether the command has an end state."""
        return seq in self._ended or (self.watermark is not None and seq <= self.watermark)

    def end(self, seq: int) -> None:
        """The command has a recorded end state, or needs none."""
        if self.watermark is None or seq > self.watermark:
            self._ended.add(seq)
            self._advance()

    def _advance(self) -> None:
        while self.watermark is not None and self._read and self.watermark + 1 in self._ended:
            self.watermark += 1
            self._ended.discard(self.watermark)
            self._read.popleft()

    def resume(self, next_command: int, next_execution: int, epoch: int) -> tuple[int, Hint] | None:
        """Command offset to read from, and the hint that goes with it; None before anything was read."""
        if self.watermark is None:
            return None
        if not self._read:
            # What a former owner wrote about commands that were not read again yet still counts.
            executions = self._from if self._mentioned_to > self.watermark else (next_execution, epoch)
            return next_command, Hint(self.watermark, *executions)
        first = self._read[0]
        return first.command_offset, Hint(self.watermark, first.execution_offset, first.epoch)
