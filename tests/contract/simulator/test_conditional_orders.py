"""Stops, take profits and algo orders wait for their price, then trade; batches; amendments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.exchanges.simulator import Simulator
from tests.contract.simulator.clients import admin, client, signed

SYMBOL = "BTC/USDT:USDT"


async def drive(simulator: Simulator, price: str) -> None:
    """Move Bitcoin's price."""
    assert (await admin(simulator, "/_price", {"symbol": "BTC/USDC:USDC", "price": price}))["moved"] == 1


async def test_algo_stop_closes_a_position_when_its_price_comes(simulator: Simulator) -> None:
    async with client(simulator, "binanceusdm") as ex:
        await ex.create_order(SYMBOL, "market", "buy", 0.1)
        params = {"stopLossPrice": 60000, "reduceOnly": True, "clientOrderId": "stop1"}
        made = await ex.create_order(SYMBOL, "market", "sell", 0.1, None, params)
        (waiting,) = await ex.fetch_open_orders(SYMBOL, None, None, {"trigger": True})
        assert (waiting["id"], waiting["clientOrderId"], waiting["triggerPrice"]) == (made["id"], "stop1", 60000)
        assert await ex.fetch_open_orders(SYMBOL) == []
        await drive(simulator, "59000")
        assert await ex.fetch_open_orders(SYMBOL, None, None, {"trigger": True}) == []
        assert [p for p in await ex.fetch_positions([SYMBOL]) if p["contracts"]] == []
        done = await ex.fapiprivate_get_algoorder({"clientAlgoId": "stop1"})
        assert done["algoStatus"] == "FINISHED" and done["actualOrderId"]


async def test_algo_orders_that_would_fire_at_once_or_are_unknown(simulator: Simulator) -> None:
    algo = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "0.1",
        "algoType": "CONDITIONAL",
        "triggerPrice": "70000",
    }
    _, reply = await signed(simulator, "POST", "/fapi/v1/algoOrder", algo)
    assert reply["code"] == -2021
    _, reply = await signed(simulator, "POST", "/fapi/v1/algoOrder", algo | {"type": "LIMIT"})
    assert reply["code"] == -1116
    for method, code in (("GET", -2013), ("DELETE", -2011)):
        _, reply = await signed(simulator, method, "/fapi/v1/algoOrder", {"symbol": "BTCUSDT", "algoId": "1"})
        assert reply["code"] == code
    _, reply = await signed(simulator, "GET", "/fapi/v1/algoOrder", {"symbol": "BTCUSDT"})
    assert reply["code"] == -1102


async def test_all_algo_orders_of_a_symbol_are_cancelled(simulator: Simulator) -> None:
    async with client(simulator, "binanceusdm") as ex:
        for trigger in (60000, 61000):
            await ex.create_order(SYMBOL, "market", "sell", 0.1, None, {"triggerPrice": trigger, "reduceOnly": True})
        await ex.create_order(SYMBOL, "market", "sell", 0.1, None, {"trailingPercent": 2, "reduceOnly": True})
        assert len(await ex.fetch_open_orders(SYMBOL, None, None, {"trigger": True})) == 3
        await ex.cancel_all_orders(SYMBOL, {"trigger": True})
        statuses = {order["info"]["algoStatus"] for order in await ex.fetch_orders(SYMBOL, None, None, {"trigger": True})}
        assert statuses == {"CANCELED"}


async def test_spot_stop_sells_below_its_price(simulator: Simulator) -> None:
    async with client(simulator, "binance") as ex:
        await ex.create_order("BTC/USDT", "market", "buy", 0.1)
        made = await ex.create_order("BTC/USDT", "market", "sell", 0.05, None, {"stopLossPrice": 60000})
        assert made["status"] == "open"
        with pytest.raises(Exception, match="trigger immediately"):
            await ex.create_order("BTC/USDT", "market", "sell", 0.05, None, {"stopLossPrice": 70000})
        await drive(simulator, "59000")
        assert (await ex.fetch_order(made["id"], "BTC/USDT"))["filled"] == 0.05


@pytest.mark.parametrize("symbol", ["BTC/USDT", SYMBOL])
async def test_bybit_trigger_orders(simulator: Simulator, symbol: str) -> None:
    direction = {"triggerDirection": "below"} if ":" in symbol else {}
    async with client(simulator, "bybit") as ex:
        made = await ex.create_order(symbol, "limit", "buy", 0.01, 59500, {"triggerPrice": 60000, **direction})
        (waiting,) = await ex.fetch_open_orders(symbol, None, None, {"trigger": True})
        assert (waiting["id"], waiting["info"]["orderStatus"]) == (made["id"], "Untriggered")
        await drive(simulator, "59000")
        assert await ex.fetch_open_orders(symbol, None, None, {"trigger": True}) == []
        assert len(await ex.fetch_my_trades(symbol)) == 1


async def test_stop_loss_that_rides_on_a_bybit_order(simulator: Simulator) -> None:
    async with client(simulator, "bybit") as ex:
        await ex.create_order(SYMBOL, "market", "buy", 0.1, None, {"stopLoss": {"triggerPrice": 60000}})
        (position,) = await ex.fetch_positions([SYMBOL])
        assert position["info"]["stopLoss"] == "60000"
        await drive(simulator, "61000")
        assert len([p for p in await ex.fetch_positions([SYMBOL]) if p["contracts"]]) == 1
        await drive(simulator, "59900")
        assert [p for p in await ex.fetch_positions([SYMBOL]) if p["contracts"]] == []
        await drive(simulator, "59000")


async def test_trading_stop_on_a_short(simulator: Simulator) -> None:
    stop = {"category": "linear", "symbol": "BTCUSDT", "takeProfit": "60000", "tpslMode": "Full"}
    _, reply = await signed(simulator, "POST", "/v5/position/trading-stop", stop)
    assert reply["retCode"] == 10001
    async with client(simulator, "bybit") as ex:
        await ex.create_order(SYMBOL, "market", "sell", 0.1)
        _, reply = await signed(simulator, "POST", "/v5/position/trading-stop", stop)
        assert reply["retCode"] == 0
        await drive(simulator, "59000")
        assert [p for p in await ex.fetch_positions([SYMBOL]) if p["contracts"]] == []


async def test_binance_batches(simulator: Simulator) -> None:
    one = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "40000"}
    batch = [one | {"newClientOrderId": "b1"}, one | {"quantity": "0.0001"}, one | {"newClientOrderId": "b2"}, one | {"symbol": "X"}]
    _, reply = await signed(simulator, "POST", "/fapi/v1/batchOrders", {"batchOrders": json.dumps(batch)})
    assert [row.get("code") for row in reply] == [None, -1111, None, -1121]
    ids = {"symbol": "BTCUSDT", "origClientOrderIdList": json.dumps(["b1", "nobody"])}
    _, reply = await signed(simulator, "DELETE", "/fapi/v1/batchOrders", ids)
    assert [row.get("status", row.get("code")) for row in reply] == ["CANCELED", -2011]
    _, reply = await signed(simulator, "POST", "/fapi/v1/batchOrders", {"batchOrders": "{"})
    assert reply["code"] == -1102


async def test_bybit_batches(simulator: Simulator) -> None:
    one = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1", "price": "40000"}
    request = [one | {"orderLinkId": "b1"}, one | {"qty": "0.00001", "orderLinkId": "b2"}]
    _, reply = await signed(simulator, "POST", "/v5/order/create-batch", {"category": "linear", "request": request})
    assert [row["code"] for row in reply["retExtInfo"]["list"]] == [0, 10001]
    cancel = {"category": "linear", "request": [{"symbol": "BTCUSDT", "orderLinkId": link} for link in ("b1", "b2")]}
    _, reply = await signed(simulator, "POST", "/v5/order/cancel-batch", cancel)
    assert [row["code"] for row in reply["retExtInfo"]["list"]] == [0, 110001]
    _, reply = await signed(simulator, "POST", "/v5/order/create-batch", {"category": "linear"})
    assert reply["retCode"] == 10001


@pytest.mark.parametrize(
    ("exchange", "symbol"), [("binance", "BTC/USDT"), ("binanceusdm", SYMBOL), ("bybit", "BTC/USDT"), ("bybit", SYMBOL)]
)
async def test_orders_are_changed(simulator: Simulator, exchange: str, symbol: str) -> None:
    async with client(simulator, exchange) as ex:
        made = await ex.create_order(symbol, "limit", "buy", 0.1, 40000)
        await ex.edit_order(made["id"], symbol, "limit", "buy", 0.2, 41000)
        (now,) = await ex.fetch_open_orders(symbol)
        assert (now["amount"], now["price"]) == (0.2, 41000)
        await ex.cancel_all_orders(symbol)
        assert await ex.fetch_open_orders(symbol) == []


@pytest.mark.parametrize(("category", "codes"), [("linear", [110001, 110001, 110001]), ("spot", [170213, 170142, 170139])])
async def test_bybit_says_why_it_cannot_cancel(simulator: Simulator, category: str, codes: list[int]) -> None:
    one: dict[str, Any] = {"category": category, "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1"}
    await signed(simulator, "POST", "/v5/order/create", one | {"orderLinkId": "gone", "price": "40000"})
    await signed(simulator, "POST", "/v5/order/create", one | {"orderLinkId": "done", "price": "65000"})
    await signed(simulator, "POST", "/v5/order/cancel", {"category": category, "symbol": "BTCUSDT", "orderLinkId": "gone"})
    seen = []
    for link in ("nobody", "gone", "done"):
        _, reply = await signed(simulator, "POST", "/v5/order/cancel", {"category": category, "symbol": "BTCUSDT", "orderLinkId": link})
        seen.append(reply["retCode"])
    assert seen == codes


@pytest.mark.parametrize(("exchange", "symbol", "most", "code"), [("binance", "BTC/USDT", 5, -1013), ("binanceusdm", SYMBOL, 10, -4045)])
async def test_only_so_many_orders_may_wait_for_a_price(simulator: Simulator, exchange: str, symbol: str, most: int, code: int) -> None:
    """MAX_NUM_ALGO_ORDERS counts those that wait, in one market; plain orders have a limit of their own."""
    async with client(simulator, exchange) as ex:
        await ex.create_order(symbol, "market", "buy", 0.5)
        for number in range(most):
            await ex.create_order(symbol, "market", "sell", 0.01, None, {"stopLossPrice": 60000 - number})
        with pytest.raises(Exception, match=r"MAX_NUM_ALGO_ORDERS|Reach max stop order limit\.") as refused:
            await ex.create_order(symbol, "market", "sell", 0.01, None, {"stopLossPrice": 50000})
        assert f'"code":{code},' in str(refused.value)
        await ex.create_order(symbol, "limit", "sell", 0.01, 70000)
        await drive(simulator, "59999.5")
        await ex.create_order(symbol, "market", "sell", 0.01, None, {"stopLossPrice": 50000})
