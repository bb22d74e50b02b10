"""Given lots, when somebody closes or flattens by hand, or exits were halted, then everything leaves as soon as it may."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.events import (
    CopyDecided,
    DustRecorded,
    OpenDropped,
    OrdersRequested,
)
from engine.domain.messages import (
    ClosePosition,
    Flatten,
    PlaceOrder,
    RulesReported,
    SetSwitch,
)
from engine.domain.values import FollowerSettings
from tests.given import BTC_PERP, ETH, Shard, d, of, only, opened, rules

SPOT = FollowerSettings(preferred_exchange="binance")


def pending(shard: Shard, follower_id: str = "f1") -> list[PlaceOrder]:
    return list((shard.state.followers[follower_id].orders or {}).values())


def test_close_by_hand(shard: Shard) -> None:
    opened(shard)
    shard.signal("open", "buy", symbol=ETH)
    shard.settle_all()
    closing = ClosePosition(request_id="c", follower_id="f1", symbol=BTC_PERP)
    requested = only(OrdersRequested, shard.send(closing))
    assert (requested.cause, requested.orders[0].cause, requested.orders[0].quantity) == ("c", "c", d("0.1"))
    assert shard.send(closing) == []
    assert len(of(OrdersRequested, shard.send(ClosePosition(request_id="d", follower_id="f1", whale_id="w1")))) == 1
    shard.settle_all()
    assert shard.lots() == {}
    assert shard.send(ClosePosition(request_id="e", follower_id="nobody")) == []


def test_close_by_hand_drops_opens_that_wait(shard: Shard) -> None:
    opened(shard)
    (leaving,) = only(CopyDecided, shard.signal("flip", "sell", 3)).orders
    events = shard.send(ClosePosition(request_id="c", follower_id="f1"))
    assert only(OpenDropped, events).reason == "closed_by_hand"
    assert not of(OrdersRequested, shard.settle(leaving))


@pytest.mark.parametrize(
    ("scope", "target", "closed"),
    [("global", "", {"f1", "f2"}), ("exchange", "bybitlinear", {"f2"}), ("whale", "w2", set()), ("follower", "f1", {"f1"})],
)
def test_flatten(shard: Shard, scope: Any, target: str, closed: set[str]) -> None:
    shard.follower("f1")
    shard.follower("f2", settings=FollowerSettings(preferred_exchange="bybitlinear"))
    shard.signal("open", "buy")
    shard.settle_all("f1")
    shard.settle_all("f2")
    events = shard.send(Flatten(request_id="x", scope=scope, target=target), source="c")
    assert {event.originator_id for event in of(OrdersRequested, events)} == closed


def test_flatten_while_exits_are_halted_goes_when_they_are_not(shard: Shard) -> None:
    opened(shard)
    shard.send(SetSwitch(request_id="h", state="halt_exits"), source="c")
    assert only(OrdersRequested, shard.send(Flatten(request_id="x"), source="c")).orders == ()
    shard.send(SetSwitch(request_id="r", state="close_only"), source="c")
    assert only(OrdersRequested, shard.tick()).orders[0].quantity == d("0.1")


def test_exits_of_one_request_that_waited_are_orders_of_their_own(shard: Shard) -> None:
    """The same request left something due in two lots: no order has the id of another, nor when one of them fails and waits again."""
    opened(shard)
    shard.signal("open", "buy", symbol=ETH)
    shard.settle_all()
    shard.send(SetSwitch(request_id="h", state="halt_exits"), source="c")
    shard.send(Flatten(request_id="x"), source="c")
    shard.send(SetSwitch(request_id="r", state="close_only"), source="c")
    first, second = [order for event in of(OrdersRequested, shard.tick()) for order in event.orders]
    assert first.symbol != second.symbol and first.command_id != second.command_id
    shard.send(SetSwitch(request_id="h2", state="halt_exits"), source="c")
    shard.settle(first)
    shard.settle(second, "0")
    shard.send(SetSwitch(request_id="lifted", state="close_only"), source="c")
    asked = [order for event in of(OrdersRequested, shard.tick(5000)) for order in event.orders]
    assert [(order.symbol, order.quantity) for order in asked] == [(second.symbol, second.quantity)]
    assert asked[0].command_id not in (first.command_id, second.command_id)
    shard.settle_all()
    assert shard.lots() == {}


def test_an_open_that_fills_while_exits_are_halted_leaves_later(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy")
    (order,) = pending(shard)
    shard.signal("close", "sell")
    shard.send(SetSwitch(request_id="h", state="halt_exits"), source="c")
    assert only(OrdersRequested, shard.settle(order)).orders == ()
    shard.send(SetSwitch(request_id="r", state="running"), source="c")
    assert only(OrdersRequested, shard.tick()).orders[0].quantity == d("0.1")


def test_a_failed_exit_whose_rest_is_too_small_is_carried(shard: Shard) -> None:
    opened(shard, settings=SPOT)
    (order,) = only(CopyDecided, shard.signal("reduce", "sell", "0.05")).orders
    shard.settle(order, "0.004")
    assert only(OrdersRequested, shard.tick()).orders == ()
    assert (shard.lot().due, shard.lot().retry_at, shard.state.alarms) == (d("0.001"), 0, {})


def test_rules_that_changed_may_make_a_lot_dust(shard: Shard) -> None:
    opened(shard)
    shard.send(RulesReported(venue="binanceusdm", rules=(rules("binanceusdm", BTC_PERP, min_quantity=d(1)),), at=shard.now), source="m")
    assert only(DustRecorded, shard.send(ClosePosition(request_id="c", follower_id="f1"))).quantity == d("0.1")
