"""What a venue refuses before it thinks about money: signatures, clocks, keys, client ids, filters, hosts."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import pytest

from engine.exchanges.simulator import Simulator
from tests.contract.simulator.clients import admin, entry, signed

SPOT = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
USDM = SPOT | {"newOrderRespType": "RESULT"}
BYBIT = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01", "marketUnit": "baseCoin"}
LINEAR = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}
ORDERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "binance": ("/api/v3/order", SPOT, "newClientOrderId"),
    "binanceusdm": ("/fapi/v1/order", USDM, "newClientOrderId"),
    "bybit": ("/v5/order/create", BYBIT, "orderLinkId"),
    "bybitlinear": ("/v5/order/create", LINEAR, "orderLinkId"),
}
LIMITS = {"type": "LIMIT", "timeInForce": "GTC", "price": "40000"}
each = pytest.mark.parametrize("venue", ORDERS)


def code_of(reply: dict[str, Any]) -> int:
    """The venue's code: Binance's `code` or Bybit's `retCode`; 0 means accepted."""
    return int(reply.get("code", reply.get("retCode", 0)))


async def place(simulator: Simulator, venue: str, **changes: Any) -> tuple[int, int]:
    """One order: HTTP status and code. Parameters of the order come as `order`."""
    path, order, _ = ORDERS[venue]
    status, reply = await signed(simulator, "POST", path, order | changes.pop("order", {}), **changes)
    return status, code_of(reply)


@each
async def test_one_changed_byte_breaks_the_signature(simulator: Simulator, venue: str) -> None:
    assert await place(simulator, venue) == (200, 0)
    bad = (400, -1022) if venue.startswith("binance") else (200, 10004)
    assert await place(simulator, venue, tamper=("0.01", "0.02")) == bad
    assert await place(simulator, venue, secret="wrong") == bad


@each
async def test_unknown_keys(simulator: Simulator, venue: str) -> None:
    assert await place(simulator, venue, key="nobody") == ((401, -2015) if venue.startswith("binance") else (200, 10003))


@each
async def test_the_window_is_enforced_on_both_ends(simulator: Simulator, venue: str) -> None:
    now = int(time.time() * 1000)
    refused = (400, -1021) if venue.startswith("binance") else (200, 10002)
    assert await place(simulator, venue, timestamp=now - 5500) == refused
    assert await place(simulator, venue, timestamp=now + 60_000) == refused
    assert await place(simulator, venue, timestamp=now - 2000) == (200, 0)
    assert await place(simulator, venue, timestamp="soon") == ((400, -1100) if venue.startswith("binance") else refused)


@each
async def test_the_exchanges_clock_can_be_moved(simulator: Simulator, venue: str) -> None:
    await admin(simulator, "/_clock", {"offset_ms": 20_000})
    assert (await place(simulator, venue))[1] in (-1021, 10002)


@pytest.mark.parametrize("venue", ["binance", "binanceusdm"])
async def test_binance_takes_an_id_again_once_it_is_filled_or_canceled(simulator: Simulator, venue: str) -> None:
    path, _, name = ORDERS[venue]
    assert await place(simulator, venue, order={name: "same"}) == (200, 0)
    assert await place(simulator, venue, order={name: "same"}) == (200, 0)
    assert (await entry(simulator, "same"))["executions"] == 2
    assert await place(simulator, venue, order=LIMITS | {name: "open"}) == (200, 0)
    duplicate = (400, -2010 if venue == "binance" else -4116)
    assert await place(simulator, venue, order=LIMITS | {name: "open"}) == duplicate
    await signed(simulator, "DELETE", path, {"symbol": "BTCUSDT", "origClientOrderId": "open"})
    assert await place(simulator, venue, order=LIMITS | {name: "open"}) == (200, 0)


@pytest.mark.parametrize(("venue", "code"), [("bybit", 170141), ("bybitlinear", 110072)])
async def test_bybit_never_takes_an_id_again(simulator: Simulator, venue: str, code: int) -> None:
    assert await place(simulator, venue, order={"orderLinkId": "once"}) == (200, 0)
    assert await place(simulator, venue, order={"orderLinkId": "once"}) == (200, code)
    truth = await entry(simulator, "once")
    assert (truth["executions"], truth["requests"], truth["rejections"]) == (1, 2, 1)


@each
async def test_ids_outside_the_charset(simulator: Simulator, venue: str) -> None:
    name = ORDERS[venue][2]
    assert (await place(simulator, venue, order={name: "a b"}))[1] in (-1100, 10001)
    assert (await place(simulator, venue, order={name: "a" * 37}))[1] in (-1100, -4015, 10001)
    assert (await place(simulator, venue, order={name: "a" * 36}))[1] == 0


async def test_bybit_does_not_know_client_order_id(simulator: Simulator) -> None:
    await place(simulator, "bybit", order={"orderLinkId": "x1"})
    query = {"category": "spot", "clientOrderId": "x1", "symbol": "BTCUSDT"}
    _, reply = await signed(simulator, "GET", "/v5/order/realtime", query)
    assert reply["result"]["list"] == []
    _, reply = await signed(simulator, "GET", "/v5/order/realtime", {"category": "spot", "orderLinkId": "x1"})
    assert len(reply["result"]["list"]) == 1


FILTERS = [
    ("binance", {"quantity": "0.000001"}, -1013),
    ("binance", {"quantity": "200"}, -1013),
    ("binance", {"quantity": "0.00001"}, -1013),
    ("binance", LIMITS | {"price": "40000.001"}, -1013),
    ("binance", LIMITS | {"price": "1"}, -1013),
    ("binance", {"reduceOnly": "true"}, -1106),
    ("binance", {"symbol": "NOPE"}, -1121),
    ("binance", {"type": "ICEBERG"}, -1116),
    ("binance", {"quantity": "abc"}, -1100),
    ("binance", {"quantity": "1e-2"}, -1100),
    ("binance", {"quantity": "-0.01"}, -1100),
    ("binance", {"quantity": "0.000000001"}, -1111),
    ("binance", {"symbol": "btcusdt"}, -1100),
    ("binance", {"price": "40000"}, -1106),
    ("binance", {"timeInForce": "GTC"}, -1106),
    ("binance", {"stopPrice": "40000"}, -1106),
    ("binance", {"quoteOrderQty": "100"}, -1128),
    ("binance", {"newOrderRespType": "ALL"}, -1130),
    ("binance", {"icebergQty": "0.01"}, -1106),
    ("binance", LIMITS | {"icebergQty": "0.02"}, -2010),
    ("binance", LIMITS | {"icebergQty": ""}, -1105),
    ("binance", LIMITS | {"timeInForce": "GTX"}, -1115),
    ("binance", {"type": "LIMIT", "price": "40000"}, -1102),
    ("binance", {"type": "LIMIT_MAKER", "timeInForce": "GTC", "price": "40000"}, -1106),
    ("binance", {"type": "STOP_LOSS"}, -1102),
    ("binance", {"type": "STOP_LOSS", "trailingDelta": "5"}, -1013),
    ("binance", {"strategyType": "7"}, -1134),
    ("binance", {"recvWindow": "60001"}, -1131),
    ("binance", {"side": "HOLD"}, -1117),
    ("binanceusdm", {"quantity": "0.0001"}, -1111),
    ("binanceusdm", {"quantity": "0"}, -4003),
    ("binanceusdm", {"quantity": "121"}, -4005),
    ("binanceusdm", LIMITS | {"price": "40000.01"}, -4014),
    ("binanceusdm", LIMITS | {"price": "300000"}, -4016),
    ("binanceusdm", LIMITS | {"side": "SELL", "price": "1000"}, -4024),
    ("binance", LIMITS | {"price": "10000"}, -1013),
    ("bybit", {"orderType": "Limit", "price": "200000"}, 170193),
    ("bybitlinear", {"orderType": "Limit", "side": "Sell", "price": "20000"}, 110003),
    ("binanceusdm", LIMITS | {"quantity": "0.001"}, -4164),
    ("binanceusdm", {"type": "STOP_MARKET"}, -4120),
    ("binanceusdm", LIMITS | {"timeInForce": "GTX", "price": "80000"}, -5022),
    ("binanceusdm", {"positionSide": "LONG"}, -4061),
    ("binanceusdm", {"price": "40000"}, -1106),
    ("binanceusdm", {"timeInForce": "GTC"}, -1106),
    ("binanceusdm", {"quantity": "1e-2"}, -1100),
    ("binanceusdm", LIMITS | {"timeInForce": "GTD"}, -1102),
    ("binanceusdm", LIMITS | {"timeInForce": "GTD", "goodTillDate": "soon"}, -1100),
    ("binanceusdm", {"recvWindow": "60001"}, -1131),
    ("bybit", {"qty": "0.0000001"}, 170137),
    ("bybit", {"qty": "0.000001"}, 170140),
    ("bybit", {"qty": "1000"}, 170135),
    ("bybit", {"symbol": "NOPE"}, 170121),
    ("bybit", {"orderType": "Limit", "price": "40000.01"}, 170134),
    ("bybitlinear", {"qty": "0.0001"}, 10001),
    ("bybitlinear", {"orderType": "Limit", "price": "300000"}, 110003),
    ("bybitlinear", {"side": "Hold"}, 10001),
    ("bybitlinear", {"category": "swap"}, 10001),
    ("bybitlinear", {"positionIdx": 1}, 10001),
    ("bybitlinear", {"qty": "1e-2"}, 10001),
    ("bybitlinear", {"triggerPrice": "70000"}, 10001),
    ("bybitlinear", {"timeInForce": "GTX"}, 10001),
    ("bybit", {"marketUnit": "quoteCoin", "qty": "10000000"}, 170124),
]


@pytest.mark.parametrize(("venue", "changes", "code"), FILTERS)
async def test_filters_and_parameters(simulator: Simulator, venue: str, changes: dict[str, Any], code: int) -> None:
    assert (await place(simulator, venue, order=changes))[1] == code
    assert all(row["executions"] == 0 for row in (await admin(simulator, "/_ledger"))["entries"])


@pytest.mark.parametrize(
    ("venue", "changes"),
    [
        ("binanceusdm", LIMITS | {"side": "BUY", "price": "20000"}),
        ("binanceusdm", LIMITS | {"side": "SELL", "price": "200000"}),
        ("bybit", {"orderType": "Limit", "price": "20000"}),
        ("bybitlinear", {"orderType": "Limit", "price": "20000"}),
        ("bybitlinear", {"orderType": "Limit", "side": "Sell", "price": "200000"}),
    ],
)
async def test_a_limit_far_on_its_own_side_is_taken(simulator: Simulator, venue: str, changes: dict[str, Any]) -> None:
    assert (await place(simulator, venue, order=changes))[1] == 0


async def test_futures_let_a_reduce_only_order_be_small(simulator: Simulator) -> None:
    assert await place(simulator, "binanceusdm") == (200, 0)
    small = {"side": "SELL", "quantity": "0.001"} | LIMITS | {"price": "40000"}
    assert (await place(simulator, "binanceusdm", order=small))[1] == -4164
    assert (await place(simulator, "binanceusdm", order=small | {"reduceOnly": "true"}))[1] == 0


async def test_a_key_that_may_not_trade(simulator: Simulator) -> None:
    for venue in ("binance", "binanceusdm", "bybit"):
        simulator.world.registry.register({"venue": venue, "api_key": "ro", "secret": "s", "can_trade": False})
    for venue, code in (("binance", -2010), ("binanceusdm", -2015), ("bybit", 10005), ("bybitlinear", 10005)):
        assert (await place(simulator, venue, key="ro", secret="s"))[1] == code


async def test_a_real_host_name_serves_its_own_paths_only(simulator: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        for host, path, status in (
            ("api.binance.com", "/api/v3/time", 200),
            ("fapi.binance.com", "/api/v3/time", 404),
            ("api.bybit.com", "/v5/market/time", 200),
            ("api.bybit.com", "/fapi/v1/time", 404),
            ("127.0.0.1", "/fapi/v1/time", 200),
            ("127.0.0.1", "/elsewhere", 404),
        ):
            async with session.get(simulator.url + path, headers={"Host": host}) as reply:
                assert reply.status == status, (host, path)
