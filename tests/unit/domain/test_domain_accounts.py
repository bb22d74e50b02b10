"""Given settlements and reports, when they are folded, then lots, profit and funding; followers and their accounts."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from engine.domain.events import (
    CopyDecided,
    EquityRecorded,
    ExecutorChanged,
    FollowerConfigured,
    FundingRecorded,
    MarksRecorded,
    OrderEnded,
    RulesRecorded,
    WhaleFollowed,
)
from engine.domain.messages import (
    AccountChecked,
    ConfigureFollower,
    EquityReported,
    ExecutorClaimed,
    FollowWhale,
    FundingReported,
    RulesReported,
)
from engine.domain.values import FollowerSettings, FollowTerms
from tests.given import BTC_PERP, Shard, d, of, only, opened, rules

ETH_PERP = "ETH/USDT:USDT"


def funding(shard: Shard, symbol: str, amount: str, mode: Any = None) -> list[Any]:
    """The executor reports a funding payment."""
    paid = FundingReported(
        epoch=shard.epoch, follower_id="f1", venue="binanceusdm", symbol=symbol, funding_id="u", amount=d(amount), at=shard.now, mode=mode
    )
    return shard.send(paid, source="x")


def test_a_fill_tells_its_price_fees_and_slippage(shard: Shard) -> None:
    shard.follower()
    (order,) = only(CopyDecided, shard.signal("open", "buy")).orders
    ended = only(OrderEnded, shard.settle(order, price="1001", fee_quote=d("0.05"), attempts=2, exchange_order_id="9"))
    assert (ended.status, ended.slippage_bps, ended.fee_quote, ended.attempts) == ("filled", d("10.00"), d("0.05"), 2)
    assert (ended.cause, ended.whale_id, ended.direction, ended.quantity) == ("s1", "w1", "long", d("0.1"))
    assert (shard.lot().cost, shard.lot().notional) == (d("100.1"), d(100))


def test_realised_profit_by_average_entry(shard: Shard) -> None:
    opened(shard)
    (order,) = only(CopyDecided, shard.signal("increase", "buy", price=2000)).orders
    shard.settle(order, price=2000)
    (leaving,) = only(CopyDecided, shard.signal("close", "sell", 2, price=1500)).orders
    ended = only(OrderEnded, shard.settle(leaving, price="1500", fee_quote=d(1)))
    assert ended.realized_pnl == d("0.15") * 1500 - d(200)
    follower = shard.state.followers["f1"]
    assert follower.pnl == follower.follows["w1"].pnl == d(24)


def test_a_short_wins_when_it_falls_and_slips_when_it_sells_lower(shard: Shard) -> None:
    shard.follower()
    (order,) = only(CopyDecided, shard.signal("open", "sell")).orders
    assert only(OrderEnded, shard.settle(order, price=999)).slippage_bps == d("10.00")
    (leaving,) = only(CopyDecided, shard.signal("close", "buy", price=900)).orders
    assert only(OrderEnded, shard.settle(leaving, price=900)).realized_pnl == d("9.9")


def test_base_fees_make_the_lot_smaller(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(preferred_exchange="binance"))
    (order,) = only(CopyDecided, shard.signal("open", "buy")).orders
    assert only(OrderEnded, shard.settle(order, fee_base=d("0.0001"))).quantity == d("0.0999")
    assert shard.lot().filled == d("0.0999")


@pytest.mark.parametrize("status", ["unfilled", "rejected", "missed"])
def test_an_open_that_brought_nothing_leaves_nothing(shard: Shard, status: str) -> None:
    shard.follower()
    (order,) = only(CopyDecided, shard.signal("open", "buy")).orders
    ended = only(OrderEnded, shard.settle(order, 0, status=status, raw_code="-2019"))
    assert (ended.status, ended.raw_code, ended.slippage_bps) == (status, "-2019", None)
    assert shard.lots() == {}


def test_a_settlement_counts_once_and_only_of_the_current_epoch(shard: Shard) -> None:
    shard.follower()
    (order,) = only(CopyDecided, shard.signal("open", "buy")).orders
    old = shard.epoch
    assert only(ExecutorChanged, shard.send(ExecutorClaimed(owner="y", at=shard.now), source="x")).epoch == shard.offsets - 1
    assert shard.settle(order, epoch=old) == []
    assert shard.equity() == [], "reports of an older epoch are void too"
    shard.epoch = shard.state.executor_epoch
    assert of(OrderEnded, shard.settle(order))
    assert shard.settle(order) == []
    assert shard.lot().filled == d("0.1")


def test_a_settlement_of_an_unknown_command_or_follower_says_nothing(shard: Shard) -> None:
    shard.follower()
    (order,) = only(CopyDecided, shard.signal("open", "buy")).orders
    assert shard.settle(replace(order, follower_id="nobody")) == []
    assert shard.settle(replace(order, command_id="0" * 32)) == []


def test_more_filled_than_asked_never_goes_below_zero(shard: Shard) -> None:
    opened(shard)
    (leaving,) = only(CopyDecided, shard.signal("close", "sell")).orders
    assert only(OrderEnded, shard.settle(leaving, "0.15")).quantity == d("0.1")
    assert shard.lots() == {}


def test_a_follow_without_a_configured_follower_begins_with_defaults(shard: Shard) -> None:
    events = shard.send(FollowWhale(request_id="q", follower_id="new", whale_id="w1", terms=FollowTerms()))
    assert [type(event) for event in events] == [FollowerConfigured, WhaleFollowed]
    assert only(WhaleFollowed, events).config_version == 2
    assert shard.send(FollowWhale(request_id="q", follower_id="new", whale_id="w1", terms=FollowTerms())) == []


def test_equal_settings_share_one_object(shard: Shard) -> None:
    shard.follower("f1")
    shard.follower("f2", settings=FollowerSettings(preferred_exchange="binanceusdm", max_leverage=d(5)))
    one, two = shard.state.followers["f1"], shard.state.followers["f2"]
    assert one.settings is two.settings and one.follows["w1"].terms is two.follows["w1"].terms


def test_equity_of_another_venue_or_older_than_known_says_nothing(shard: Shard) -> None:
    shard.follower()
    assert shard.equity(venue="bybit") == [] == shard.equity(follower_id="nobody")
    assert of(EquityRecorded, shard.equity(1000))
    late = EquityReported(epoch=shard.epoch, follower_id="f1", venue="binanceusdm", equity=d(9), available=d(9), at=shard.now - 1000)
    assert shard.send(late, source="x") == []


@pytest.mark.parametrize(("mode", "known"), [("paper", [1, 5]), ("live", [2, 4]), ("shadow", [1, 2, 4])])
def test_equity_of_the_account_that_takes_the_followers_orders(shard: Shard, mode: Any, known: list[int]) -> None:
    """Shadow has none: it is measured by the live account, by the paper one as long as that is all there is."""
    shard.follower(settings=FollowerSettings(preferred_exchange="binanceusdm", mode=mode))
    said = [(1, "paper"), (2, "live"), (4, "live"), (5, "paper")]
    events = [event for amount, whose in said for event in of(EquityRecorded, shard.equity(amount, mode=whose))]
    assert [event.equity for event in events] == known
    checked = AccountChecked(epoch=shard.epoch, follower_id="f1", venue="binanceusdm", allowed=False, at=shard.now, mode="paper")
    assert bool(shard.send(checked, source="x")) == (mode == "paper")


def test_funding_concerns_the_lots_of_its_own_account(shard: Shard) -> None:
    opened(shard)
    live = FollowerSettings(preferred_exchange="binanceusdm", mode="live", max_leverage=d(5))
    shard.send(ConfigureFollower(request_id="c", follower_id="f1", settings=live))
    assert funding(shard, BTC_PERP, "-0.3", mode="live") == []
    event = only(FundingRecorded, funding(shard, BTC_PERP, "-0.3", mode="paper"))
    assert (event.mode, event.shares) == ("paper", {"w1": d("-0.3")})
    assert shard.state.followers["f1"].funded == {f"binanceusdm|{BTC_PERP}|paper": event.reported_at}
    assert shard.send(shard.records[-1][0].body, source="x") == []


def test_another_account_begins_without_equity(shard: Shard) -> None:
    follower = shard.follower()
    shard.equity()
    shard.send(ConfigureFollower(request_id="c", follower_id="f1", settings=FollowerSettings(preferred_exchange="bybitlinear")))
    assert (follower.equity, follower.capital) == (None, None)


def test_funding_is_shared_by_quantity_once(shard: Shard) -> None:
    opened(shard)
    shard.follower(whale_id="w2", trade_size_usdt=d(200))
    shard.signal("open", "buy", whale_id="w2")
    shard.settle_all()
    event = only(FundingRecorded, funding(shard, BTC_PERP, "-0.3"))
    assert {whale: share.quantize(d("0.0001")) for whale, share in event.shares.items()} == {"w1": d("-0.1000"), "w2": d("-0.2000")}
    assert sum(event.shares.values()) == d("-0.3")
    assert shard.send(shard.records[-1][0].body, source="x") == []
    assert shard.state.followers["f1"].pnl == d("-0.3")


def test_funding_of_what_is_not_ours_says_nothing(shard: Shard) -> None:
    shard.follower()
    assert funding(shard, ETH_PERP, "1") == []


def test_market_rules_are_recorded_on_change_only(shard: Shard) -> None:
    assert shard.send(shard.rules, source="m") == []
    changed = RulesReported(venue="binanceusdm", rules=(rules("binanceusdm", BTC_PERP), rules("binanceusdm", ETH_PERP, tick=d(1))), at=1)
    assert [rule.symbol for rule in only(RulesRecorded, shard.send(changed, source="m")).rules] == [ETH_PERP]
    many = tuple(rules("bybitlinear", f"X{number}/USDT:USDT") for number in range(1001))
    assert len(of(RulesRecorded, shard.send(RulesReported(venue="bybitlinear", rules=many, at=1), source="m"))) == 3


def test_marks_are_not_from_the_future(shard: Shard) -> None:
    shard.now += 5
    assert only(MarksRecorded, shard.mark(1000)).reported_at <= shard.now
