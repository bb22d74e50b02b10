"""What the newer lists hold: whales, followers, accounts, profit, the equity curve in pages."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg

from tests.integration.api.world import fill
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
