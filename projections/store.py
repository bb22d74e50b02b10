"""The projector's side of Postgres: batches enter, rows and positions leave in one transaction, or nothing does.

One connection holds an advisory lock a partition: its owner alone projects it. When the connection ends, so do the locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import psycopg

from engine.log.reader import NO_DIGEST, AcceptedRound, Position
from engine.topology import EVENTS, EXECUTIONS
from projections.batch import Batch, Poison, empty_stages, make_stages
from projections.executions import Attempt, ExecutionLane, known_commands, write_attempts
from projections.marks import Marks
from projections.partitions import drop_months
from projections.positions import Lots
from projections.recorder import Advance, PositionRecorder, datastore, load_stand
from projections.sql import load
from projections.staging import Conn, Curs

LOCK_CLASS: Final = 0x52454D50
"""First half of the advisory locks of the live tables' partitions; other generations have their own."""
LIVE: Final = "public"
MOST_POISON: Final = 1000
"""More in one transaction are not bad records but a fault of ours: nothing is left out, the process ends."""
UNWRITABLE: Final = (psycopg.DataError, psycopg.IntegrityError, ValueError, ArithmeticError, AssertionError)
"""A row that the table does not take: the fault of the record, not of the world."""


@dataclass(slots=True)
class Work:
    """One transaction's worth: a batch, the steps that it makes, and the rounds that it came from, by shard."""

    batch: Batch
    steps: list[Advance]
    rounds: list[list[AcceptedRound]]


Bury = Callable[[str, Sequence[Poison]], None]
"""Takes records of a topic that are left out, before this is committed."""


class Store:
    """One session. `schema` is where the tables are: `public`, or a generation that is being rebuilt."""

    def __init__(self, dsn: str, shards: int, events_topic: str, executions_topic: str, schema: str = LIVE) -> None:
        self._shards, self._schema = shards, schema
        self._lock_class = LOCK_CLASS + int(schema.rpartition("_")[2] if schema != LIVE else 0)
        self.events_topic, self.executions_topic = events_topic, executions_topic
        self._recorder = PositionRecorder(datastore(dsn, schema))
        options = f"-c search_path={schema} -c timezone=UTC"
        if schema != LIVE:
            # What a power cut takes from a generation that nobody reads, its positions tell to fill again.
            options += " -c synchronous_commit=off"
        self._conn: Conn = psycopg.connect(dsn, autocommit=True, options=options, connect_timeout=10)
        self._oldest: datetime | None = None
        self._generation = 0
        self._lots: Lots = {}
        with self._conn.cursor() as cursor:
            make_stages(cursor)
            self._look_at_generation(cursor)

    def close(self) -> None:
        """End the session and its locks."""
        self._conn.close()

    def acquire(self, partitions: Iterable[int]) -> list[int]:
        """Take the partitions that nobody has; gives those that are ours now."""
        taken = []
        for partition in partitions:
            row = self._conn.execute(load("merges.sql")["take_partition"], [self._lock_class, partition]).fetchone()
            if row and row[0]:
                taken.append(partition)
        for topic in (self.events_topic, self.executions_topic):
            parameters = {"topic": topic, "partitions": taken, "digest": NO_DIGEST}
            self._conn.execute(load("merges.sql")["begin_positions"], parameters)
        return taken

    def stand(self) -> dict[str, Position]:
        """Positions by application name, of all partitions."""
        with self._conn.cursor() as cursor:
            return load_stand(cursor, [self.events_topic, self.executions_topic])

    def batch(self) -> Batch:
        """An empty batch for this session."""
        return Batch(self._shards, self._lots, self._oldest)

    def apply(self, work: Work, lanes: Sequence[ExecutionLane], bury: Bury) -> None:
        """Write a batch and what the execution lanes have ready; what cannot be written is buried."""
        for lane in lanes:
            lane.absorb()
        try:
            self._transact(work.batch, work.steps, lanes, bury)
        except UNWRITABLE:
            self._lots.clear()
            poison = [each for suspects in work.rounds for each in self._find_unwritable(suspects)]
            if not poison or len(poison) > MOST_POISON:
                raise
            self._transact(self._without(work.rounds, poison), work.steps, lanes, bury)

    def _without(self, rounds: list[list[AcceptedRound]], poison: list[Poison]) -> Batch:
        batch = self.batch()
        for of_shard in rounds:
            batch.add_all(of_shard, frozenset(each.offset for each in poison if each.partition == of_shard[0].shard))
        batch.poison += poison
        return batch

    def _transact(self, batch: Batch, steps: list[Advance], lanes: Sequence[ExecutionLane], bury: Bury) -> None:
        if self._schema != LIVE:
            # Several workers fill a generation, and each has its part of the same signals: none waits for another's whole batch.
            with self._conn.transaction(), self._conn.cursor() as cursor:
                batch.signals.insert(cursor)
        with self._conn.transaction(), self._conn.cursor() as cursor:
            self._hold_generation(cursor)
            held = steps + [Advance(self.executions_topic, lane.partition, lane.position.next_offset, lane.position) for lane in lanes]
            self._recorder.begin(cursor, held)
            batch.write(cursor)
            known = known_commands(cursor, lanes)
            ready = {lane.partition: lane.ready(known) for lane in lanes}
            write_attempts(cursor, [attempt for found in ready.values() for attempt in found])
            moved = [step for lane in lanes if (step := self._execution_step(lane, ready[lane.partition]))]
            self._recorder.advance(cursor, steps + moved)
            bury(EVENTS.name, batch.poison)
            bury(EXECUTIONS.name, [poison for lane in lanes for poison in lane.poison])
        for lane in lanes:
            lane.taken(len(ready[lane.partition]))

    def _hold_generation(self, cursor: Curs) -> None:
        """A rebuild that swaps generations waits for this transaction, and makes the next one wait; its own need no such hold."""
        if self._schema == LIVE:
            cursor.execute(load("merges.sql")["claim_generation"])
            self._look_at_generation(cursor)

    def _look_at_generation(self, cursor: Curs) -> None:
        cursor.execute(load("merges.sql")["oldest_month"])
        row = cursor.fetchone()
        assert row is not None, "not migrated"
        if row[0] != self._generation:
            # Other tables under the same names: what was remembered of the ones before may not be true of them.
            self._lots.clear()
        self._generation, self._oldest = row

    def _execution_step(self, lane: ExecutionLane, ready: list[Attempt]) -> Advance | None:
        target = lane.target(len(ready))
        if target.next_offset == lane.position.next_offset:
            return None
        return Advance(self.executions_topic, lane.partition, lane.position.next_offset, target)

    def _find_unwritable(self, suspects: list[AcceptedRound]) -> list[Poison]:
        """Try a partition's events one by one (on top of each other, then rolled back) and give those that the tables refuse."""
        found: list[Poison] = []
        with self._conn.transaction(force_rollback=True), self._conn.cursor() as cursor:
            for round_ in suspects:
                for event in round_.events:
                    single = Batch(self._shards, {}, self._oldest)
                    single.add(AcceptedRound(round_.shard, round_.epoch, round_.marker, round_.marker_offset, [event]))
                    try:
                        with self._conn.transaction():
                            single.write(cursor)
                            empty_stages(cursor)
                    except UNWRITABLE as error:
                        found.append(Poison(round_.shard, event[0], event[1], event[2], str(error).splitlines()[0]))
        return found

    def drop_months(self, keep: int) -> list[str]:
        """Let go of months that are older than the newest `keep`; gives their names. A reader in the way: not now."""
        try:
            with self._conn.transaction(), self._conn.cursor() as cursor:
                dropped = drop_months(cursor, keep)
                self._look_at_generation(cursor)
                return dropped
        except psycopg.errors.LockNotAvailable:
            return []

    def note_lag(self, lags: Iterable[tuple[str, int, float]]) -> None:
        """Write how far the ends are (application name, end offset, seconds): readers learn from it how fresh the tables are."""
        statement = load("merges.sql")["note_lag"]
        with self._conn.transaction(), self._conn.cursor() as cursor:
            for name, end_offset, seconds in sorted(lags):
                cursor.execute(statement, {"application_name": name, "end_offset": end_offset, "lag_seconds": round(seconds, 3)})

    def marks(self) -> Marks:
        """Marks behind those that are in the table."""
        row = self._conn.execute(load("merges.sql")["marks_from"]).fetchone()
        assert row is not None
        return Marks(row[0])

    def write_marks(self, marks: Marks) -> None:
        """Put what marks have ready into their table."""
        with self._conn.transaction(), self._conn.cursor() as cursor:
            marks.write(cursor)
        marks.written()


def step_of(topic: str, shard: int, read_from: int, position: Position, last: AcceptedRound) -> Advance:
    """An events partition's step: the last round brings the sources' high-water marks and the time."""
    sources = msgspec.json.encode(last.marker.sources).decode()
    return Advance(topic, shard, read_from, position, sources, last.marker.now)
