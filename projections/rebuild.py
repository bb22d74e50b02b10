"""Rebuild the read models from the log while they are read and written: a plan by default, a new generation when applied.

A generation is filled from offset 0 beside the live one, up to where the live one stands; both are compared at one position of every
partition; then, with the projectors held for a moment, the rest is filled in, the rows of older code are carried over and the tables
change places. Killed at any point, it goes on where it was. The generation before stays for `rollback`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg
from aiokafka import TopicPartition

from engine.config import Settings
from engine.errors import ConfigInvalid, RemoraError
from engine.log.consume import open_consumer
from engine.topology import EVENTS, EXECUTIONS, Topic
from projections import generations
from projections.compare import Difference, differences
from projections.filling import Targets, fill, fill_process, sample_rate
from projections.recorder import application_name
from projections.sql import load
from projections.staging import Conn, open_connection

TRIES: Final = 20
"""Swaps that find a reader's lock in their way are tried again."""
LOOK_S: Final = 0.5


class TablesDiffer(RemoraError):
    """The rebuilt generation is not equal to the live one; nothing was swapped."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far filling is: offsets done and wanted, and how long the rest will take."""

    done: int
    total: int
    seconds: float
    remaining_s: float | None


@dataclass(slots=True)
class Report:
    """What a rebuild found and did. `records` counts offsets of events and executions; `estimate_s` comes from a timed sample."""

    generation: int
    targets: Targets
    records: int = 0
    estimate_s: float = 0.0
    seconds: float = 0.0
    fill_seconds: float = 0.0
    complete_seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    compared: bool = False
    swapped: bool = False
    held_ms: float = 0.0
    legacy_rows: int = 0


Watch = Callable[[Progress], None]


def connect(settings: Settings) -> Conn:
    """The owner's connection."""
    return open_connection(settings.database_url.get_secret_value(), autocommit=True, options="-c timezone=UTC")


async def plan(settings: Settings) -> Report:
    """What a rebuild would read, without touching anything; refuses what `rebuild` would refuse."""
    with connect(settings) as conn:
        generations.check_alone(conn)
        live, previous = generations.stand(conn)
        targets = live_targets(conn, settings)
        done = _done(conn, settings, generations.schema_name(max(live, previous or 0) + 1))
    await _check_whole(settings)
    report = Report(max(live, previous or 0) + 1, targets)
    report.records = sum(targets.values()) - sum(done.get(key, 0) for key in targets)
    report.estimate_s = report.records / await sample_rate(settings, targets) / (os.cpu_count() or 1)
    return report


async def rebuild(settings: Settings, until_ms: int | None = None, accept: bool = False, watch: Watch = lambda _: None) -> Report:
    """Fill, compare and swap. `until_ms`: fill only what was appended by then, and leave the generation in its schema, for looking at.
    `accept`: swap although the generations differ (new columns, rows that were changed by hand)."""
    report = await plan(settings)
    begun = time.monotonic()
    with connect(settings) as conn:
        schema = generations.schema_name(report.generation)
        if until_ms is not None:
            report.targets = await _targets_at(settings, report.targets, until_ms)
        if not generations.exists(conn, schema):
            generations.create(conn, schema)
        await _fill_parallel(settings, conn, schema, report.targets, until_ms is None, watch)
        report.fill_seconds = time.monotonic() - begun
        with connect(settings) as other:
            await asyncio.to_thread(generations.complete, [conn, other], schema)
        report.complete_seconds = time.monotonic() - begun
        if until_ms is None:
            await _fill_rest(settings, conn, schema)
            await _compare(settings, conn, schema, report)
            if report.differences and not accept:
                raise TablesDiffer("; ".join(map(str, report.differences)) + ". Look at them, then repeat with --accept.")
            await _swap(settings, conn, report)
        report.seconds = time.monotonic() - begun
    return report


async def rollback(settings: Settings) -> Report:
    """Make the generation before live again, after it has caught up."""
    with connect(settings) as conn:
        generations.check_alone(conn)
        _, previous = generations.stand(conn)
        if previous is None or not generations.exists(conn, generations.schema_name(previous)):
            raise ConfigInvalid("There is no generation to go back to.")
        report = Report(previous, live_targets(conn, settings))
        await _fill_rest(settings, conn, generations.schema_name(previous))
        await _swap(settings, conn, report)
    return report


def live_targets(conn: Conn, settings: Settings) -> Targets:
    """Where the live tables stand: never is another generation filled further."""
    return _done(conn, settings, "public")


def _done(conn: Conn, settings: Settings, schema: str) -> Targets:
    if schema != "public" and not generations.exists(conn, schema):
        return {}
    rows = conn.execute(f"SELECT application_name, notification_id FROM {schema}.projection_positions").fetchall()
    stand: dict[str, int | None] = dict(rows)
    return {
        (topic.name, number): stand.get(application_name(settings.topic(topic), number)) or 0 for topic, number in _partitions(settings)
    }


def _partitions(settings: Settings) -> list[tuple[Topic, int]]:
    return [(topic, number) for topic in (EVENTS, EXECUTIONS) for number in range(settings.partitions)]


async def _check_whole(settings: Settings) -> None:
    """A log that has lost its beginning cannot give the tables again."""
    partitions = [TopicPartition(settings.topic(topic), number) for topic, number in _partitions(settings)]
    async with open_consumer(settings) as consumer:
        begins = await consumer.beginning_offsets(partitions)  # type: ignore[no-untyped-call]
    lost = sorted(f"{partition.topic}[{partition.partition}] begins at {offset}" for partition, offset in begins.items() if offset > 0)
    if lost:
        raise ConfigInvalid(f"The log no longer begins at 0, so the tables cannot be rebuilt from it: {', '.join(lost)}.")


async def _targets_at(settings: Settings, targets: Targets, until_ms: int) -> Targets:
    """The offsets of the first records that were appended after a time, but never behind the live tables."""
    names = {
        TopicPartition(settings.topic(topic), number): (topic.name, number)
        for topic in (EVENTS, EXECUTIONS)
        for number in range(settings.partitions)
    }
    async with open_consumer(settings) as consumer:
        found = await consumer.offsets_for_times(dict.fromkeys(names, until_ms + 1))  # type: ignore[no-untyped-call]
    return {key: min(targets[key], found[name].offset) if found.get(name) else targets[key] for name, key in names.items()}


async def _fill_parallel(settings: Settings, conn: Conn, schema: str, targets: Targets, as_live: bool, watch: Watch) -> None:
    """Worker processes, partitions dealt out; this process only looks how far they are."""
    done = _done(conn, settings, schema)
    left = {number for (_, number), end in targets.items() if end > done.get((_, number), 0)}
    if not left:
        return
    workers = min(len(left), os.cpu_count() or 1)
    shares: list[Targets] = [{} for _ in range(workers)]
    for turn, number in enumerate(sorted(left)):
        shares[turn % workers] |= {key: end for key, end in targets.items() if key[1] == number}
    loop, begun, first = asyncio.get_running_loop(), time.monotonic(), sum(done.values())
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = [loop.run_in_executor(pool, fill_process, settings, schema, share, as_live, os.getpid()) for share in shares]
        while not all(task.done() for task in running):
            await asyncio.wait(running, timeout=LOOK_S)
            watch(_progress(sum(_done(conn, settings, schema).values()), sum(targets.values()), first, time.monotonic() - begun))
        await asyncio.gather(*running)


def _progress(done: int, total: int, first: int, seconds: float) -> Progress:
    rate = (done - first) / seconds if seconds else 0.0
    return Progress(done, total, seconds, max(0, total - done) / rate if rate else None)


async def _fill_rest(settings: Settings, conn: Conn, schema: str) -> None:
    """Catch up with the live tables, which move on meanwhile."""
    await fill(settings, schema, live_targets(conn, settings), as_live=True)


@asynccontextmanager
async def _held(settings: Settings, conn: Conn, schema: str) -> AsyncIterator[None]:
    """The live tables stand still (each projector waits before its next batch) and the other generation stands where they do."""
    with conn.transaction():
        conn.execute(load("generations.sql")["hold"])
        await fill(settings, schema, live_targets(conn, settings), as_live=True)
        generations.drop_months(conn, schema)
        conn.execute(f"SET LOCAL lock_timeout = {generations.SWAP_WAIT_MS}")
        yield


async def _compare(settings: Settings, conn: Conn, schema: str, report: Report) -> None:
    """Both sides at one position: the snapshot is taken while everything stands still, the reading is done while it goes on."""
    with connect(settings) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with reader.transaction():
            async with _held(settings, conn, schema):
                reader.execute("SELECT 1 FROM public.projection_generation")
            report.differences = await asyncio.to_thread(differences, reader, schema)
            report.compared = True


async def _swap(settings: Settings, conn: Conn, report: Report) -> None:
    schema = generations.schema_name(report.generation)
    for left in reversed(range(TRIES)):
        begun = time.monotonic()
        try:
            async with _held(settings, conn, schema):
                report.legacy_rows = generations.carry_over(conn, schema)
                generations.swap(conn, report.generation)
            report.swapped, report.held_ms = True, (time.monotonic() - begun) * 1000
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if not left:
                raise
            await asyncio.sleep(0.2)
