"""Given lots, when a whale reduces, closes or flips, then exactly the whale's share leaves, whatever is under way."""

from __future__ import annotations

import pytest

from engine.domain.events import (
    CopiesSkipped,
    CopyDecided,
    CopySkipped,
    DustRecorded,
    OrderEnded,
    OrdersRequested,
)
from engine.domain.messages import (
    CancelOrder,
    ConfigureFollower,
    FollowWhale,
    PlaceOrder,
    SetSwitch,
    UnfollowWhale,
)
from engine.domain.values import FollowerSettings, FollowTerms
from tests.given import BTC_PERP, Shard, d, of, only, opened

SPOT = FollowerSettings(preferred_exchange="binance")


def pending(shard: Shard, follower_id: str = "f1") -> list[PlaceOrder]:
    return list((shard.state.followers[follower_id].orders or {}).values())


def test_a_partial_exit_takes_the_whales_fraction(shard: Shard) -> None:
    opened(shard)
    decided = only(CopyDecided, shard.signal("reduce", "sell", "0.25"))
    (order,) = decided.orders
    assert (order.kind, order.side, order.quantity, order.limit_price, order.expires_at) == ("exit", "sell", d("0.025"), None, None)
    assert order.reduce_only
    shard.settle_all()
    assert shard.lot().filled == d("0.075")


def test_a_partial_exit_takes_of_what_is_not_leaving_yet(shard: Shard) -> None:
    opened(shard)
    shard.signal("reduce", "sell", "0.5")
    assert only(CopyDecided, shard.signal("reduce", "sell", "0.25")).sizing.quantity == d("0.025")
    assert only(CopyDecided, shard.signal("close", "sell", "0.25")).sizing.quantity == d("0.025")
    shard.settle_all()
    assert shard.lots() == {}


def test_a_close_takes_everything_and_the_lot_ends(shard: Shard) -> None:
    opened(shard, "sell")
    (order,) = only(CopyDecided, shard.signal("close", "buy")).orders
    assert (order.side, order.quantity) == ("buy", d("0.1"))
    shard.settle_all()
    assert shard.lots() == {}


def test_a_second_close_while_the_first_is_leaving_asks_for_nothing(shard: Shard) -> None:
    opened(shard)
    shard.signal("close", "sell")
    assert only(CopyDecided, shard.signal("close", "sell", before=d(1), after=d(0))).orders == ()


def test_nothing_to_close(shard: Shard) -> None:
    shard.follower()
    assert only(CopiesSkipped, shard.signal("close", "sell", before=d(1), after=d(0))).reason == "nothing_to_close"
    shard.signal("open", "sell")
    shard.settle_all()
    wrong_side = shard.signal("reduce", "sell", before=d(2), after=d(1))
    assert only(CopiesSkipped, wrong_side).reason == "nothing_to_close", "a long's exit touches no short"


def test_exits_not_copied(shard: Shard) -> None:
    opened(shard, copy_exits=False)
    assert only(CopiesSkipped, shard.signal("close", "sell")).reason == "exits_not_copied"


@pytest.mark.parametrize(
    "settings",
    [
        FollowerSettings(preferred_exchange="binanceusdm", copy_trading_enabled=False),
        FollowerSettings(preferred_exchange="binanceusdm", paused=True),
    ],
)
def test_exits_pass_the_followers_switches(shard: Shard, settings: FollowerSettings) -> None:
    opened(shard)
    shard.send(ConfigureFollower(request_id="c", follower_id="f1", settings=settings))
    terms = FollowTerms(auto_copy_enabled=False, rollout_percent=0, symbols_denied=(BTC_PERP,), trade_types_allowed=())
    shard.send(FollowWhale(request_id="t", follower_id="f1", whale_id="w1", terms=terms))
    for scope, target in (("global", ""), ("exchange", "binanceusdm"), ("whale", "w1"), ("follower", "f1")):
        shard.send(SetSwitch(request_id=scope, scope=scope, target=target, state="halt"), source="c")  # type: ignore[arg-type]
    assert of(CopyDecided, shard.signal("reduce", "sell", "0.5", detected_at=shard.now - 3_600_000))
    assert of(CopyDecided, shard.signal("close", "sell", "0.5"))


def test_halted_exits_are_refused_and_go_once_the_switch_is_lifted(shard: Shard) -> None:
    opened(shard)
    shard.send(SetSwitch(request_id="h", state="halt_exits"), source="c")
    refused = only(CopySkipped, shard.signal("close", "sell"))
    assert (refused.reason, refused.limit, refused.carried_quantity) == ("kill_switch", "halt_exits", d("0.1"))
    assert shard.tick(60_000) == []
    shard.send(SetSwitch(request_id="r", state="running"), source="c")
    requested = only(OrdersRequested, shard.tick())
    assert (requested.orders[0].quantity, requested.cause) == (d("0.1"), "s2")
    shard.settle_all()
    assert shard.lots() == {} and shard.state.alarms == {}


def test_halted_exits_without_a_lot_say_kill_switch(shard: Shard) -> None:
    shard.follower()
    shard.send(SetSwitch(request_id="h", state="halt_exits"), source="c")
    assert only(CopiesSkipped, shard.signal("close", "sell", before=d(1), after=d(0))).reason == "kill_switch"


def test_an_exit_cancels_unsent_opens_and_waits_for_their_end(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy")
    (order,) = pending(shard)
    decided = only(CopyDecided, shard.signal("close", "sell"))
    assert decided.orders == ()
    assert decided.cancels == (CancelOrder(command_id=order.command_id, follower_id="f1", cause="s2"),)
    assert shard.state.outbox[-1].body == decided.cancels[0]
    ended = shard.settle(order, 0, status="missed", reason="cancelled")
    assert [type(event) for event in ended] == [OrderEnded]
    assert shard.lots() == {}


def test_an_open_that_fills_after_the_exit_leaves_at_once(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy")
    (order,) = pending(shard)
    shard.signal("close", "sell")
    requested = only(OrdersRequested, shard.settle(order, "0.06"))
    assert (requested.cause, requested.orders[0].quantity, requested.orders[0].kind) == ("s2", d("0.060"), "exit")
    shard.settle_all()
    assert shard.lots() == {}


def test_a_partial_exit_during_a_pending_open_takes_its_fraction_of_both(shard: Shard) -> None:
    opened(shard)
    shard.signal("increase", "buy")
    (order,) = pending(shard)
    now = only(CopyDecided, shard.signal("reduce", "sell", "0.5"))
    assert (now.sizing.quantity, now.cancels) == (d("0.025"), ()), "the whale is still in: its copy is wanted"
    again = only(CopyDecided, shard.signal("reduce", "sell", "0.75"))
    assert (again.sizing.quantity, again.cancels) == (d("0.037"), ())
    later = only(OrdersRequested, shard.settle(order))
    assert later.orders[0].quantity == d("0.062"), "1 - 0.75 * 0.5 of 0.1, to the step"
    shard.settle_all()
    assert shard.lot().filled == d("0.2") - d("0.025") - d("0.037") - d("0.062")


def test_an_open_that_a_part_leaves_of_is_cancelled_by_the_full_exit_once(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy", 2)
    (order,) = pending(shard)
    shard.signal("reduce", "sell", 1)
    closed = only(CopyDecided, shard.signal("close", "sell", 1))
    assert [cancel.command_id for cancel in closed.cancels] == [order.command_id]
    assert only(CopyDecided, shard.signal("close", "sell", 1, before=d(1), after=d(0))).cancels == (), "cancelled once"
    assert only(OrdersRequested, shard.settle(order)).orders[0].quantity == order.quantity
    shard.settle_all()
    assert shard.lots() == {}


def test_an_exit_touches_only_lots_opened_by_earlier_signals(shard: Shard) -> None:
    opened(shard)
    shard.signal("close", "sell")
    (leaving,) = pending(shard)
    only(CopyDecided, shard.signal("open", "buy"))
    fresh = next(order for order in pending(shard) if order.kind == "open")
    assert not of(OrdersRequested, shard.settle(fresh))
    shard.settle(leaving)
    assert shard.lot().filled == d("0.1")


def test_a_failed_exit_is_asked_for_again_until_it_lands(shard: Shard) -> None:
    opened(shard)
    (order,) = only(CopyDecided, shard.signal("close", "sell")).orders
    for wait in (1000, 2000, 4000):
        assert not of(OrdersRequested, shard.settle(order, 0, status="missed", reason="circuit_open"))
        assert not of(OrdersRequested, shard.tick(wait - 1))
        requested = only(OrdersRequested, shard.tick(1))
        assert requested.cause == "s2" and requested.orders[0].command_id != order.command_id
        (order,) = requested.orders
    shard.settle(order, "0.04")
    (order,) = only(OrdersRequested, shard.tick(10_000)).orders
    assert order.quantity == d("0.060")
    shard.settle(order)
    assert shard.lots() == {} and shard.state.alarms == {}


def test_an_exit_below_the_minimum_is_carried_to_the_next(shard: Shard) -> None:
    opened(shard, settings=SPOT)
    carried = only(CopySkipped, shard.signal("reduce", "sell", "0.04"))
    assert (carried.reason, carried.limit, carried.value) == ("below_minimum", "0.005", "0.00400")
    assert shard.lot().due == d("0.004")
    decided = only(CopyDecided, shard.signal("reduce", "sell", "0.48"))
    assert decided.sizing.quantity == d("0.052"), "0.004 and half of what is left"
    shard.settle_all()
    assert shard.lot().filled == d("0.048")


def test_the_rest_of_a_close_is_dust(shard: Shard) -> None:
    shard.follower(settings=SPOT)
    (order,) = only(CopyDecided, shard.signal("open", "buy")).orders
    shard.settle(order, fee_base=d("0.0001"))
    assert shard.lot().filled == d("0.0999")
    (leaving,) = only(CopyDecided, shard.signal("close", "sell")).orders
    assert leaving.quantity == d("0.099")
    dust = only(DustRecorded, shard.settle(leaving))
    assert dust.quantity == d("0.0009")
    assert shard.lots() == {}
    assert shard.state.followers["f1"].foreign == {"binance|BTC/USDT|paper": d("0.0009")}


def test_a_close_of_dust_only_is_skipped_and_recorded(shard: Shard) -> None:
    shard.follower(settings=SPOT)
    (order,) = only(CopyDecided, shard.signal("open", "buy")).orders
    shard.settle(order, "0.003")
    events = shard.signal("close", "sell")
    assert only(CopySkipped, events).reason == "below_minimum"
    assert only(DustRecorded, events).quantity == d("0.003")
    assert shard.lots() == {}


def test_each_whale_leaves_with_its_own_share(shard: Shard) -> None:
    opened(shard)
    shard.follower(whale_id="w2", trade_size_usdt=d(300))
    shard.signal("open", "buy", whale_id="w2")
    shard.settle_all()
    assert only(CopyDecided, shard.signal("close", "sell", whale_id="w1")).sizing.quantity == d("0.1")
    shard.settle_all()
    assert shard.lot().whale_id == "w2" and shard.lot().filled == d("0.3")


def test_unfollowing_lets_exits_go_on(shard: Shard) -> None:
    opened(shard)
    shard.send(UnfollowWhale(request_id="u", follower_id="f1", whale_id="w1"))
    increase = shard.signal("increase", "buy")
    assert not of(CopyDecided, increase) and not of(CopiesSkipped, increase), "no follower of the whale any more"
    assert of(CopyDecided, shard.signal("close", "sell", 2))
    shard.settle_all()
    assert shard.state.index["w1"] == []
    assert not of(CopiesSkipped, shard.signal("open", "buy"))
    assert shard.send(UnfollowWhale(request_id="v", follower_id="f1", whale_id="w1")) == []


def test_following_again_begins_anew(shard: Shard) -> None:
    shard.follower("f0")
    shard.follower()
    shard.signal("open", "buy")
    shard.settle_all("f0")
    shard.signal("close", "sell")
    shard.settle_all("f0")
    shard.signal("open", "buy")
    shard.settle_all("f0")
    shard.send(UnfollowWhale(request_id="u", follower_id="f0", whale_id="w1"))
    shard.follower("f0", start_mode="until_flat")
    assert only(CopiesSkipped, shard.signal("increase", "buy")).reason == "whale_in_position", "flat, but before it began anew"
    assert [follower.follower_id for follower in shard.state.index["w1"]] == ["f0", "f1"]


def test_a_lot_at_a_former_exchange_leaves_too(shard: Shard) -> None:
    opened(shard)
    settings = FollowerSettings(preferred_exchange="bybitlinear", max_leverage=d(5))
    shard.send(ConfigureFollower(request_id="c", follower_id="f1", settings=settings))
    shard.signal("increase", "buy")
    shard.settle_all()
    events = shard.signal("close", "sell", 2)
    first, second = only(CopyDecided, events), only(OrdersRequested, events)
    assert {first.venue, second.venue} == {"binanceusdm", "bybitlinear"}
    assert first.orders[0].command_id != second.orders[0].command_id
    shard.settle_all()
    assert shard.lots() == {}
