"""Orders that are changed: replaced, amended, triggered, counted down; margin that is put on a position."""

from __future__ import annotations

from typing import Any

import pytest
from ccxt.base.errors import OrderNotFound

from engine.exchanges.simulator import Simulator
from tests.contract.simulator.clients import admin, client, signed
from tests.support import wait_until

SYMBOL = "BTC/USDT:USDT"
NEW = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.1",
    "price": "41000",
    "cancelReplaceMode": "STOP_ON_FAILURE",
}
TOO_LARGE = NEW | {"quantity": "100"}


async def replace(simulator: Simulator, **changes: str) -> tuple[int, dict[str, Any]]:
    """One cancel-replace."""
    return await signed(simulator, "POST", "/api/v3/order/cancelReplace", NEW | changes)


async def test_a_replacement_tells_what_became_of_both_halves(simulator: Simulator) -> None:
    async with client(simulator, "binance") as ex:
        made = [await ex.create_order("BTC/USDT", "limit", "buy", 0.1, 40000) for _ in range(2)]
    assert (await replace(simulator))[1]["code"] == -1102
    assert (await replace(simulator, cancelOrderId="1", cancelReplaceMode="MAYBE"))[1]["code"] == -1130
    status, reply = await replace(simulator, cancelOrderId="1")
    assert (status, reply["code"]) == (400, -2022)
    assert reply["data"] == {
        "cancelResult": "FAILURE",
        "newOrderResult": "NOT_ATTEMPTED",
        "cancelResponse": {"code": -2011, "msg": "Unknown order sent."},
        "newOrderResponse": None,
    }
    status, reply = await replace(simulator, cancelOrderId="1", cancelReplaceMode="ALLOW_FAILURE")
    assert (status, reply["code"], reply["data"]["cancelResult"], reply["data"]["newOrderResult"]) == (409, -2021, "FAILURE", "SUCCESS")
    status, reply = await replace(simulator, cancelOrderId=made[0]["id"], quantity="0.1234567")
    assert (status, reply["code"]) == (400, -1013) and "data" not in reply
    status, reply = await replace(simulator, cancelOrderId=made[0]["id"], quantity="100")
    assert (status, reply["code"]) == (409, -2021)
    assert reply["data"]["cancelResponse"]["status"] == "CANCELED" and reply["data"]["newOrderResponse"]["code"] == -2010
    status, reply = await replace(simulator, cancelOrderId=made[1]["id"])
    assert (status, reply["cancelResult"], reply["newOrderResponse"]["status"]) == (200, "SUCCESS", "NEW")


@pytest.mark.parametrize(("exchange", "tick", "funds"), [("binance", -4014, -2019), ("bybit", 10001, 110007)])
async def test_a_change_keeps_to_filters_and_funds(simulator: Simulator, exchange: str, tick: int, funds: int) -> None:
    path, method = ("/fapi/v1/order", "PUT") if exchange == "binance" else ("/v5/order/amend", "POST")
    quantity = "quantity" if exchange == "binance" else "qty"
    async with client(simulator, exchange) as ex:
        made = await ex.create_order(SYMBOL, "limit", "buy", 0.1, 40000)
        known = {"category": "linear", "symbol": "BTCUSDT", "side": "BUY", "orderId": made["id"]}
        for change, code in (
            ({quantity: "0.1", "price": "40000.05"}, tick),
            ({quantity: "600", "price": "40000"}, funds),
            ({quantity: "0.1", "price": "40000"}, -5027 if exchange == "binance" else 10001),
        ):
            _, reply = await signed(simulator, method, path, known | change)
            assert reply.get("code", reply.get("retCode")) == code
        (same,) = await ex.fetch_open_orders(SYMBOL)
        assert (same["amount"], same["price"]) == (0.1, 40000)
        await signed(simulator, method, path, known | {quantity: "0.2", "price": "70000"})
        assert await ex.fetch_open_orders(SYMBOL) == []
        (held,) = [position for position in await ex.fetch_positions([SYMBOL]) if position["contracts"]]
    assert held["contracts"] == 0.2 and held["entryPrice"] < 65000


async def test_a_waiting_stop_is_changed_without_being_traded(simulator: Simulator) -> None:
    params = {"triggerPrice": 70000, "triggerDirection": "ascending"}
    async with client(simulator, "bybit") as ex:
        made = await ex.create_order(SYMBOL, "limit", "buy", 0.1, 71000, params)
        change = {"category": "linear", "symbol": "BTCUSDT", "orderId": made["id"], "triggerPrice": "72000", "price": "73000"}
        assert (await signed(simulator, "POST", "/v5/order/amend", change))[1]["retCode"] == 0
        (waiting,) = await ex.fetch_open_orders(SYMBOL)
        assert (waiting["triggerPrice"], waiting["price"], waiting["filled"]) == (72000, 73000, 0)
        await admin(simulator, "/_price", {"symbol": "BTC/USDC:USDC", "price": "72500"})
        assert await ex.fetch_open_orders(SYMBOL) == []


async def test_a_triggered_algo_order_is_a_plain_order(simulator: Simulator) -> None:
    async with client(simulator, "binanceusdm") as ex:
        made = await ex.create_order(SYMBOL, "limit", "buy", 0.1, 60000, {"triggerPrice": 70000})
        with pytest.raises(OrderNotFound):
            await ex.fetch_order(made["id"], SYMBOL)
        await admin(simulator, "/_price", {"symbol": "BTC/USDC:USDC", "price": "70500"})
        (resting,) = await ex.fetch_open_orders(SYMBOL)
        raw = resting["info"]
        assert (resting["id"], raw["type"], raw["origType"]) == (made["id"], "LIMIT", "STOP")
        await ex.cancel_order(made["id"], SYMBOL)
        assert await ex.fetch_open_orders(SYMBOL) == []


async def test_margin_of_an_isolated_position(simulator: Simulator) -> None:
    change = {"symbol": "BTCUSDT", "amount": "100", "type": "1"}

    async def code(**more: str) -> int:
        return int((await signed(simulator, "POST", "/fapi/v1/positionMargin", change | more))[1]["code"])

    async with client(simulator, "binanceusdm") as ex:
        assert await code() == -4049
        await ex.set_margin_mode("isolated", SYMBOL)
        assert await code() == -4054
        await ex.create_order(SYMBOL, "market", "buy", 0.1)
        before = (await ex.fetch_balance())["free"]["USDT"]
        assert (await ex.add_margin(SYMBOL, 100))["status"] == "ok"
        assert before - (await ex.fetch_balance())["free"]["USDT"] == pytest.approx(100)
        assert [await code(type="2", amount="200"), await code(amount="0"), await code(type="3"), await code(amount="10000000")] == [
            *(-4051, -4055, -1130),
            -4050,
        ]
        assert (await ex.reduce_margin(SYMBOL, 40))["amount"] == 40
        rows = await ex.fetch_margin_adjustment_history(SYMBOL, "add")
        assert [(row["type"], row["amount"]) for row in rows] == [("add", 100)]


async def test_the_countdown_cancels_what_is_open(simulator: Simulator) -> None:
    start = {"symbol": "BTCUSDT", "countdownTime": "50"}
    async with client(simulator, "binanceusdm") as ex:
        await ex.create_order(SYMBOL, "limit", "buy", 0.1, 40000)
        assert (await signed(simulator, "POST", "/fapi/v1/countdownCancelAll", start))[1]["countdownTime"] == "50"
        account = simulator.world.registry.by_key["binanceusdm", ex.apiKey]
        await wait_until(lambda: not account.open_orders, 5)
        await ex.create_order(SYMBOL, "limit", "buy", 0.1, 40000)
        for wait in ("60000", "0"):
            await signed(simulator, "POST", "/fapi/v1/countdownCancelAll", start | {"countdownTime": wait})
        assert simulator.world.countdowns == {} and len(account.open_orders) == 1


async def test_no_more_open_orders_than_a_market_allows(simulator: Simulator) -> None:
    order = {"symbol": "LTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "30"}
    async with client(simulator, "binanceusdm") as ex:
        await ex.load_markets()
        for _ in range(40):
            await ex.create_orders([{"symbol": "LTC/USDT:USDT", "type": "limit", "side": "buy", "amount": 1, "price": 30}] * 5)
        assert (await signed(simulator, "POST", "/fapi/v1/order", order))[1]["code"] == -2025
        assert (await signed(simulator, "POST", "/fapi/v1/order", order | {"symbol": "BTCUSDT", "price": "40000"}))[0] == 200
        _, reply = await signed(simulator, "POST", "/fapi/v1/batchOrders", {"batchOrders": "[{}, {}, {}, {}, {}, {}]"})
        assert reply["code"] == -4082
