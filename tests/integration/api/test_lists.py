"""What the newer lists hold: whales, followers, accounts, profit, the equity curve in pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
from fastapi import FastAPI

from engine.topology import shard_of
from tests.integration.api.world import fill
from tests.logbook import admitted, configured, decided, signal
from tests.tables import Tables

EQUITY = "INSERT INTO account_equity VALUES (%(id)s, 'binanceusdm', 'f', 1000.5, 900, now(), now(), 1)"
MONTH = "SELECT remora_month_partition('public', 'equity_curve', '2026-05-01')"
CURVE = """
INSERT INTO equity_curve SELECT %(id)s, 'binanceusdm', timestamptz '2026-05-28T20:00:00Z' + make_interval(mins => 5 * n), 1000 + n, 900
FROM generate_series(0, 4) AS n
"""


async def get(http: httpx.AsyncClient, path: str, **query: Any) -> Any:
    """The body of a 200."""
    answer = await http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_whales_and_followers(http: httpx.AsyncClient, tables: Tables) -> None:
    fill(tables)
    [whale] = (await get(http, "/v1/whales"))["items"]
    assert (whale["whale_id"], whale["followers"], whale["last_signal"]) == ("whale-a", 2, "s-1")
    one = await get(http, "/v1/whales/whale-a", days=366)
    assert one["item"] == whale and [(row["status"], row["signals"], row["copied"]) for row in one["outcomes"]] == [("PROCESSED", 1, 2)]
    assert {item["follower_id"] for item in (await get(http, "/v1/followers", whale="whale-a"))["items"]} == {"f", "g"}
    assert (await get(http, "/v1/followers", whale="nobody"))["items"] == []
    first = await get(http, "/v1/followers", limit=1)
    second = await get(http, "/v1/followers", limit=1, cursor=first["next"])
    assert {item["follower_id"] for item in first["items"] + second["items"]} == {"f", "g"} and second["next"] is None
    page = await get(http, "/v1/followers/f")
    assert page["item"]["follows"] == 1 and [(row["whale_id"], row["auto_copy_enabled"]) for row in page["follows"]] == [("whale-a", True)]


async def test_accounts_profit_and_equity(http: httpx.AsyncClient, tables: Tables) -> None:
    fill(tables)
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        row = connection.execute("SELECT id FROM users WHERE follower_key = 'f'").fetchone()
        assert row is not None
        connection.execute(MONTH)
        for statement in (EQUITY, CURVE):
            connection.execute(statement.encode(), {"id": row[0]})
    [account] = (await get(http, "/v1/accounts", follower="f"))["items"]
    assert (account["follower_id"], account["exchange"], account["equity"]) == ("f", "binanceusdm", "1000.5")
    profit = await get(http, "/v1/followers/f/pnl")
    assert [item["whale_id"] for item in profit["items"]] == ["whale-a"] and profit["net"] == profit["items"][0]["net"]
    whole = (await get(http, "/v1/followers/f/equity"))["items"]
    assert [point["equity"] for point in whole] == ["1004", "1003", "1002", "1001", "1000"]
    first = await get(http, "/v1/followers/f/equity", limit=3, exchange="binanceusdm")
    assert first["items"] + (await get(http, "/v1/followers/f/equity", limit=3, cursor=first["next"]))["items"] == whole
    some = await get(http, "/v1/followers/f/equity", since="2026-05-28T20:05:00Z", until="2026-05-28T20:15:00Z")
    assert some["items"] == whole[2:4]


OLDER = """
INSERT INTO users (id, email, preferred_exchange, max_leverage) VALUES (1, 'a@b.c', 'bybit', 5), (2, 'd@e.f', 'bybit', 5);
INSERT INTO whale_signals (id, whale_id, symbol, side, amount, price) VALUES (1, 42, 'BTC/USDT', 'buy', 1, 2);
"""


async def test_what_came_over_from_the_older_system(app: FastAPI, http: httpx.AsyncClient, tables: Tables) -> None:
    """Its row stays its own (origin `legacy`) and is ours as well: it is found, changed and not made a second time."""
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        connection.execute(OLDER)
    shard = shard_of("legacy-1", 2)
    tables.tell(shard, configured("legacy-1"), admitted(shard, signal("legacy-1", whale_id="42"), 0), decided(shard, "legacy-1"))
    assert (await get(http, "/v1/followers/legacy-1"))["item"]["follower_id"] == "legacy-1"
    assert [item["follower_id"] for item in (await get(http, "/v1/followers"))["items"]] == ["legacy-1"], "the other one is none of ours"
    twice = await http.post("/v1/followers", json={"follower_id": "legacy-1"}, headers={"Idempotency-Key": "k"})
    assert (twice.status_code, twice.json()["type"]) == (409, "conflict")
    counts = await app.state.reads.row("board_funnel", since=datetime(2020, 1, 1, tzinfo=UTC))
    assert counts["valid"] == 1, "a signal that was bridged is one of ours"
