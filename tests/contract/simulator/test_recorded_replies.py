"""The same calls that were recorded, made against the simulator: its replies have at least the recorded keys, at every depth."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.exchanges.simulator import Options, Simulator
from tests.contract.simulator.clients import FIXTURES, client, recorded, snake
from tests.contract.simulator.conftest import register
from tests.contract.simulator.test_reply_shapes import shape_errors

ELSEWHERE = {"papi"}
"""Accounts that are not simulated (portfolio margin)."""


@pytest.fixture(scope="module")
async def busy() -> AsyncIterator[Simulator]:
    """A simulator whose account has orders, fills and positions in the recorded markets."""
    made = Simulator(Options(bybit_async_ms=0))
    register(made, balances={"LTC": "1000", "BTC": "1"})
    await made.start()
    for exchange in ("binance", "bybit"):
        async with client(made, exchange) as ex:
            for symbol in ("LTC/USDT", "LTC/USDT:USDT", "BTC/USDT", "BTC/USDT:USDT"):
                await ex.create_order(symbol, "market", "buy", 1)
    yield made
    await made.stop()


def cases(exchange: str) -> list[Any]:
    """Recorded calls, less the accounts that are not simulated."""
    file = FIXTURES / f"ccxt-static/response/{exchange}.json"
    if not file.exists():
        return [pytest.param("", {}, marks=pytest.mark.skip("recorded exchange traffic is not beside REMORA_TEST_DATA"))]
    found = []
    for method, listed in json.loads(file.read_text())["methods"].items():
        for number, case in enumerate(listed):
            if not any(word in json.dumps(case["input"]) for word in ELSEWHERE):
                found.append(pytest.param(method, case, id=f"{method}-{number}"))
    return found


async def prepared(ex: Any, method: str, arguments: list[Any]) -> list[Any]:
    """Orders that the call speaks of exist: recorded ids are replaced by those of ours."""
    symbol = next((a for a in arguments if isinstance(a, str) and "/" in a), "BTC/USDT:USDT")
    params = next((a for a in arguments if isinstance(a, dict)), {})
    if params.get("trigger"):
        made = await ex.create_order(symbol, "limit", "buy", 0.1, 80000, {"triggerPrice": 79000})
    elif method == "fetchClosedOrder":
        made = await ex.create_order(symbol, "market", "buy", 0.1)
    elif method in ("fetchOrder", "fetchOpenOrders", "cancelAllOrders", "editOrder"):
        link = {"clientOrderId": params["clientOrderId"]} if "clientOrderId" in params else {}
        made = await ex.create_order(symbol, "limit", "buy", 0.2, 40, link)
    else:
        return arguments
    takes_id = method in ("fetchOrder", "fetchClosedOrder", "cancelOrder")
    return [made["id"], *arguments[1:]] if takes_id else arguments


def without_cursors(value: Any) -> Any:
    """The recording less the cursors that ccxt adds to the last row."""
    if isinstance(value, dict):
        return {key: without_cursors(item) for key, item in value.items() if key != "nextPageCursor"}
    return [without_cursors(item) for item in value] if isinstance(value, list) else value


async def compare(busy: Simulator, exchange: str, method: str, case: dict[str, Any]) -> None:
    unified = {"enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6}
    async with client(busy, exchange, **unified) as ex:
        ex.set_markets(recorded(f"ccxt-static/markets/{exchange}.json"))
        await getattr(ex, snake(method))(*await prepared(ex, method, list(case["input"])))
        ours = json.loads(ex.last_http_response)
    assert list(shape_errors(without_cursors(case["httpResponse"]), ours, types=False)) == []


@pytest.mark.parametrize(("method", "case"), cases("binance"))
async def test_binance(busy: Simulator, method: str, case: dict[str, Any]) -> None:
    await compare(busy, "binance", method, case)


@pytest.mark.parametrize(("method", "case"), cases("bybit"))
async def test_bybit(busy: Simulator, method: str, case: dict[str, Any]) -> None:
    await compare(busy, "bybit", method, case)
