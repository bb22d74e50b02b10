"""Answers of the API: what is in them, filters, pages, freshness, and errors that say what was wrong."""

from __future__ import annotations

import asyncio
import base64
import json
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from api.app import build
from api.reading import freshness_of
from engine.config import Settings
from engine.domain.events import CopiesSkipped, CopySkipped
from projections.reads import ReadModels
from tests.logbook import START_MS, admitted, configured, copied, decided, ended, followed, order, signal
from tests.tables import Tables


def fill(tables: Tables, signals: int = 3) -> None:
    """Signals that f copies, g skips and h skips in a group."""
    for name in ("f", "g", "h"):
        tables.tell(0, configured(name), followed(name))
    for number in range(signals):
        told, at = signal(f"s-{number}", detected_at=START_MS + number), START_MS + number * 1000
        placed = order("f", told.signal_id)
        skip: dict[str, Any] = {
            "signal_id": told.signal_id,
            "whale_id": "whale-a",
            "symbol": told.symbol,
            "at": at,
            "originator_version": 1,
        }
        tables.tell(
            0,
            admitted(0, told, number, at=at),
            copied("f", placed, signal_id=told.signal_id, at=at),
            CopySkipped(originator_id="g", reason="max_exposure", limit="100", value="120.5", config_version=2, **skip),
            CopiesSkipped(originator_id="shard-0", reason="cooldown", followers=(("h", 2),), **skip),
            decided(0, told.signal_id, followers=3, copied=1),
            ended(placed),
        )
        tables.tell(1, admitted(1, told, number), decided(1, told.signal_id))


async def get(http: httpx.AsyncClient, path: str, expected: int = 200, /, **query: Any) -> Any:
    """The body of an answer with the expected status."""
    answer = await http.get(path, params=query)
    assert answer.status_code == expected, answer.text
    kind = "application/json" if expected == 200 else "application/problem+json"
    assert answer.headers["content-type"] == kind, answer.text
    return answer.json()


async def test_signals(http: httpx.AsyncClient, tables: Tables) -> None:
    fill(tables)
    body = await get(http, "/v1/signals")
    assert [item["signal_id"] for item in body["items"]] == ["s-2", "s-1", "s-0"]
    first = body["items"][0]
    assert (first["status"], first["quantity"], first["followers"], first["copied"]) == ("PROCESSED", "1.5", 3, 1)
    assert first["id"].isdigit(), "bigints are strings: JavaScript would round them"
    assert body["freshness"]["position"] == {"0": tables.positions[0].next_offset, "1": tables.positions[1].next_offset}
    assert (await get(http, "/v1/signals/s-1"))["item"]["signal_id"] == "s-1"
    for query, count in (({"status": "PROCESSED"}, 3), ({"status": "PENDING"}, 0), ({"whale": "whale-a"}, 3), ({"whale": "z"}, 0)):
        assert len((await get(http, "/v1/signals", **query))["items"]) == count, query
    assert len((await get(http, "/v1/signals", priority="medium", source="whale", symbol="BTC/USDC:USDC"))["items"]) == 3


async def test_why_not_copied(http: httpx.AsyncClient, tables: Tables) -> None:
    fill(tables, 1)
    found = {item["follower_id"]: item for item in (await get(http, "/v1/decisions", signal="s-0"))["items"]}
    assert (found["f"]["outcome"], found["f"]["final_quote"], found["f"]["inputs"]) == ("copied", "120", {"trade_size_usdt": "120"})
    assert [found["g"][key] for key in ("outcome", "reason", "limit", "value")] == ["skipped", "max_exposure", "100", "120.5"]
    assert (found["h"]["reason"], found["h"]["quantity"]) == ("cooldown", None)
    for query, count in (({"follower": "g"}, 1), ({"outcome": "skipped"}, 2), ({"reason": "cooldown"}, 1), ({"signal": "none"}, 0)):
        assert len((await get(http, "/v1/decisions", **query))["items"]) == count, query


async def test_trades_and_positions(http: httpx.AsyncClient, tables: Tables) -> None:
    fill(tables, 2)
    trades = (await get(http, "/v1/trades", follower="f", status="filled"))["items"]
    assert [item["cause"] for item in trades] == ["s-1", "s-0"]
    assert (trades[0]["filled"], trades[0]["fee_quote"], trades[0]["follower_id"]) == ("0.002", "0.06", "f")
    assert (await get(http, f"/v1/trades/{trades[0]['command_id']}"))["item"] == trades[0]
    for query, count in (
        ({"signal": "s-1"}, 1),
        ({"follower": "g"}, 0),
        ({"exchange": "bybit"}, 0),
        ({"kind": "open", "whale": "whale-a"}, 2),
    ):
        assert len((await get(http, "/v1/trades", **query))["items"]) == count, query
    [lot] = (await get(http, "/v1/positions", follower="f", status="open"))["items"]
    assert (lot["quantity"], lot["entry_price"], lot["whale_id"]) == ("0.004", "60000.000000000000", "whale-a")
    assert (lot["unrealised_pnl"], lot["mark_price"], lot["mark_age_ms"]) == (None, None, None)
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO market_marks VALUES (%s, %s, 61000, now() - interval '7 s', 0)", [lot["exchange"], lot["symbol"]])
    [lot] = (await get(http, "/v1/positions", follower="f"))["items"]
    assert Decimal(lot["unrealised_pnl"]) == 4 and Decimal(lot["mark_price"]) == 61000 and lot["mark_age_ms"] >= 7000
    assert (await get(http, "/v1/positions", status="closed"))["items"] == []


@pytest.mark.parametrize("path", ["/v1/signals", "/v1/decisions", "/v1/trades", "/v1/positions"])
async def test_pages_meet_without_gap_or_overlap(http: httpx.AsyncClient, tables: Tables, path: str) -> None:
    fill(tables, 5)
    whole = (await get(http, path))["items"]
    assert whole
    joined, cursor = [], None
    while True:
        body = await get(http, path, limit=2, **({"cursor": cursor} if cursor else {}))
        joined += body["items"]
        cursor = body["next"]
        if cursor is None:
            break
        assert len(body["items"]) == 2
    assert joined == whole


async def test_queue(http: httpx.AsyncClient, tables: Tables) -> None:
    fill(tables, 1)
    for number, priority in enumerate(("low", "high")):
        tables.tell(0, admitted(0, signal(priority, priority=priority), 10 + number, held="paused"))
    body = await get(http, "/v1/queue")
    assert body["waiting"] == {"PENDING": {"high": 1, "low": 1}, "PROCESSING": {}}
    assert [item["signal_id"] for item in body["next_up"]] == ["high", "low"]
    assert body["oldest_pending_at"] == "2026-05-28T20:26:40Z"
    assert [item["held"] for item in (await get(http, "/v1/queue", min_priority="high"))["next_up"]] == ["paused"]


async def test_health_says_how_fresh_the_tables_are(http: httpx.AsyncClient, tables: Tables) -> None:
    assert (await http.get("/livez")).json() == {"status": "alive"}
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "stale"), "nobody has looked yet"
    tables.store.note_lag([(f"follower.events.v1[{shard}]", 9, 1.5) for shard in (0, 1)])
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["status"], answer.json()["kafka"]) == (503, "ready", False), "there is no broker here"
    assert 1500 <= answer.json()["freshness"]["age_ms"] < 30_000
    body = await get(http, "/v1/health")
    assert [(row["partition"], row["end_offset"], row["lag_seconds"]) for row in body["partitions"]] == [(0, 9, 1.5), (1, 9, 1.5)]
    tables.store.note_lag([("follower.events.v1[1]", 9, 31.0)])
    assert (await http.get("/readyz")).json()["status"] == "stale", "too far behind"
    assert (await get(http, "/v1/lag"))["lag_seconds"] == 31.0


def test_freshness_of_nothing() -> None:
    assert freshness_of([]).age_ms is None


async def test_reading_your_own_write(http: httpx.AsyncClient, tables: Tables) -> None:
    """A read waits until the record is in the tables; a broadcast source must have passed every shard."""
    waiting = asyncio.create_task(get(http, "/v1/signals", min_position="s/0/0"))
    await asyncio.to_thread(tables.tell, 0, admitted(0, signal()))
    assert not waiting.done(), "shard 1 has not seen it"
    await asyncio.to_thread(tables.tell, 1, admitted(1, signal()))
    assert [item["signal_id"] for item in (await waiting)["items"]] == ["s-1"]
    own = {"min_position": "f/1/0"}
    waiting = asyncio.create_task(get(http, "/v1/trades", **own))
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        connection.execute("UPDATE projection_positions SET sources = '{\"f/1\": 1}' WHERE application_name = 'follower.events.v1[1]'")
    assert (await waiting)["items"] == []


async def test_what_is_not_visible_in_time(http: httpx.AsyncClient, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.reading.WAIT_S", 0.05)
    body = await get(http, "/v1/signals", 503, min_position="s/0/99")
    assert (body["type"], body["status"]) == ("not-visible-yet", 503)


def forged(value: Any) -> str:
    """A cursor with other values than ours."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    ("path", "query", "status", "kind"),
    [
        ("/v1/signals/none", {}, 404, "not-found"),
        ("/v1/trades/none", {}, 404, "not-found"),
        ("/v1/signals", {"cursor": "!"}, 400, "bad-cursor"),
        ("/v1/signals", {"cursor": forged([1])}, 400, "bad-cursor"),
        ("/v1/signals", {"cursor": forged(["2026-01-01T00:00:00", 1])}, 400, "bad-cursor"),
        ("/v1/signals", {"cursor": forged(["2026-01-01T00:00:00Z", 1 << 64])}, 400, "bad-cursor"),
        ("/v1/signals", {"cursor": forged(["2026-01-01T00:00:00Z", True])}, 400, "bad-cursor"),
        ("/v1/signals", {"cursor": forged({"a": 1})}, 400, "bad-cursor"),
        ("/v1/positions", {"cursor": forged([None])}, 400, "bad-cursor"),
        ("/v1/signals", {"limit": 501}, 422, "request-validation-failed"),
        ("/v1/signals", {"limit": 0}, 422, "request-validation-failed"),
        ("/v1/signals", {"status": "DONE"}, 422, "request-validation-failed"),
        ("/v1/signals", {"symbol": "a\x00b"}, 400, "bad-value"),
        ("/v1/trades", {"follower": "x" * 200}, 422, "request-validation-failed"),
        ("/v1/trades", {"min_position": "s/0"}, 400, "bad-position"),
        ("/v1/trades", {"min_position": "q/0/1"}, 400, "bad-position"),
        ("/v1/trades", {"min_position": "s/-1/1"}, 400, "bad-position"),
        ("/v1/trades", {"min_position": "f/2/0"}, 400, "bad-position"),
        ("/v1/nothing", {}, 404, None),
        ("/v1/signals/%2e%2e%2fsecret", {}, 404, None),
    ],
)
async def test_errors_are_problems(http: httpx.AsyncClient, path: str, query: dict[str, Any], status: int, kind: str | None) -> None:
    body = await get(http, path, status, **query)
    assert body["status"] == status and body["title"]
    assert kind is None or body["type"] == kind


async def test_hostile_text_finds_nothing(http: httpx.AsyncClient, tables: Tables) -> None:
    fill(tables, 1)
    for text in ("' OR 1=1 --", "%(limit)s", "{filters}", "<script>", "\\N", "😀"):
        for path, name in (("/v1/trades", "follower"), ("/v1/trades", "signal"), ("/v1/signals", "symbol"), ("/v1/decisions", "reason")):
            assert (await get(http, path, **{name: text}))["items"] == [], text


async def test_postgres_away_is_a_problem_with_a_hint(tables: Tables) -> None:
    away = Settings(database_url="postgresql://nobody@127.0.0.1:1/none", partitions=2)  # type: ignore[arg-type]
    app = build(away, ReadModels(away, wait_s=0.2))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.get("/v1/signals", headers={"Authorization": f"Bearer rmk_{'0' * 12}_{'x' * 43}"})
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["type"]) == (503, "1", "unavailable")
        assert (await client.get("/livez")).status_code == 200
