"""Funding: an administrator settles a market, wallets move, and both exchanges list it as they do."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from engine.exchanges.simulator import Simulator
from tests.contract.simulator.clients import KEY, admin, client, signed

SYMBOL = "BTC/USDT:USDT"
LOG_ROW = {
    *("id", "symbol", "category", "side", "transactionTime", "type", "transSubType", "qty", "size", "currency", "tradePrice", "funding"),
    *("fee", "cashFlow", "change", "cashBalance", "feeRate", "bonusChange", "tradeId", "orderId", "orderLinkId", "extraFees"),
}


async def wallet(simulator: Simulator, exchange: str) -> Decimal:
    accounts = (await admin(simulator, f"/_accounts?api_key={KEY}"))["accounts"]
    return Decimal(next(a for a in accounts if a["exchange"] == exchange)["balances"]["USDT"]["total"])


async def settle(simulator: Simulator, venue: str, rate: str) -> Any:
    return await admin(simulator, "/_funding", {"venue": venue, "symbol": SYMBOL, "rate": rate})


@pytest.mark.parametrize(("side", "sign"), [("buy", -1), ("sell", 1)])
async def test_binance_lists_it_as_income(simulator: Simulator, side: str, sign: int) -> None:
    async with client(simulator, "binance") as ex:
        await ex.create_order(SYMBOL, "market", side, 0.5)
        before = await wallet(simulator, "binanceusdm")
        assert await settle(simulator, "binanceusdm", "0.0001") == {"settled": 1}
        change = await wallet(simulator, "binanceusdm") - before
        assert change * sign > 0
        (entry,) = await ex.fetch_funding_history(SYMBOL)
    assert Decimal(str(entry["amount"])) == change
    _, (row,) = await signed(simulator, "GET", "/fapi/v1/income", {"incomeType": "FUNDING_FEE"})
    assert {name: type(value).__name__ for name, value in row.items()} == {
        **dict.fromkeys(("symbol", "incomeType", "income", "asset", "info", "tradeId"), "str"),
        "time": "int",
        "tranId": "int",
    }


async def test_bybit_lists_it_in_the_transaction_log(simulator: Simulator) -> None:
    async with client(simulator, "bybit") as ex:
        await ex.create_order(SYMBOL, "market", "buy", 0.5)
        await ex.create_order("BTC/USDT", "market", "buy", 0.1)
        await settle(simulator, "bybitlinear", "0.0001")
        await settle(simulator, "bybitlinear", "-0.0002")
        history = await ex.fetch_funding_history(SYMBOL)
    paid, received = sorted((Decimal(str(entry["amount"])) for entry in history), reverse=True)
    assert paid > 0 > received, "ccxt shows the fee of the executions: positive is paid"
    _, reply = await signed(simulator, "GET", "/v5/account/transaction-log", {"accountType": "UNIFIED"})
    rows = reply["result"]["list"]
    assert all(set(row) == LOG_ROW and all(isinstance(value, str) for value in row.values()) for row in rows)
    newest, older = rows[:2]
    assert (newest["type"], Decimal(newest["funding"]), Decimal(older["funding"])) == ("SETTLEMENT", -received, -paid)
    assert Decimal(newest["cashBalance"]) == await wallet(simulator, "bybit")
    for later, earlier in pairwise(rows):
        assert Decimal(earlier["cashBalance"]) + Decimal(later["change"]) == Decimal(later["cashBalance"])
    assert {row["type"] for row in rows[2:]} == {"TRADE"}


async def test_the_transaction_log_in_pages_and_windows(simulator: Simulator) -> None:
    async with client(simulator, "bybit") as ex:
        await ex.create_order(SYMBOL, "market", "buy", 0.5)
    for _ in range(3):
        await settle(simulator, "bybitlinear", "0.0001")
    query = {"type": "SETTLEMENT", "category": "linear", "limit": "2"}
    _, first = await signed(simulator, "GET", "/v5/account/transaction-log", query)
    cursor = first["result"]["nextPageCursor"].replace("%3A", ":")
    _, rest = await signed(simulator, "GET", "/v5/account/transaction-log", query | {"cursor": cursor})
    assert [len(reply["result"]["list"]) for reply in (first, rest)] == [2, 1]
    await admin(simulator, "/_clock", {"offset_ms": 3 * 86_400_000})
    stamp = {"timestamp": await now(simulator)}
    _, day = await signed(simulator, "GET", "/v5/account/transaction-log", query, **stamp)
    assert day["result"]["list"] == [], "a day when nothing else is asked"
    long = {"startTime": str(stamp["timestamp"] - 8 * 86_400_000), "endTime": str(stamp["timestamp"])}
    _, refused = await signed(simulator, "GET", "/v5/account/transaction-log", query | long, **stamp)
    assert refused["retCode"] == 10001


async def now(simulator: Simulator) -> int:
    async with client(simulator, "bybit") as ex:
        return int(await ex.fetch_time())


async def test_a_market_without_funding_is_refused(simulator: Simulator) -> None:
    with pytest.raises(AssertionError, match="expected a perpetual market"):
        await admin(simulator, "/_funding", {"venue": "binance", "symbol": "BTC/USDT", "rate": "0.1"})
