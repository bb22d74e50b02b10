"""What executors say between an order's request and its end: attempts and unknown answers enter, `attempted` and `unknown` leave.

Records of an executor whose claim is not the newest before them are void. An order's end comes from the engine's events, and wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from engine.domain.messages import Execution, ExecutorClaimed, OrderAttempted, OrderUnknown
from engine.log.reader import Position
from projections.batch import Poison
from projections.sql import load
from projections.staging import Curs, copy_rows, when_known
from projections.trades import LARGEST

COLUMNS: Final = ("command_key", "status", "attempts", "attempted_at", "unknown_at", "reason", "events")
_decoder: Final = msgspec.json.Decoder(Execution)


class Attempt(NamedTuple):
    """One valid record about an order under way. `attempted_at` and `unknown_at` in ms, 0 where it says nothing."""

    offset: int
    epoch: int
    command_id: str
    status: str
    attempts: int
    attempted_at: int
    unknown_at: int
    reason: str | None


class ExecutionLane:
    """Reads one partition of `trade.executions.v1` from a position on; what it read waits in `waiting` until the order is known."""

    def __init__(self, partition: int, position: Position) -> None:
        self.partition = partition
        self.position = position
        self.next_offset = position.next_offset
        self.epoch = position.epoch
        self.waiting: deque[Attempt] = deque()
        self.poison: list[Poison] = []
        self._arrived: deque[Iterable[Any]] = deque()
        self._certain = position.next_offset
        """Attempts before it wait for no order any more: one that is not in the tables was left out of them."""

    @property
    def busy(self) -> bool:
        """Whether there is something to do: records that arrived, or attempts that wait."""
        return bool(self._arrived or self.waiting)

    def arrive(self, records: Iterable[Any]) -> None:
        """Records came; they are looked at by whoever writes, in its own thread."""
        self._arrived.append(records)

    def absorb(self) -> None:
        """Look at what arrived."""
        while self._arrived:
            self.feed(self._arrived.popleft())

    def feed(self, records: Iterable[Any]) -> None:
        """Take the next records."""
        for record in records:
            self.next_offset = record.offset + 1
            try:
                body = _decoder.decode(record.value or b"")
            except msgspec.DecodeError as error:
                self.poison.append(Poison(self.partition, record.offset, record.key or b"", record.value or b"", str(error)))
                continue
            if isinstance(body, ExecutorClaimed):
                self.epoch = record.offset
            elif body.epoch == self.epoch and isinstance(body, OrderAttempted | OrderUnknown):
                self._take(_attempt(record.offset, body), record)

    def _take(self, attempt: Attempt, record: Any) -> None:
        try:
            _check(attempt)
        except (ValueError, ArithmeticError) as error:
            self.poison.append(Poison(self.partition, record.offset, record.key or b"", record.value, str(error)))
        else:
            self.waiting.append(attempt)

    def wait_no_more(self, before: int) -> None:
        """No order of an attempt before this offset is still on its way into the tables."""
        self._certain = before

    def ready(self, known: set[str]) -> list[Attempt]:
        """The attempts before the first one whose order is not in the tables yet. Those of an order that was left out are passed over."""
        found = []
        for attempt in self.waiting:
            if attempt.command_id not in known and attempt.offset >= self._certain:
                break
            found.append(attempt)
        return found

    def target(self, ready: int) -> Position:
        """Where the partition stands once the first `ready` attempts are in the tables."""
        if ready == len(self.waiting):
            return Position(next_offset=self.next_offset, epoch=self.epoch)
        held = self.waiting[ready]
        return Position(next_offset=held.offset, epoch=held.epoch)

    def taken(self, ready: int) -> None:
        """The first `ready` attempts are in the tables, committed."""
        self.position = self.target(ready)
        for _ in range(ready):
            self.waiting.popleft()
        self.poison.clear()


def _attempt(offset: int, body: OrderAttempted | OrderUnknown) -> Attempt:
    if isinstance(body, OrderAttempted):
        return Attempt(offset, body.epoch, body.order.command_id, "attempted", body.attempt, body.sent_at, 0, None)
    return Attempt(offset, body.epoch, body.command_id, "unknown", body.attempt, 0, body.at, body.reason)


def _check(attempt: Attempt) -> None:
    """What no column holds is the record's fault, and found before it is among others. Errors: ValueError, ArithmeticError."""
    if "\x00" in attempt.command_id + (attempt.reason or ""):
        raise ValueError("a text with a NUL")
    if not 0 <= attempt.attempts <= LARGEST:
        raise ValueError(f"attempt {attempt.attempts}")
    _row(attempt, attempt.attempted_at, attempt.unknown_at, 1)


def write_attempts(cursor: Curs, attempts: Iterable[Attempt]) -> None:
    """Merge attempts into their orders: what the newest says, how many there were."""
    newest: dict[str, tuple[Attempt, int, int, int]] = {}
    for attempt in attempts:
        _, sent, unknown, count = newest.get(attempt.command_id, (attempt, 0, 0, 0))
        newest[attempt.command_id] = (attempt, attempt.attempted_at or sent, attempt.unknown_at or unknown, count + 1)
    if newest:
        copy_rows(cursor, "stage_attempts", COLUMNS, (_row(*entry) for entry in newest.values()))
        cursor.execute(load("merges.sql")["attempt_trades"])


def _row(newest: Attempt, sent: int, unknown: int, count: int) -> tuple[object, ...]:
    what = (newest.command_id, newest.status, newest.attempts)
    return (*what, when_known(sent), when_known(unknown), newest.reason, count)


def known_commands(cursor: Curs, lanes: Iterable[ExecutionLane]) -> set[str]:
    """Which orders that the lanes wait for are in the tables."""
    wanted = list({attempt.command_id for lane in lanes for attempt in lane.waiting})
    if not wanted:
        return set()
    cursor.execute(load("merges.sql")["known_commands"], [wanted])
    return {row[0] for row in cursor}
