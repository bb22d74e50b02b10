"""Every fault does what its name says to the client, and the ledger knows whether the order was executed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ccxt.base.errors import (
    BaseError,
    DDoSProtection,
    ExchangeError,
    ExchangeNotAvailable,
    OperationFailed,
    RateLimitExceeded,
    RequestTimeout,
)

from engine.exchanges.simulator import Options, Simulator
from engine.exchanges.simulator.faults import KINDS
from tests.contract.simulator.clients import admin, client, signed
from tests.contract.simulator.conftest import register
from tests.support import wait_until

HTML = (None, None)
"""ccxt returns normally with no id: the reply says nothing."""
BINANCE: dict[str, tuple[Any, int]] = {
    "reject": (BaseError, 0),
    "drop": (ExchangeNotAvailable, 0),
    "accept_and_drop": (ExchangeNotAvailable, 1),
    "accept_and_truncate": (ExchangeError, 1),
    "accept_and_delay": (RequestTimeout, 1),
    "execute_late": (ExchangeNotAvailable, 1),
    "html_200": (None, 0),
    "html_200_executed": (None, 1),
    "empty_200": (None, 0),
    "empty_200_executed": (None, 1),
    "http_502": (ExchangeNotAvailable, 0),
    "http_502_executed": (ExchangeNotAvailable, 1),
    "http_503": (ExchangeNotAvailable, 0),
    "http_503_executed": (ExchangeNotAvailable, 1),
    "http_504": (RequestTimeout, 0),
    "http_504_executed": (RequestTimeout, 1),
    "http_408": (RequestTimeout, 0),
    "http_408_executed": (RequestTimeout, 1),
    "unknown_code": (OperationFailed, 0),
    "unknown_code_executed": (OperationFailed, 1),
    "http_429": (DDoSProtection, 0),
    "http_418": (DDoSProtection, 0),
    "query_lag": (ExchangeNotAvailable, 1),
}
BYBIT = {kind: case for kind, case in BINANCE.items() if kind not in ("http_429", "http_418")} | {
    "unknown_code": (ExchangeError, 0),
    "unknown_code_executed": (ExchangeError, 1),
    "http_403": (RateLimitExceeded, 0),
    "bybit_10006": (RateLimitExceeded, 0),
}
CASES = [
    pytest.param(exchange, symbol, kind, error, executions, id=f"{exchange}-{kind}")
    for exchange, symbol, table in (("binance", "BTC/USDT", BINANCE), ("bybit", "BTC/USDT:USDT", BYBIT))
    for kind, (error, executions) in table.items()
]


async def executions(simulator: Simulator, client_id: str) -> int:
    """How often the ledger says it was executed."""
    rows = (await admin(simulator, "/_ledger?accounts=0"))["entries"]
    return sum(row["executions"] for row in rows if row["client_order_id"] == client_id)


@pytest.mark.parametrize(("exchange", "symbol", "kind", "error", "wanted"), CASES)
async def test_each_fault_once(simulator: Simulator, exchange: str, symbol: str, kind: str, error: Any, wanted: int) -> None:
    await admin(simulator, "/_faults", {"rules": [{"kind": kind, "client_id": "f1"}], "delay_s": 0.5, "late_s": 0.1, "lag_s": 0.2})
    async with client(simulator, exchange) as ex:
        await ex.load_markets()
        ex.timeout = 200 if kind == "accept_and_delay" else 10_000
        await ex.create_order(symbol, "market", "buy", 0.01, None, {"clientOrderId": "untouched"})
        if error is None:
            assert (await ex.create_order(symbol, "market", "buy", 0.01, None, {"clientOrderId": "f1"}))["id"] is None
        else:
            with pytest.raises(error):
                await ex.create_order(symbol, "market", "buy", 0.01, None, {"clientOrderId": "f1"})
    if wanted:
        await wait_until(lambda: executed(simulator, "f1"), 5, f"{kind} executes")
    assert await executions(simulator, "f1") == wanted
    assert await executions(simulator, "untouched") == 1
    assert (await admin(simulator, "/_faults"))["applied"] == {kind: 1}


async def executed(simulator: Simulator, client_id: str) -> bool:
    """The order has been executed by now."""
    return await executions(simulator, client_id) > 0


def test_every_kind_is_tried() -> None:
    tried = {*BINANCE, *BYBIT, "ack_then_reject", "realtime_cleared", "history_window"}
    assert tried == set(KINDS)


def order(link: str, category: str = "linear", **more: Any) -> dict[str, Any]:
    """A Bybit market buy."""
    return {"category": category, "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01", "orderLinkId": link} | more


async def listed(simulator: Simulator, endpoint: str, link: str) -> list[dict[str, Any]]:
    """What one of Bybit's list calls knows of an order."""
    _, reply = await signed(simulator, "GET", f"/v5/{endpoint}", {"category": "linear", "orderLinkId": link})
    return list(reply["result"]["list"])


async def test_bybit_acknowledges_then_rejects(simulator: Simulator) -> None:
    await admin(simulator, "/_faults", {"rules": [{"kind": "ack_then_reject"}]})
    _, reply = await signed(simulator, "POST", "/v5/order/create", order("r1"))
    assert reply["retCode"] == 0 and reply["result"]["orderLinkId"] == "r1"
    await wait_until(lambda: _status(simulator, "r1", "Rejected"), 5)
    assert await executions(simulator, "r1") == 0


async def _status(simulator: Simulator, link: str, wanted: str) -> bool:
    return [row["orderStatus"] for row in await listed(simulator, "order/realtime", link)] == [wanted]


async def test_bybit_executes_after_its_acknowledgement() -> None:
    simulator = Simulator(Options(bybit_async_ms=50))
    register(simulator)
    await simulator.start()
    try:
        await signed(simulator, "POST", "/v5/order/create", order("late"))
        assert [row["orderStatus"] for row in await listed(simulator, "order/realtime", "late")] == ["New"]
        await wait_until(lambda: _status(simulator, "late", "Filled"), 5)
    finally:
        await simulator.stop()


async def test_a_lagging_order_is_in_no_source_until_its_time(simulator: Simulator) -> None:
    await admin(simulator, "/_faults", {"rules": [{"kind": "query_lag", "seconds": 0.3, "drop": False}]})
    _, reply = await signed(simulator, "POST", "/v5/order/create", order("lag"))
    assert reply["retCode"] == 0
    for endpoint in ("order/realtime", "order/history", "execution/list"):
        assert await listed(simulator, endpoint, "lag") == []
    await wait_until(lambda: listed(simulator, "order/history", "lag"), 5)


async def test_a_restart_forgets_closed_orders_in_realtime_but_not_in_history(simulator: Simulator) -> None:
    await signed(simulator, "POST", "/v5/order/create", order("before"))
    assert await listed(simulator, "order/realtime", "before") != []
    await admin(simulator, "/_faults", {"action": "restart"})
    assert await listed(simulator, "order/realtime", "before") == []
    await admin(simulator, "/_faults", {"rules": [{"kind": "realtime_cleared"}]})
    await signed(simulator, "POST", "/v5/order/create", order("after"))
    assert await listed(simulator, "order/realtime", "after") == []
    assert len(await listed(simulator, "order/history", "after")) == 1


async def test_history_keeps_unfilled_orders_for_a_day(simulator: Simulator) -> None:
    resting = {"orderType": "Limit", "price": "40000"}
    for link in ("kept", "gone"):
        if link == "gone":
            await admin(simulator, "/_faults", {"rules": [{"kind": "history_window"}]})
        await signed(simulator, "POST", "/v5/order/create", order(link, **resting))
        await signed(simulator, "POST", "/v5/order/cancel", {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": link})
    assert len(await listed(simulator, "order/history", "kept")) == 1
    assert await listed(simulator, "order/history", "gone") == []
    await admin(simulator, "/_clock", {"offset_ms": 25 * 3_600_000})
    _, reply = await signed(
        simulator, "GET", "/v5/order/history", {"category": "linear", "orderLinkId": "kept"}, timestamp=_tomorrow(simulator)
    )
    assert reply["result"]["list"] == []


def _tomorrow(simulator: Simulator) -> int:
    return simulator.world.clock.now_ms()


async def test_binance_forgets_unfilled_orders_after_its_time(simulator: Simulator) -> None:
    limit = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "40000", "quantity": "0.01"}
    for path, days, code in (("/api/v3/order", 91, -2026), ("/fapi/v1/order", 4, -2013)):
        await signed(simulator, "POST", path, limit | {"newClientOrderId": "u"})
        query = {"symbol": "BTCUSDT", "origClientOrderId": "u"}
        await signed(simulator, "DELETE", path, query)
        assert (await signed(simulator, "GET", path, query))[0] == 200
        await admin(simulator, "/_clock", {"offset_ms": days * 86_400_000})
        _, reply = await signed(simulator, "GET", path, query, timestamp=_tomorrow(simulator))
        assert reply["code"] == code
        await admin(simulator, "/_clock", {"offset_ms": 0})


async def test_a_late_order_outside_its_window_is_not_executed(simulator: Simulator) -> None:
    await admin(simulator, "/_faults", {"rules": [{"kind": "execute_late", "seconds": 0.1}]})
    async with client(simulator, "binance") as ex:
        await ex.load_markets()
        with pytest.raises(ExchangeNotAvailable):
            await ex.create_order("BTC/USDT", "market", "buy", 0.01, None, {"clientOrderId": "l1", "recvWindow": 50})
    await wait_until(lambda: not simulator._mischief._late, 5)
    assert await executions(simulator, "l1") == 0


async def test_rates_are_seeded_and_rules_wait_for_their_request(simulator: Simulator) -> None:
    seen = []
    for _ in range(2):
        made = Simulator(Options(bybit_async_ms=0, faults="rate=0.5,seed=7,kinds=drop|http_502"))
        register(made)
        await made.start()
        outcomes = await asyncio.gather(*(_outcome(made, f"o{i}") for i in range(40)))
        seen.append((outcomes, dict(made.faults.applied)))
        await made.stop()
    assert [outcome == "200" for outcome in seen[0][0]] == [outcome == "200" for outcome in seen[1][0]]
    assert seen[0][1] == seen[1][1]
    assert set(seen[0][1]) == {"drop", "http_502"} and 8 < sum(seen[0][1].values()) < 32
    await admin(simulator, "/_faults", {"rules": [{"kind": "http_502", "nth": 2, "on": "query", "venue": "bybitlinear"}]})
    results = [(await _status_code(simulator)) for _ in range(3)]
    assert results == [200, 502, 200]


async def _outcome(simulator: Simulator, client_id: str) -> str:
    path, body = "/api/v3/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01", "newClientOrderId": client_id}
    try:
        status, _ = await signed(simulator, "POST", path, body)
    except Exception as error:
        return type(error).__name__
    return str(status)


async def _status_code(simulator: Simulator) -> int:
    try:
        status, _ = await signed(simulator, "GET", "/v5/order/realtime", {"category": "linear", "symbol": "BTCUSDT"})
    except ValueError:
        return 502
    return status


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"rules": [{"kind": "nonsense"}]}, "fault kind"),
        ({"rules": [{"kind": "drop", "when": 1}]}, "unknown when"),
        ({"rate": "often"}, "could not convert"),
        ({"kinds": ["nonsense"]}, "fault kind"),
    ],
)
async def test_a_wrong_script_is_refused(simulator: Simulator, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        await admin(simulator, "/_faults", spec)


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(ValueError, match="faults: got 'rate', expected name=value"):
        Simulator(Options(faults="rate"))
    with pytest.raises(ValueError, match="limits: got 'some'"):
        Simulator(Options(limits="some"))
