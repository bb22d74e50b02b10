"""What ccxt sends to the simulator is what the exchanges saw: every recorded request, driven through the unmodified classes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from ccxt.base.errors import BaseError

from engine.exchanges.simulator import Simulator
from engine.exchanges.simulator.wire import Call, Reply
from engine.exchanges.simulator.world import Route
from tests.contract.simulator.clients import FIXTURES, client, recorded, snake

MORE_SKIPPED = {"clientAlgoId", "signature", "timestamp", "recvWindow", "newClientOrderId", "orderLinkId"}


def cases(exchange: str) -> list[Any]:
    """Every recorded case as a pytest parameter."""
    file = FIXTURES / f"ccxt-static/request/{exchange}.json"
    if not file.exists():
        return [pytest.param("", {}, marks=pytest.mark.skip("recorded exchange traffic is not beside REMORA_TEST_DATA"))]
    methods = json.loads(file.read_text())["methods"]
    return [pytest.param(m, case, id=f"{m}-{i}") for m, listed in methods.items() for i, case in enumerate(listed)]


def decoded(text: str | bytes | None) -> dict[str, Any]:
    """Parameters of a query, a form or a JSON body; JSON inside a form is decoded too."""
    raw = text.decode() if isinstance(text, bytes) else text or ""
    if raw.startswith("{"):
        return dict(json.loads(raw))
    pairs = dict(parse_qsl(raw, keep_blank_values=True))
    return {key: json.loads(value) if value[:1] in "[{" else value for key, value in pairs.items()}


def without(value: Any, skipped: set[str]) -> Any:
    """The value less the keys to ignore, at every depth."""
    if isinstance(value, dict):
        return {key: without(item, skipped) for key, item in value.items() if key not in skipped}
    return [without(item, skipped) for item in value] if isinstance(value, list) else value


def record(simulator: Simulator) -> list[tuple[Call, Route | None]]:
    """Every call that the simulator routes from now on."""
    seen: list[tuple[Call, Route | None]] = []
    route = simulator.dispatcher.route

    def remember(call: Call) -> Route | None:
        seen.append((call, route(call)))
        return seen[-1][1]

    simulator.dispatcher.route = remember  # type: ignore[method-assign]
    return seen


async def drive(simulator: Simulator, exchange: str, method: str, case: dict[str, Any]) -> tuple[Call, Route | None]:
    """Run one recorded call through ccxt; what the simulator saw of it last."""
    document = recorded(f"ccxt-static/request/{exchange}.json")
    options = dict(document.get("options") or {}) | {"enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6}
    async with client(simulator, exchange, **options) as made:
        made.set_markets(recorded(f"ccxt-static/markets/{exchange}.json"))
        seen = record(simulator)
        try:
            await getattr(made, snake(method))(*case["input"])
        except BaseError:
            assert seen, f"{method} was refused by ccxt itself"
        return seen[-1]


@pytest.mark.parametrize(("method", "case"), cases("binance"))
async def test_binance(simulator: Simulator, method: str, case: dict[str, Any]) -> None:
    call, route = await drive(simulator, "binance", method, case)
    assert_same(call, route, case, set(recorded("ccxt-static/request/binance.json")["skipKeys"]) | MORE_SKIPPED)


@pytest.mark.parametrize(("method", "case"), cases("bybit"))
async def test_bybit(simulator: Simulator, method: str, case: dict[str, Any]) -> None:
    call, route = await drive(simulator, "bybit", method, case)
    assert_same(call, route, case, set(recorded("ccxt-static/request/bybit.json").get("skipKeys", [])) | MORE_SKIPPED - {"orderLinkId"})


def assert_same(call: Call, route: Route | None, case: dict[str, Any], skipped: set[str]) -> None:
    """Path and parameters equal the recording, and the simulator knows the endpoint."""
    wanted = urlsplit(case["url"])
    assert call.path == wanted.path
    assert without(decoded(call.query), skipped) == without(decoded(wanted.query), skipped)
    assert without(decoded(call.body), skipped) == without(decoded(case.get("output")), skipped)
    assert route is not None, f"the simulator has no {call.method} {call.path}"


def test_an_unknown_endpoint_is_not_found(simulator: Simulator) -> None:
    call = Call("binance", "GET", "/api/v3/nothing", "", b"", {}, "", 0)
    assert simulator.dispatcher.route(call) is None
    assert Reply({"a": 1}).encoded() == b'{"a":1}'
