"""Records of many partitions enter, transactions leave: while one batch is written in a thread, the next one is read and folded."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import TopicPartition

from projections import meters
from projections.executions import ExecutionLane
from projections.lanes import EventLane
from projections.recorder import Advance, application_name
from projections.store import UNWRITABLE, Bury, Store, Work

BATCH_EVENTS: Final = 40_000
"""Events in one transaction, about."""


SWITCH_S: Final = 0.0005


def calm_interpreter() -> None:
    """For the whole process. A batch makes hundreds of thousands of objects and no cycles; looking for some costs a fifth of the time.
    And one thread writes while the loop reads: each piece that arrives would wait 5 ms until the writing thread lets go."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    sys.setswitchinterval(SWITCH_S)


class Pipeline:
    """The partitions of one store. `bury` gives what takes records that are left out, before their batch is committed."""

    def __init__(self, store: Store, bury: Callable[[], Bury]) -> None:
        self.lanes: dict[int, EventLane] = {}
        self.executions: dict[int, ExecutionLane] = {}
        self._store, self._bury = store, bury
        self._batch = store.batch()
        self._writing: asyncio.Future[None] | None = None
        self._steps: list[Advance] = []
        self._goals: dict[int, tuple[int, int]] = {}
        """By partition, an end of its events, and before which offset executions had been read by then."""

    async def take(self, partitions: Sequence[int]) -> list[int]:
        """Make partitions ours as far as they are free, from where the tables stand. Only while nothing is written."""
        taken = await asyncio.to_thread(self._store.acquire, partitions)
        if taken:
            stand = await asyncio.to_thread(self._store.stand)
            events, executions = self._store.events_topic, self._store.executions_topic
            for number in taken:
                self.lanes[number] = EventLane(events, number, stand[application_name(events, number)])
                self.executions[number] = ExecutionLane(number, stand[application_name(executions, number)])
        return taken

    def next_offsets(self) -> dict[TopicPartition, int]:
        """Where to read each partition from."""
        events, executions = self._store.events_topic, self._store.executions_topic
        starts = {TopicPartition(events, lane.partition): lane.next_offset for lane in self.lanes.values()}
        return starts | {TopicPartition(executions, lane.partition): lane.next_offset for lane in self.executions.values()}

    def saw_ends(self, ends: Mapping[TopicPartition, int], asked_ms: float) -> None:
        """Ends of partitions, told to a question that was asked after everything here was read. An order is on the log before its
        attempts: once the events before such an end are in the tables, none is on its way for the attempts that were here."""
        for (topic, number), end in ends.items():
            if topic == self._store.events_topic:
                lane, executions = self.lanes[number], self.executions[number]
                lane.saw_end(end, asked_ms)
                goal, before = self._goals.setdefault(number, (end, executions.next_offset))
                if lane.is_through(goal):
                    executions.wait_no_more(before)
                    del self._goals[number]

    @property
    def full(self) -> bool:
        """Whether reading should wait until a batch has come home."""
        return self._batch.events >= BATCH_EVENTS and self._writing is not None

    @property
    def waiting(self) -> bool:
        """Whether something is ready to be written."""
        return self._batch.events > 0 or any(lane.waiting for lane in self.lanes.values())

    def feed(self, records: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Take what was read: accepted rounds into the batch, executions to their lanes."""
        for partition, found in records.items():
            if partition.topic == self._store.events_topic:
                self._batch.add_all(self.lanes[partition.partition].feed(found))
            else:
                self.executions[partition.partition].arrive(found)

    async def make_room(self) -> None:
        """The batch is full: prepare it while the one before is written, wait for that one, then begin to write."""
        if self._writing is not None and not self._writing.done():
            with suppress(*UNWRITABLE):  # writing finds it again, and the record
                self._batch.trades.prepare()
        await self.settle()
        await self.hand_over()

    async def hand_over(self) -> None:
        """Begin to write what was fed, if there is something and nobody writes."""
        if self._writing is not None and self._writing.done():
            await self.settle()
        if self._writing is None:
            ready = [lane for lane in self.lanes.values() if lane.waiting]
            busy = [lane for lane in self.executions.values() if lane.busy]
            if ready or busy:
                self._begin(ready, busy)

    def _begin(self, ready: list[EventLane], busy: list[ExecutionLane]) -> None:
        steps = [lane.begin() for lane in ready]
        work = Work(self._batch, steps, [lane.writing for lane in ready])
        self._batch = self._store.batch()
        self._writing = asyncio.ensure_future(self._write(work, busy))
        self._steps = steps

    async def _write(self, work: Work, busy: list[ExecutionLane]) -> None:
        with meters.BATCH_SECONDS.time():
            await asyncio.to_thread(self._store.apply, work, busy, self._bury())
        meters.BATCH_EVENTS.observe(work.batch.events)
        meters.EVENTS.inc(work.batch.events)

    async def settle(self) -> None:
        """Wait for the batch under way, if there is one; its steps are then behind us."""
        if self._writing is not None:
            await self._writing
            for step in self._steps:
                self.lanes[step.partition].written(step)
            self._writing, self._steps = None, []

    async def end(self) -> None:
        """A batch under way ends first, one way or the other; then the session."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await asyncio.to_thread(self._store.close)
