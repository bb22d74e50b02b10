"""Every fault of the simulator ends in the right end state, with the ledger's count of executions to match: one, or none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.domain.messages import OrderSettled, PlaceOrder
from engine.domain.values import VENUES
from engine.exchanges.simulator.faults import KINDS
from engine.exchanges.simulator.model import Order
from tests.integration.executor.rig import Rig

EXCHANGE = {"binance": "binance", "binanceusdm": "binanceusdm", "bybit": "bybit", "bybitlinear": "bybit"}
SECONDS = {
    "accept_and_delay": 2.0,
    "execute_late": 0.4,
    "query_lag": 1.0,
    "http_429": 0.5,
    "http_418": 0.5,
    "http_403": 0.5,
    "bybit_10006": 0.5,
}
LOST = ("drop", "html_200", "empty_200", "http_502", "http_503", "http_504", "http_408", "unknown_code")
"""Not executed, and the reply does not say so."""


def _expected(kind: str, venue: str, exit_: bool) -> set[str]:
    if kind in ("reject", "ack_then_reject"):
        return {"filled"} if exit_ and kind == "reject" else {"rejected"}
    if kind in LOST and not exit_ and venue.startswith("binance"):
        return {"missed"}
    return {"filled"}


def _held(order: PlaceOrder, kind: str, end: OrderSettled, entry: dict[str, Any] | None, venue: str) -> None:
    what = f"{kind} on {venue} ({order.kind}): {end} {entry}"
    assert end.status in _expected(kind, venue, order.kind == "exit"), what
    executions = entry["executions"] if entry else 0
    assert executions == (1 if end.status == "filled" else 0), what
    if end.status == "missed":
        assert end.reason == "absent", what


async def _open_all(rig: Rig, venue: str, kinds: list[str]) -> None:
    """Give every exit's account something to close."""
    price = await rig.price(venue)
    first = [rig.order(f"exit-{kind}", venue, price) for kind in kinds]
    await rig.send(*first)
    assert {end.status for end in await rig.wait_settled(*first)} == {"filled"}


@pytest.mark.parametrize("venue", VENUES)
async def test_every_fault_of_an_order_request(rig: Rig, venue: str) -> None:
    kinds = [kind for kind, where in KINDS.items() if EXCHANGE[venue] in where and kind != "history_window"]
    for kind in kinds:
        await rig.account(f"open-{kind}", venue)
        await rig.account(f"exit-{kind}", venue, balances={"BTC": "1"})
    async with rig.running(recv_window_ms=1000):
        await _open_all(rig, venue, kinds)
        price = await rig.price(venue)
        opens = [rig.order(f"open-{kind}", venue, price) for kind in kinds]
        exits = [rig.exit(f"exit-{kind}", venue) for kind in kinds]
        rules = [
            {"kind": kind, "client_id": order.command_id, "seconds": SECONDS.get(kind)}
            for orders in (opens, exits)
            for kind, order in zip(kinds, orders, strict=True)
        ]
        await rig.admin("POST", "/_faults", {"rules": rules})
        await rig.send(*opens, *exits)
        ends = await rig.wait_settled(*opens, *exits, deadline_s=60.0)
    applied = (await rig.admin("GET", "/_faults"))["applied"]
    assert all(applied.get(kind, 0) >= 2 for kind in kinds), applied
    ledger = await rig.ledger()
    for kind, order, end in zip([*kinds, *kinds], [*opens, *exits], ends, strict=True):
        _held(order, kind, end, ledger.get(order.command_id), venue)


@pytest.mark.parametrize(
    ("venue", "expected"),
    [
        ("binance", ("unfilled", "", "ARCHIVED")),
        ("binanceusdm", ("missed", "absent", "")),
        ("bybit", ("unfilled", "unfindable", "")),
        ("bybitlinear", ("unfilled", "unfindable", "")),
    ],
)
async def test_an_order_that_history_no_longer_shows(rig: Rig, venue: str, expected: tuple[str, str, str]) -> None:
    """The reply is lost, the order ends untraded and falls out of the venue's history: spot says that it was there, Bybit that its id
    is used, USD-M nothing. None is sent twice into the book."""
    await rig.account("f1", venue)
    price, engine = await rig.price(venue), rig.simulator.world.engine
    order = rig.order("f1", venue, price, limit_price=price * Decimal("0.97"))
    closed = engine._closed

    def forget(ended: Order) -> None:
        closed(ended)
        ended.archived = not ended.filled
        ended.account.forgotten.add(ended.id)

    engine._closed = forget  # type: ignore[method-assign]
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "accept_and_drop", "client_id": order.command_id}]})
    async with rig.running():
        await rig.send(order)
        (end,) = await rig.wait_settled(order)
    assert (end.status, end.reason, end.raw_code) == expected
    placed = [each for account in rig.simulator.world.registry.by_key.values() for each in account.orders.values()]
    assert [each.ask.client_id for each in placed] == [order.command_id]


async def test_an_acknowledged_order_that_nobody_shows_was_there(rig: Rig) -> None:
    """Its reply said NEW, then every source lost it: it ended untraded. An exit is not sent again on top of it."""
    await rig.account("f1", "binance", balances={"BTC": "1"})
    price, engine = await rig.price(), rig.simulator.world.engine
    order, execute = rig.exit("f1", "binance", limit_price=price * 2), engine.execute

    def rest(placed: Order) -> None:
        if placed.ask.client_id != order.command_id:
            execute(placed)
            return
        placed.status, placed.visible_ms = "NEW", 1 << 62

    engine.execute = rest  # type: ignore[method-assign]
    async with rig.running():
        await rig.send(order)
        (end,) = await rig.wait_settled(order)
    assert (end.status, end.reason, end.attempts) == ("unfilled", "unfindable", 1)
