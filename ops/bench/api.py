"""`remora bench api`: the ten most used reads over a million trades, beside the same SQL by psycopg; and the live feed with 500 clients.

Leaves one JSON object. `value` and `raw` are reads a second over all ten routes at equal concurrency, `ratio` the one by the other;
`p50_ms` and `p99_ms` are of 200 requests a second, all routes mixed; `sse_p99_ms` is from a signal's round on the log to its event at a
client. The API is the real process; the load comes from another one.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg
from pydantic import SecretStr

from engine.config import Settings
from engine.log.topics import ensure_topics
from ops.bench.api_seed import COPIES, FOLLOWERS, seed
from ops.bench.projection import quantile
from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.postgres import EmbeddedPostgres
from ops.processes import Supervisor
from projections.access import AccessStore
from projections.ids import user_id
from projections.migrate import upgrade
from projections.queries import listing, query
from projections.reads import ReadModels

TRADES: Final = 1_000_000
WORKERS: Final = 8
MOST_OPEN: Final = 32
RATE: Final = 200
PACED_S: Final = 20.0
ROUTE_S: Final = 2.0
WARM_S: Final = 0.5
VARIANTS: Final = 200
"""Different questions to each route."""
ROWS: Final = 50
"""Rows on a page; the API reads one more, to know whether there is a next page."""
CLIENTS: Final = 500
SIGNALS: Final = 100
EVERY_S: Final = 0.2
FREE: Final = {"REMORA_API_RATE": "1000000", "REMORA_API_BURST": "1000000", "REMORA_API_PORT": "0"}

Sql = list[tuple[str, dict[str, Any]]]
Route = Callable[[int], tuple[str, Sql]]


def _follower(number: int) -> str:
    return f"follower-{number * 7 % FOLLOWERS}"


def _page(name: str, path: str, filters: dict[str, Any]) -> tuple[str, Sql]:
    joint = "&" if "?" in path else "?"
    return f"{path}{joint}limit={ROWS}", [listing(name, filters, None, ROWS + 1)]


def _queue(number: int) -> tuple[str, Sql]:
    sql: Sql = [(query("queue_counts"), {}), (query("queue_done"), {"minutes": 60}), (query("queue_oldest"), {})]
    return "/v1/queue", [*sql, (query("pending_signals"), {"lowest": "low", "limit": 20})]


def _equity(number: int) -> tuple[str, Sql]:
    since = (datetime.now(UTC) - timedelta(days=1)).replace(microsecond=0)
    name, number = _follower(number), user_id(_follower(number))
    path, points = _page(
        "equity_page", f"/v1/followers/{name}/equity?since={since:%Y-%m-%dT%H:%M:%SZ}", {"user_id": number, "since": since.isoformat()}
    )
    return path, [listing("list_followers", {"user_id": number}, None, 2), *points]


def routes(signals: int) -> dict[str, Route]:
    """The ten: a path, and the statements behind it."""

    def signal(number: int) -> str:
        return f"signal-{number * 97 % signals}"

    def command(number: int) -> str:
        return md5(f"{signal(number)}/{number % COPIES}".encode(), usedforsecurity=False).hexdigest()

    def own(number: int) -> dict[str, Any]:
        return {"user_id": user_id(_follower(number))}

    return {
        "trades": lambda n: _page("list_trades", "/v1/trades", {}),
        "trades_of_follower": lambda n: _page("list_trades", f"/v1/trades?follower={_follower(n)}", own(n)),
        "trade": lambda n: (f"/v1/trades/{command(n)}", [(query("get_trade_by_key"), {"command_key": command(n)})]),
        "signals": lambda n: _page("list_signals", "/v1/signals", {}),
        "signal": lambda n: (f"/v1/signals/{signal(n)}", [(query("get_signal_by_key"), {"signal_key": signal(n)})]),
        "decisions_of_follower": lambda n: _page("list_decisions", f"/v1/decisions?follower={_follower(n)}", own(n)),
        "decisions_of_signal": lambda n: _page("list_decisions", f"/v1/decisions?signal={signal(n)}", {"signal_key": signal(n)}),
        "positions": lambda n: _page("list_positions", f"/v1/positions?follower={_follower(n)}&status=open", own(n) | {"status": "open"}),
        "equity": _equity,
        "queue": _queue,
    }


def _child(module: str, task: dict[str, Any]) -> Any:
    done = subprocess.run([sys.executable, "-m", module], input=json.dumps(task), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def _key(settings: Settings) -> str:
    async with ReadModels(settings) as models:
        return (await AccessStore(models).add_key("bench", ["read"])).secret.get_secret_value()


def _reads(settings: Settings, port: int, key: str, signals: int) -> dict[str, Any]:
    asked = {name: [route(number) for number in range(VARIANTS)] for name, route in routes(signals).items()}
    task = {
        "dsn": settings.database_url.get_secret_value(),
        "port": port,
        "key": key,
        "workers": WORKERS,
        "most_open": MOST_OPEN,
        "rate": RATE,
        "paced_s": PACED_S,
        "seconds": ROUTE_S,
        "warm_s": WARM_S,
        "routes": {name: {"api": [[path] for path, _ in pairs], "raw": [sql for _, sql in pairs]} for name, pairs in asked.items()},
    }
    found: dict[str, Any] = _child("ops.bench.read_load", task)
    return found


def _rates(side: str, found: dict[str, Any]) -> float:
    """Reads a second when all routes are asked equally often."""
    each: list[float] = [route[side]["seconds"] / route[side]["count"] for route in found["routes"].values()]
    return len(each) / sum(each)


def _told(route: dict[str, Any]) -> dict[str, Any]:
    value, raw = (route[side]["count"] / route[side]["seconds"] for side in ("api", "raw"))
    p99 = quantile(route["api"]["times_ms"], 0.99)
    return {"value": round(value), "raw": round(raw), "ratio": round(value / raw, 3), "p99_ms": round(p99, 2)}


def _measure(settings: Settings, supervisor: Supervisor, signals: int) -> dict[str, Any]:
    key = asyncio.run(_key(settings))
    port = supervisor.wait_ready("api")["port"]
    found = _reads(settings, port, key, signals)
    live = {"kafka": settings.kafka}
    sse = {"port": port, "key": key, "clients": CLIENTS, "signals": SIGNALS, "every_s": EVERY_S, "settings": live}
    times = _child("ops.bench.sse_load", sse)
    value, raw = _rates("api", found), _rates("raw", found)
    return {
        "value": round(value),
        "unit": "reads/s",
        "raw": round(raw),
        "ratio": round(value / raw, 3),
        "p50_ms": round(quantile(found["paced_ms"], 0.5), 2),
        "p99_ms": round(quantile(found["paced_ms"], 0.99), 2),
        "rate": RATE,
        "workers": WORKERS,
        "rows": ROWS,
        "routes": {name: _told(route) for name, route in found["routes"].items()},
        "sse_clients": CLIENTS,
        "sse_events": len(times),
        "sse_p50_ms": round(quantile(times, 0.5), 1),
        "sse_p99_ms": round(quantile(times, 0.99), 1),
    }


def bench_api(trades: int = TRADES) -> dict[str, Any]:
    """Run it on a broker and a Postgres of its own."""
    with TemporaryDirectory(prefix="remora-bench-") as folder, EmbeddedKafka() as broker, EmbeddedPostgres(fsync=False) as server:
        settings = Settings(kafka=broker.bootstrap, database_url=SecretStr(server.dsn))
        asyncio.run(ensure_topics(settings))
        upgrade(server.dsn)
        with psycopg.connect(server.dsn, autocommit=True) as conn:
            signals = seed(conn, settings, trades)
        env = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "DATABASE_URL": server.dsn} | FREE
        with Supervisor(Path(folder), env) as supervisor:
            supervisor.start("api")
            return {"trades": trades} | _measure(settings, supervisor, signals)
