"""Whatever a client sends, it gets an answer in the venue's words: every endpoint, wrong values, wrong shapes."""

from __future__ import annotations

import hmac
import json
import random
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from engine.exchanges.simulator import Options, Simulator
from engine.exchanges.simulator.dispatch import ROUTES
from engine.exchanges.simulator.wire import Call, Reply
from tests.contract.simulator.clients import KEY, SECRET
from tests.contract.simulator.conftest import register

GOOD = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "quantity": "0.1",
    "price": "40000",
    "timeInForce": "GTC",
    "algoType": "CONDITIONAL",
    "triggerPrice": "79000",
}
GOOD_BYBIT = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1", "price": "40000"}
_WORDS = (
    "symbol symbols side type quantity price timeInForce quoteOrderQty stopPrice newClientOrderId origClientOrderId orderId startTime "
    "endTime limit fromId cancelOrderId cancelReplaceMode icebergQty trailingDelta strategyId strategyType leverage marginType amount "
    "dualSidePosition batchOrders orderIdList goodTillDate callbackRate activatePrice triggerPrice algoType algoId clientAlgoId pair "
    "reduceOnly positionSide newOrderRespType priceMatch countdownTime multiAssetsMargin"
)
_WORDS_BYBIT = (
    "category symbol side orderType qty price timeInForce orderLinkId orderId orderFilter triggerPrice triggerDirection takeProfit "
    "stopLoss request settleCoin startTime endTime limit cursor orderStatus execType buyLeverage sellLeverage mode setMarginMode "
    "accountType interval positionIdx marketUnit reduceOnly status trailingStop timeWindow margin riskId tpSlMode openOnly"
)
NAMES, NAMES_BYBIT = _WORDS.split(), _WORDS_BYBIT.split()
VALUES: list[Any] = [
    *(
        "",
        "abc",
        "-1",
        "0",
        "1e400",
        "NaN",
        "Infinity",
        "9" * 40,
        "9" * 5000,
        "BTCUSDT",
        "[]",
        "[1]",
        "[[]]",
        "{}",
        "[{}]",
        "null",
        "é",
        "1.5",
    ),
    *('["BTCUSDT"]', "MARKET", "Market", "0.1", "99999999999999999999", "0.00000000000000000001"),
]
SHAPES: list[Any] = [None, 1, 1.5, True, [], {}, [1], [None], [{}], [{"symbol": 1}], [{"symbol": "BTCUSDT", "qty": [], "side": "Buy"}]]


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    """Asked without a socket."""
    made = Simulator(Options(bybit_async_ms=0))
    register(made, balances={"BTC": "5"})
    return made


def ask(simulator: Simulator, exchange: str, method: str, path: str, params: dict[str, Any]) -> Reply:
    """One signed request, as the server would pass it on."""
    stamp, query, body = str(int(time.time() * 1000)), "", b""
    if exchange == "bybit":
        text = json.dumps(params) if method == "POST" else urlencode(params)
        sign = hmac.new(SECRET.encode(), f"{stamp}{KEY}5000{text}".encode(), "sha256").hexdigest()
        headers = {"X-BAPI-API-KEY": KEY, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": "5000", "X-BAPI-SIGN": sign}
    else:
        text = urlencode(params | {"timestamp": stamp})
        text += "&signature=" + hmac.new(SECRET.encode(), text.encode(), "sha256").hexdigest()
        headers = {"X-MBX-APIKEY": KEY}
    if method in ("POST", "PUT"):
        body = text.encode()
    else:
        query = text
    call = Call(exchange, method, path, query, body, headers, "127.0.0.1", 0)
    route = simulator.dispatcher.route(call)
    assert route is not None
    return simulator.dispatcher.open(call, route) or simulator.dispatcher.run(call, route)


def attempts(exchange: str, method: str, path: str) -> list[dict[str, Any]]:
    """Nothing at all, a good order with one value wrong, single values, and (Bybit) JSON of the wrong shape. Seeded by the endpoint."""
    good, names = (GOOD_BYBIT, NAMES_BYBIT) if exchange == "bybit" else (GOOD, NAMES)
    every = [good | {name: value} for name in names for value in VALUES] + [{name: value} for name in names for value in VALUES]
    chosen = random.Random(f"{method} {path}").sample(every, 40)
    shapes = [good | {name: shape} for name in ("request", "qty", "symbol") for shape in SHAPES]
    return [{}, dict(good), *chosen, *(shapes if exchange == "bybit" and method == "POST" else [])]


@pytest.mark.parametrize("exchange", ROUTES)
async def test_no_request_is_too_strange(simulator: Simulator, exchange: str) -> None:
    asked = 0
    for method, path in ROUTES[exchange]:
        for params in attempts(exchange, method, path):
            reply = ask(simulator, exchange, method, path, params)
            answer = json.loads(reply.encoded())
            assert reply.status < 500, (method, path, params)
            if reply.status != 200:
                assert answer["code"] < 0 and answer["msg"], (method, path, params)
            asked += 1
    assert asked > 40 * len(ROUTES[exchange])
    for method, path in ROUTES[exchange]:
        if method == "GET":
            assert ask(simulator, exchange, method, path, dict(GOOD_BYBIT if exchange == "bybit" else {"symbol": "BTCUSDT"})).status < 500
