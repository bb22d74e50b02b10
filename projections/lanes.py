"""One partition of `follower.events.v1` on its way into the tables: records enter, accepted rounds wait until they are written."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from engine.log.reader import AcceptedRound, Position, RoundReader
from projections.recorder import Advance
from projections.store import step_of


class EventLane:
    """Reads one shard from a position on. `waiting` are accepted rounds for the next batch, `writing` those of the batch under way."""

    def __init__(self, topic: str, partition: int, position: Position) -> None:
        self.topic, self.partition = topic, partition
        self.position = position
        self.waiting: list[AcceptedRound] = []
        self.writing: list[AcceptedRound] = []
        self._reader = RoundReader(partition, position)
        self._newest_ms = 0

    @property
    def next_offset(self) -> int:
        """The offset of the next record to feed."""
        return self._reader.next_offset

    @property
    def void_rounds(self) -> int:
        """Rounds read that do not count."""
        return self._reader.void_rounds

    @property
    def void_events(self) -> int:
        """Events read that do not count."""
        return self._reader.void_events

    @property
    def epoch(self) -> int:
        """The newest claim that was read."""
        return self._reader.epoch

    def begins_with(self, timestamp: int) -> None:
        """The append time of the next record, looked at before it is read."""
        self._newest_ms = timestamp

    def feed(self, records: Iterable[Any]) -> list[AcceptedRound]:
        """Take the next records; gives the rounds that were accepted with them."""
        accepted = self._reader.feed(records)
        self.waiting += accepted
        return accepted

    def begin(self) -> Advance:
        """What waits is being written from now on; gives the step that this is."""
        assert not self.writing, "one batch at a time"
        self.writing, self.waiting = self.waiting, []
        return step_of(self.topic, self.partition, self.position.next_offset, self._reader.position, self.writing[-1])

    def written(self, step: Advance) -> None:
        """The batch under way is in the tables, committed."""
        self._newest_ms = max((self._newest_ms, *(round_.events[-1][3] for round_ in self.writing if round_.events)))
        self.position, self.writing = step.position, []

    def saw_end(self, end_offset: int, asked_ms: float) -> None:
        """An end that was told to a question of that time: if everything before it was read, what follows is newer than the question."""
        if self.next_offset >= end_offset:
            self._newest_ms = max(self._newest_ms, int(asked_ms))

    def is_through(self, offset: int) -> bool:
        """Whether every accepted round before an offset is in the tables."""
        return self.position.next_offset >= offset or (self.next_offset >= offset and not (self.waiting or self.writing))

    def lag_s(self, end_offset: int) -> float:
        """Age of the oldest record that is not in the tables: 0 when everything was read and written."""
        now_ms = time.time() * 1000
        if oldest := next((round_.events[0][3] for round_ in (*self.writing, *self.waiting) if round_.events), 0):
            return max(0.0, (now_ms - oldest) / 1000)
        if self.next_offset >= end_offset or not self._newest_ms:
            return 0.0
        return max(0.0, (now_ms - self._newest_ms) / 1000)
