"""`remora bench projection`: events into Postgres, exactly once, against a raw COPY of the same rows; and how late they are.

Enters: how many events, the pace. Leaves: one JSON object. The projector is the real process; the raw side copies the very same rows into
logged tables with the same columns, keys, indexes and foreign keys, from memory, over one connection. The events are the ones that make
rows (decisions, ends of orders, the report after each): reports that only replace each other would cost a COPY nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg

from engine.config import Settings
from engine.log.topics import ensure_topics
from engine.topology import EVENTS
from ops.bench.eventlog import EventLog
from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.postgres import EmbeddedPostgres
from ops.processes import Supervisor
from projections import generations
from projections.migrate import upgrade
from projections.schema import PROJECTED
from projections.staging import Conn

RAW: Final = "generation_99"
"""Where the raw side copies to: a number that no rebuild reaches here."""
PARTITIONS: Final = (
    "SELECT relname, inhparent::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relnamespace = 'public'::regnamespace"
)
FOLLOWERS: Final = 2_000
PACED_FOLLOWERS: Final = 12
"""Followers a shard that decide on each signal of the paced part."""
POLL_S: Final = 0.002
DEADLINE_S: Final = 600.0


def bench_projection(events: int = 1_000_000, pace: int = 2_000, paced_s: float = 20.0) -> dict[str, Any]:
    """Run it on a broker and a Postgres of its own (fsync on)."""
    with stack() as (settings, supervisor, conn):
        log = asyncio.run(write_log(settings, events))
        supervisor.start("projector")
        supervisor.wait_ready("projector")
        begun, first = time.monotonic(), projected_offsets(conn, settings)
        caught_up(conn, settings, log.ends())
        seconds = time.monotonic() - begun
        lags = asyncio.run(paced(settings, conn, log, pace, paced_s))
        once = counted_once(conn, log)
        supervisor.stop("projector")
        rows, raw_seconds = raw_copy(conn)
    share = 1 - sum(first.values()) / max(1, sum(log.ends().values()))
    value, raw = events * share / seconds, log.written / raw_seconds
    return {
        "value": round(value),
        "unit": "events/s",
        "raw": round(raw),
        "raw_rows_per_s": round(rows / raw_seconds),
        "ratio": round(value / raw, 3),
        "events": log.written,
        "kinds": dict(log.kinds.most_common()),
        "rows": rows,
        "exactly_once": once,
        "pace": pace,
        "lag_p50_ms": round(quantile(lags, 0.5), 1),
        "lag_p99_ms": round(quantile(lags, 0.99), 1),
    }


@contextmanager
def stack() -> Iterator[tuple[Settings, Supervisor, Conn]]:
    """A broker, a migrated Postgres, topics, and a supervisor for the projector."""
    with TemporaryDirectory(prefix="remora-bench-") as folder, EmbeddedKafka() as broker, EmbeddedPostgres() as server:
        settings = Settings(kafka=broker.bootstrap, database_url=server.dsn)
        asyncio.run(ensure_topics(settings))
        upgrade(server.dsn)
        env = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "DATABASE_URL": server.dsn}
        with Supervisor(Path(folder), env) as supervisor, psycopg.connect(server.dsn, autocommit=True) as conn:
            yield settings, supervisor, conn


async def write_log(settings: Settings, events: int, reports: int = 0) -> EventLog:
    """About `events` events, all orders ended; `reports` of every account between two signals."""
    log = EventLog(settings, FOLLOWERS, reports)
    await log.begin()
    while log.written < events:
        await log.signal()
    await log.end()
    return log


def projected_offsets(conn: Conn, settings: Settings) -> dict[int, int]:
    """How far each partition of the events is in the tables."""
    rows = conn.execute("SELECT partition, notification_id FROM projection_positions WHERE topic = %s", [settings.topic(EVENTS)])
    return dict(rows.fetchall())


def caught_up(conn: Conn, settings: Settings, ends: dict[int, int]) -> None:
    """Wait until everything before these offsets is in the tables."""
    until = time.monotonic() + DEADLINE_S
    while projected_offsets(conn, settings) != ends:
        assert time.monotonic() < until, "the projector does not catch up"
        time.sleep(0.01)


async def paced(settings: Settings, conn: Conn, log: EventLog, pace: int, seconds: float) -> list[float]:
    """Write `pace` events a second for a while; gives for each round the ms from its ack until a reader sees its rows."""
    await log.reopen()
    await log.signal(PACED_FOLLOWERS)
    before = log.written
    await log.signal(PACED_FOLLOWERS)
    interval = (log.written - before) / pace
    lags: list[float] = []
    acked: dict[int, list[tuple[int, float]]] = {number: [] for number in log.ends()}
    stop = asyncio.Event()
    watching = asyncio.create_task(asyncio.to_thread(watch, conn, settings, acked, lags, stop))
    begun = time.monotonic()
    turn = 0
    while (elapsed := time.monotonic() - begun) < seconds:
        await asyncio.sleep(max(0.0, turn * interval - elapsed))
        await log.signal(PACED_FOLLOWERS)
        now = time.monotonic()
        for number, end in log.ends().items():
            acked[number].append((end, now))
        turn += 1
    await log.end()
    stop.set()
    await watching
    await asyncio.to_thread(caught_up, conn, settings, log.ends())
    return lags


def watch(conn: Conn, settings: Settings, acked: dict[int, list[tuple[int, float]]], lags: list[float], stop: asyncio.Event) -> None:
    """Look at the positions again and again, as a reader would; a round is seen when its partition has passed its marker."""
    while not stop.is_set() or any(acked.values()):
        stand, now = projected_offsets(conn, settings), time.monotonic()
        for number, waiting in acked.items():
            while waiting and stand.get(number, 0) >= waiting[0][0]:
                lags.append((now - waiting.pop(0)[1]) * 1000)
        time.sleep(POLL_S)


def counted_once(conn: Conn, log: EventLog) -> bool:
    """Sums over the tables are exactly what was written."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM copy_decisions), (SELECT count(*) FROM whale_signals),"
        " (SELECT sum(version) FROM trades), (SELECT sum(version) FROM positions), (SELECT sum(filled) * 1000 FROM positions),"
        " (SELECT sum(version) FROM account_equity)"
    ).fetchone()
    orders = log.orders
    return row == (orders, log.decisions, log.signals, 2 * orders, 2 * orders, orders, log.kinds["EquityRecorded"])


def raw_copy(conn: Conn) -> tuple[int, float]:
    """COPY the rows of every table out, then into empty tables of the same making; gives rows and the seconds of the way in."""
    generations.create(conn, RAW)
    for table, parent in conn.execute(PARTITIONS).fetchall():
        year_month = table.removeprefix(parent + "_").replace("_", "-")
        if "-" in year_month and len(year_month) == 7:
            conn.execute("SELECT remora_month_partition(%s, %s, %s)", [RAW, parent, f"{year_month}-01"])
    generations.complete([conn], RAW)
    data = {table: _out(conn, table) for table in PROJECTED}
    rows = sum(text.count(b"\n") for text in data.values())
    begun = time.monotonic()
    for table, text in data.items():
        with conn.cursor().copy(f"COPY {RAW}.{table} FROM STDIN") as copy:
            for start in range(0, len(text), 1 << 17):
                copy.write(text[start : start + (1 << 17)])
    return rows, time.monotonic() - begun


def _out(conn: Conn, table: str) -> bytes:
    with conn.cursor().copy(f"COPY (SELECT * FROM {table}) TO STDOUT") as copy:
        return b"".join(bytes(block) for block in copy)


def quantile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
