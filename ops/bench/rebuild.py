"""`remora bench rebuild`: every table filled again from offset 0 while readers read and events arrive.

Enters: how many events. Leaves: one JSON object: `events_per_s` counts from the first event to a complete generation (all keys and
indexes), `reader_errors` and `missing_after_swap` are what readers and late events have suffered, `checksums_equal` what the
comparison said. The raw side copies the very same rows into empty tables with the same keys and indexes, afterwards and with no reader.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Final

import psycopg

from engine.config import Settings
from ops.bench.eventlog import REPORTS, EventLog
from ops.bench.projection import PACED_FOLLOWERS, caught_up, quantile, raw_copy, stack, write_log
from projections.queries import listing, query
from projections.rebuild import Report, rebuild
from projections.staging import Conn

READERS: Final = 4
READ_EVERY_S: Final = 0.1
ARRIVING: Final = 500
"""Events a second that arrive meanwhile."""


class Reader(threading.Thread):
    """A dashboard on one connection: the queue, newest orders, open positions, a few times a second."""

    def __init__(self, dsn: str) -> None:
        super().__init__(daemon=True)
        self._dsn, self._over = dsn, threading.Event()
        self.errors: list[str] = []
        self.times_ms: list[float] = []

    def run(self) -> None:
        """Read until told to stop."""
        newest, parameters = listing("list_trades", {}, None, 50)
        with psycopg.connect(self._dsn, autocommit=True, prepare_threshold=2) as connection:
            while not self._over.wait(READ_EVERY_S):
                begun = time.monotonic()
                try:
                    connection.execute(newest, parameters).fetchall()
                    connection.execute(query("pending_signals"), {"lowest": "low", "limit": 20}).fetchall()
                    connection.execute(query("open_positions"), {"user_id": 1}).fetchall()
                except psycopg.Error as error:
                    self.errors.append(str(error))
                self.times_ms.append((time.monotonic() - begun) * 1000)

    def end(self) -> None:
        """Stop and wait."""
        self._over.set()
        self.join()


def bench_rebuild(events: int = 2_000_000, reports: int = REPORTS) -> dict[str, Any]:
    """Run it on a broker and a Postgres of its own, beside the real projector process. `reports` of every account between two signals."""
    with stack() as (settings, supervisor, conn):
        log = asyncio.run(write_log(settings, events, reports))
        supervisor.start("projector")
        caught_up_first = time.monotonic()
        supervisor.wait_ready("projector")
        caught_up(conn, settings, log.ends())
        live_s = time.monotonic() - caught_up_first
        before, kinds = log.written, dict(log.kinds.most_common())
        readers = [Reader(settings.database_url.get_secret_value()) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        report = asyncio.run(rebuild_under_load(settings, log))
        caught_up(conn, settings, log.ends())
        for reader in readers:
            reader.end()
        missing = missing_rows(conn, log)
        supervisor.stop("projector")
        rows, raw_seconds = raw_copy(conn)
    value, raw = before / report.complete_seconds, log.written / raw_seconds
    times = [each for reader in readers for each in reader.times_ms]
    return {
        "value": round(value),
        "events_per_s": round(value),
        "unit": "events/s",
        "raw": round(raw),
        "ratio": round(value / raw, 3),
        "raw_rows_per_s": round(rows / raw_seconds),
        "events": before,
        "kinds": kinds,
        "fill_events_per_s": round(before / report.fill_seconds),
        "fill_s": round(report.fill_seconds, 2),
        "index_s": round(report.complete_seconds - report.fill_seconds, 2),
        "total_s": round(report.seconds, 2),
        "held_ms": round(report.held_ms),
        "first_projection_s": round(live_s, 2),
        "checksums_equal": report.compared and not report.differences,
        "swapped": report.swapped,
        "arrived": log.written - before,
        "missing_after_swap": missing,
        "readers": READERS,
        "reads": len(times),
        "reader_errors": sum(len(reader.errors) for reader in readers),
        "read_p99_ms": round(quantile(times, 0.99), 1),
    }


async def rebuild_under_load(settings: Settings, log: EventLog) -> Report:
    """The rebuild, with events that arrive until it is over."""
    over = asyncio.Event()
    arriving = asyncio.create_task(arrive(log, over))
    report = await rebuild(settings)
    over.set()
    await arriving
    return report


async def arrive(log: EventLog, over: asyncio.Event) -> None:
    """About `ARRIVING` events a second."""
    await log.reopen()
    begun, first = time.monotonic(), log.written
    while not over.is_set():
        await log.signal(PACED_FOLLOWERS)
        ahead = (log.written - first) / ARRIVING - (time.monotonic() - begun)
        await asyncio.sleep(max(0.0, ahead))
    await log.end()


def missing_rows(conn: Conn, log: EventLog) -> int:
    """Orders, decisions and signals of the log that the tables do not have, and the other way round."""
    row = conn.execute("SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM copy_decisions), (SELECT count(*) FROM whale_signals)")
    found = row.fetchone()
    assert found is not None
    return sum(abs(wanted - have) for wanted, have in zip((log.orders, log.decisions, log.signals), found, strict=True))
