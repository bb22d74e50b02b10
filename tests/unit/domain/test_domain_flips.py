"""Given a lot, when its whale flips, then the old leaves now and the new opens when the old is gone, if it still may."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.events import (
    CopiesSkipped,
    CopyDecided,
    CopySkipped,
    OpenDropped,
    OrdersRequested,
)
from engine.domain.messages import (
    ConfigureFollower,
    PlaceOrder,
    SetSwitch,
    UnfollowWhale,
)
from engine.domain.values import FollowerSettings
from tests.given import Shard, d, limits, of, only, opened

SPOT = FollowerSettings(preferred_exchange="binance")


def pending(shard: Shard, follower_id: str = "f1") -> list[PlaceOrder]:
    return list((shard.state.followers[follower_id].orders or {}).values())


def test_a_flip_leaves_now_and_opens_when_the_old_lot_is_gone(shard: Shard) -> None:
    opened(shard)
    decided = only(CopyDecided, shard.signal("flip", "sell", 3))
    (leaving,), (waiting,) = decided.orders, decided.waiting
    assert (decided.direction, leaving.kind, waiting.kind, waiting.leg) == ("short", "exit", "open", 1)
    requested = only(OrdersRequested, shard.settle(leaving))
    assert requested.orders == (waiting,)
    shard.settle_all()
    assert (shard.lot().direction, shard.lot().filled) == ("short", d("0.1"))


def test_a_flip_opens_only_what_lies_beyond_zero(shard: Shard) -> None:
    opened(shard, sizing="multiplier", multiplier=d("0.1"))
    assert only(CopyDecided, shard.signal("flip", "sell", 3)).waiting[0].quantity == d("0.2")


def test_a_flip_without_a_lot_opens_at_once(shard: Shard) -> None:
    shard.follower(start_mode="until_flat")
    decided = only(CopyDecided, shard.signal("flip", "sell", 3, before=d(1)))
    assert decided.orders[0].kind == "open" and decided.waiting == ()


def test_a_flip_on_spot_only_leaves(shard: Shard) -> None:
    opened(shard, settings=SPOT)
    decided = only(CopyDecided, shard.signal("flip", "sell", 3))
    assert (decided.outcome, decided.open_reason, decided.orders[0].kind) == ("reduced", "short_on_spot", "exit")


def test_a_flip_waits_for_an_unsettled_open_too(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy")
    (order,) = pending(shard)
    assert only(CopyDecided, shard.signal("flip", "sell", 3)).orders == ()
    (leaving,) = only(OrdersRequested, shard.settle(order)).orders
    assert leaving.kind == "exit"
    (opening,) = only(OrdersRequested, shard.settle(leaving)).orders
    assert (opening.kind, opening.side) == ("open", "sell")


def test_a_waiting_open_expires(shard: Shard) -> None:
    opened(shard)
    (leaving,) = only(CopyDecided, shard.signal("flip", "sell", 3)).orders
    assert not of(OpenDropped, shard.tick(59_999))
    assert only(OpenDropped, shard.tick()).reason == "signal_expired"
    assert not of(OrdersRequested, shard.settle(leaving))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (SetSwitch(request_id="c", scope="global", state="halt"), "kill_switch"),
        (SetSwitch(request_id="c", scope="whale", target="w1", state="close_only"), "close_only"),
        (UnfollowWhale(request_id="c", follower_id="f1", whale_id="w1"), "auto_copy_disabled"),
        (
            ConfigureFollower(request_id="c", follower_id="f1", settings=FollowerSettings(copy_trading_enabled=False)),
            "copy_trading_disabled",
        ),
        (ConfigureFollower(request_id="c", follower_id="f1", settings=FollowerSettings(paused=True)), "paused"),
    ],
)
def test_a_waiting_open_is_held_against_what_counts_then(shard: Shard, change: Any, reason: str) -> None:
    opened(shard)
    (leaving,) = only(CopyDecided, shard.signal("flip", "sell", 3)).orders
    shard.send(change, source="c")
    assert only(OpenDropped, shard.settle(leaving)).reason == reason


def test_a_waiting_open_against_another_whales_lot_is_dropped(shard: Shard) -> None:
    opened(shard)
    (leaving,) = only(CopyDecided, shard.signal("flip", "sell", 3)).orders
    shard.follower(whale_id="w2")
    assert only(CopiesSkipped, shard.signal("open", "buy", whale_id="w2")).reason == "opposite_position", "the waiting open counts"
    assert of(OrdersRequested, shard.settle(leaving))


def test_a_close_drops_the_open_that_waits(shard: Shard) -> None:
    opened(shard)
    (leaving,) = only(CopyDecided, shard.signal("flip", "sell", 3)).orders
    events = shard.signal("close", "buy", 2)
    assert only(OpenDropped, events).reason == "whale_closed"
    assert only(CopyDecided, events).orders == ()
    assert not of(OrdersRequested, shard.settle(leaving))
    assert shard.lots() == {}


def test_a_flip_back_while_the_first_waits(shard: Shard) -> None:
    opened(shard)
    (leaving,) = only(CopyDecided, shard.signal("flip", "sell", 3)).orders
    events = shard.signal("flip", "buy", 4)
    assert of(OpenDropped, events)
    shard.settle(leaving)
    shard.settle_all()
    assert all(lot.direction == "long" for lot in shard.lots().values())


def test_a_flip_while_exits_are_halted_is_due_and_opens_nothing(shard: Shard) -> None:
    opened(shard)
    shard.send(SetSwitch(request_id="h", state="halt_exits"), source="c")
    events = shard.signal("flip", "sell", 3)
    assert only(CopySkipped, events).reason == "kill_switch"
    shard.send(SetSwitch(request_id="r", state="running"), source="c")
    (leaving,) = only(OrdersRequested, shard.tick()).orders
    assert leaving.kind == "exit"
    shard.settle_all()
    assert shard.lots() == {}


def test_a_flip_of_an_unfollowed_whale_only_leaves(shard: Shard) -> None:
    opened(shard)
    shard.send(UnfollowWhale(request_id="u", follower_id="f1", whale_id="w1"))
    decided = only(CopyDecided, shard.signal("flip", "sell", 3))
    assert (decided.orders[0].kind, decided.waiting, decided.open_reason) == ("exit", (), "auto_copy_disabled")


def test_a_flip_back_before_the_first_one_is_through(shard: Shard) -> None:
    """The open that waits will never come: it stands neither against the new one nor in its caps."""
    opened(shard, limits=limits(max_position_quote=d(200)))
    shard.signal("flip", "sell", 2)
    decided = only(CopyDecided, events := shard.signal("flip", "buy", 2))
    assert (decided.outcome, decided.open_reason, only(OpenDropped, events).reason) == ("copied", "", "whale_closed")
    (requested,) = only(OrdersRequested, events).orders
    assert (requested.kind, requested.side, requested.quantity) == ("open", "buy", d("0.1"))
    shard.settle_all()
    assert (shard.lot().direction, shard.lot().filled) == ("long", d("0.1"))
