"""The simulator's replies have the recorded keys and the true JSON types, in an account with orders, fills, positions and algo orders."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from engine.exchanges.simulator import Options, Simulator
from tests.contract.simulator.clients import FIXTURES, KEY, SECRET, client, recorded, signed
from tests.contract.simulator.conftest import register

OPTIONAL = {
    # Keys that the official documentation marks as conditional: they come only with the feature of their name.
    *("preventedMatchId", "preventedQuantity", "strategyId", "strategyType", "trailingDelta", "trailingTime", "usedSor", "workingFloor"),
    *("pegPriceType", "pegOffsetType", "pegOffsetValue", "peggedPrice", "expiryReason", "stopPrice", "icebergQty", "discount"),
    *("activatePrice", "priceRate", "cumBase", "pair", "baseQty", "code", "msg", "priceExponent", "notional", "count"),
    *("tpTriggerPrice", "tpPrice", "slTriggerPrice", "slPrice", "actualType", "actualQty", "rpiCommissionRate"),
    # The example puts the fields of all filters into one object.
    *("maxQty", "minQty", "stepSize", "limit", "multiplierUp", "multiplierDown", "multiplierDecimal"),
}
"""Keys of the official examples that a real reply has only sometimes."""
MAY_BE_EMPTY = (".exchangeFilters", ".sors")


def shape_errors(recorded_value: Any, ours: Any, path: str = "", types: bool = True) -> Iterator[str]:
    """Recorded keys that we lack and, where types are true, JSON types that differ."""
    if isinstance(recorded_value, dict):
        if not isinstance(ours, dict):
            yield f"{path}: {type(ours).__name__} instead of an object"
            return
        for key, value in recorded_value.items():
            if key in ours:
                yield from shape_errors(value, ours[key], f"{path}.{key}", types)
            elif key not in OPTIONAL:
                yield f"{path}.{key}: missing"
    elif isinstance(recorded_value, list):
        if not isinstance(ours, list):
            yield f"{path}: {type(ours).__name__} instead of a list"
        elif recorded_value and isinstance(recorded_value[0], dict | list):
            yield from shape_errors(recorded_value[0], ours[0], f"{path}[0]", types) if ours else empty(path)
    elif types and kind(recorded_value) != kind(ours):
        yield f"{path}: {kind(ours)} instead of {kind(recorded_value)}"


def empty(path: str) -> Iterator[str]:
    """An empty list where the recording has rows."""
    return iter([] if path in MAY_BE_EMPTY else [f"{path}: empty"])


def kind(value: Any) -> str:
    """JSON type; the examples write null as "None"."""
    if value is None or value == "None":
        return "null"
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else type(value).__name__


@pytest.fixture(scope="module")
async def busy() -> AsyncIterator[Simulator]:
    """A simulator whose account has something to show at every endpoint."""
    made = Simulator(Options(bybit_async_ms=0))
    register(made, balances={"BTC": "5", "LTC": "100"})
    made.world.registry.register({"venue": "binanceusdm", "api_key": "other-key", "secret": SECRET})
    await made.start()
    await fill(made)
    yield made
    await made.stop()


async def fill(simulator: Simulator) -> None:
    """Orders, fills and positions at every venue."""
    async with client(simulator, "binance") as ex:
        await ex.create_order("BTC/USDT", "market", "sell", 0.5)
        await ex.create_order("BTC/USDT", "limit", "buy", 0.1, 40000)
        await ex.create_order("BTC/USDT:USDT", "market", "buy", 0.5)
        await ex.create_order("BTC/USDT:USDT", "limit", "buy", 0.1, 40000)
        await ex.create_order("BTC/USDT:USDT", "limit", "buy", 0.1, 80000, {"triggerPrice": 79000})
    async with client(simulator, "bybit") as ex:
        for symbol in ("BTC/USDT", "BTC/USDT:USDT"):
            await ex.create_order(symbol, "market", "buy", 0.5)
            await ex.create_order(symbol, "limit", "buy", 0.1, 40000)


REQUESTS: dict[tuple[str, str], dict[str, Any]] = {
    ("DELETE", "/api/v3/openOrders"): {"symbol": "BTCUSDT"},
    ("DELETE", "/fapi/v1/allOpenOrders"): {"symbol": "BTCUSDT"},
    ("POST", "/api/v3/order"): {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.1"},
    ("POST", "/api/v3/order/test"): {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.1"},
    ("POST", "/fapi/v1/order"): {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.1"},
    ("POST", "/fapi/v1/algoOrder"): {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "TAKE_PROFIT",
        "quantity": "0.1",
        "algoType": "CONDITIONAL",
        "price": "80000",
        "triggerPrice": "79000",
    },
    ("POST", "/fapi/v1/batchOrders"): {
        "batchOrders": json.dumps([{"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.1"}])
    },
    ("POST", "/fapi/v1/leverage"): {"symbol": "BTCUSDT", "leverage": "7"},
    ("POST", "/fapi/v1/marginType"): {"symbol": "ETHUSDT", "marginType": "ISOLATED"},
    ("POST", "/fapi/v1/positionSide/dual"): {"dualSidePosition": "true"},
}
NEEDS_ORDER = {"/api/v3/order", "/api/v3/order/cancelReplace", "/fapi/v1/order", "/fapi/v1/openOrder"}


async def arguments(ex: Any, method: str, path: str) -> dict[str, Any]:
    """Parameters for one endpoint; those that act on an order get an open one."""
    if (method, path) in REQUESTS and path != "/api/v3/order/cancelReplace":
        return dict(REQUESTS[method, path])
    if path in NEEDS_ORDER:
        futures = path.startswith("/fapi")
        order = await ex.create_order("BTC/USDT:USDT" if futures else "BTC/USDT", "limit", "buy", 0.1, 40000)
        if path.endswith("cancelReplace"):
            new = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "64300"}
            return new | {"symbol": "BTCUSDT", "cancelOrderId": order["id"], "cancelReplaceMode": "STOP_ON_FAILURE"}
        return {"symbol": "BTCUSDT", "orderId": order["id"]}
    if path == "/fapi/v1/algoOrder":
        order = await ex.create_order("BTC/USDT:USDT", "limit", "buy", 0.1, 80000, {"triggerPrice": 79000})
        return {"symbol": "BTCUSDT", "algoId": order["id"]}
    return {"symbol": "BTCUSDT"} if "account" not in path.lower() and "balance" not in path else {}


def examples() -> list[Any]:
    """The official example replies, those that change account-wide settings last."""
    if not FIXTURES.exists():
        return [pytest.param("", "", None, marks=pytest.mark.skip("recorded exchange traffic is not beside REMORA_TEST_DATA"))]
    found = []
    for name in ("spot_rest", "usds_futures_rest"):
        for title, row in json.loads((FIXTURES / f"binance-connector/{name}.json").read_text()).items():
            found.append(pytest.param(row["method"], row["path"], row["response"], id=f"{name}-{title}"))
    last = ("cancel", "delete", "change_position_mode")
    return sorted(found, key=lambda case: any(word in str(case.id) for word in last) + ("change_position_mode" in str(case.id)))


@pytest.mark.parametrize(("method", "path", "example"), examples())
async def test_official_examples(busy: Simulator, method: str, path: str, example: Any) -> None:
    async with client(busy, "binance") as ex:
        params = await arguments(ex, method, path)
    key = "other-key" if path == "/fapi/v1/positionSide/dual" else KEY
    status, ours = await signed(busy, method, path, params, key=key)
    assert status == 200, ours
    assert list(shape_errors(example, ours)) == []


@pytest.mark.parametrize(("exchange", "call"), [(e, c) for e in ("binance", "bybit") for c in ("fetch_order_book", "fetch_ticker")])
async def test_recorded_public_replies(busy: Simulator, exchange: str, call: str) -> None:
    document = recorded(f"public-recorded/{exchange}_{call}_BTC_USDT.json")
    async with client(busy, exchange) as ex:
        await getattr(ex, call)(*document["args"])
        ours = json.loads(ex.last_http_response)
    assert list(shape_errors(document["http_response"], ours)) == []


BYBIT_LISTS = {
    "fetchClosedOrder": ("/v5/order/history", {"category": "linear", "symbol": "BTCUSDT"}),
    "fetchClosedOrders": ("/v5/order/history", {"category": "linear", "symbol": "BTCUSDT"}),
    "fetchPositions": ("/v5/position/list", {"category": "linear", "settleCoin": "USDT"}),
    "fetchMyTrades": ("/v5/execution/list", {"category": "linear", "symbol": "BTCUSDT"}),
    "fetchBalance": ("/v5/account/wallet-balance", {"accountType": "UNIFIED"}),
    "fetchMarginMode": ("/v5/account/info", {}),
}


@pytest.mark.parametrize("method", BYBIT_LISTS)
async def test_recorded_bybit_replies(busy: Simulator, method: str) -> None:
    path, params = BYBIT_LISTS[method]
    _, ours = await signed(busy, "GET", path, params)
    for case in recorded("ccxt-static/response/bybit.json")["methods"][method]:
        wanted = {k: v for k, v in case["httpResponse"].items() if k != "nextPageCursor"}
        for row in wanted["result"].get("list", []):
            row.pop("nextPageCursor", None)  # ccxt adds it to the last row
        assert list(shape_errors(wanted, ours, types=False)) == []
        assert kind(ours["retCode"]) == "number" and kind(ours["time"]) == "number"


def test_the_comparison_bites() -> None:
    example = {"a": 1, "b": [{"c": "1"}], "d": None}
    assert list(shape_errors(example, {"a": "1", "b": [], "d": 1})) == [
        ".a: str instead of number",
        ".b: empty",
        ".d: number instead of null",
    ]
    assert list(shape_errors(example, {"a": 1, "b": [{}], "d": None})) == [".b[0].c: missing"]
