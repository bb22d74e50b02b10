"""Given a mode and a policy, when a whale opens, then the size, its explanation and its orders."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.events import CopiesSkipped, CopyDecided, CopySkipped
from engine.domain.messages import FollowWhale, RulesReported
from engine.domain.sizing import ceil_to, floor_to, legs_of, limit_price, smallest_exit, smallest_open
from engine.domain.values import FollowerSettings, FollowTerms
from tests.given import BTC_PERP, Shard, d, limits, of, only, rules


def copied(shard: Shard, action: str = "open", side: str = "buy", **signal: Any) -> CopyDecided:
    return only(CopyDecided, shard.signal(action, side, **signal))


def test_fixed_quote(shard: Shard) -> None:
    shard.follower(trade_size_usdt=d("123.45"))
    sizing = copied(shard, price="1000").sizing
    assert (sizing.mode, sizing.wanted_quote, sizing.quantity, sizing.final_quote) == ("fixed_quote", d("123.45"), d("0.123"), d("123.000"))
    assert sizing.inputs == {"price": d(1000), "trade_size_usdt": d("123.45")}


def test_percent_equity_less_what_is_reserved(shard: Shard) -> None:
    shard.follower(sizing="percent_equity", trade_size_percent=d(10))
    shard.equity(2000)
    assert copied(shard).sizing.quantity == d("0.2")
    sizing = copied(shard, "increase").sizing
    assert sizing.inputs["reserved"] == d(40), "200 pending at leverage 5"
    assert sizing.wanted_quote == d(196)
    shard.settle_all()
    assert copied(shard, "increase").sizing.wanted_quote == d(200)


def test_percent_equity_is_spent_once_a_whale_order(shard: Shard) -> None:
    shard.follower(sizing="percent_equity", trade_size_percent=d(10))
    shard.equity(2000)
    copied(shard, whale_order_id="o1")
    assert only(CopiesSkipped, shard.signal("increase", "buy", whale_order_id="o1")).reason == "order_already_copied"


def test_proportional_equity(shard: Shard) -> None:
    shard.follower(sizing="proportional_equity")
    shard.equity(1000)
    sizing = copied(shard, quantity=2, price=1000, whale_equity=d(20_000)).sizing
    assert sizing.wanted_quote == d(100)
    assert sizing.inputs == {"price": d(1000), "whale_quantity": d(2), "whale_equity": d(20_000), "equity": d(1000), "reserved": d(0)}


def test_multiplier(shard: Shard) -> None:
    shard.follower(sizing="multiplier", multiplier=d("0.05"))
    assert copied(shard, quantity=2).sizing.quantity == d("0.1")


def test_a_size_that_is_not_set_is_nothing(shard: Shard) -> None:
    shard.follower(trade_size_usdt=None)
    assert only(CopiesSkipped, shard.signal("open", "buy")).reason == "below_minimum"


def test_a_thousandfold_market_keeps_the_quote(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(preferred_exchange="binance"), trade_size_usdt=d(50))
    pepe = rules("binance", "PEPE/USDT", step=d(1), tick=d("0.00000001"), min_quantity=d(1))
    shard.send(RulesReported(venue="binance", rules=(pepe,), at=shard.now), source="m")
    decided = copied(shard, symbol="KPEPE/USDC:USDC", quantity=1000, price="0.01")
    (order,) = decided.orders
    assert (order.symbol, order.reference_price, order.quantity, order.limit_price) == (
        "PEPE/USDT",
        d("0.00001"),
        d(5_000_000),
        d("0.0000101"),
    )


def test_leverage_is_the_least_of_all(shard: Shard) -> None:
    shard.follower()
    assert copied(shard, leverage=d(3)).orders[0].leverage == d(3)
    shard.follower("f2", settings=FollowerSettings(preferred_exchange="binanceusdm", max_leverage=d(100)))
    by_follower = {event.originator_id: event.orders[0].leverage for event in of(CopyDecided, shard.signal("increase", "buy"))}
    assert by_follower == {"f1": d(3), "f2": d(50)}, "f1 is not flat and keeps its leverage; f2 has the venue's highest"


def test_spot_has_no_leverage(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(preferred_exchange="binance", max_leverage=d(10)))
    assert copied(shard).orders[0].leverage == d(1)


@pytest.mark.parametrize(("bps", "limit"), [(None, "1010"), ("25", "1002.5")])
def test_limit_price_of_a_long_is_below_its_bound(shard: Shard, bps: str | None, limit: str) -> None:
    shard.follower(limits=limits(max_deviation_bps=d(bps) if bps else None))
    assert copied(shard).orders[0].limit_price == d(limit)


def test_limit_price_goes_to_the_tick_and_never_beyond() -> None:
    assert limit_price(d("999.97"), True, d(100), d("0.1")) == d("1009.9")
    assert limit_price(d("999.97"), False, d(100), d("0.1")) == d("990.0")


def test_a_limit_below_one_tick_is_refused(shard: Shard) -> None:
    shard.follower()
    assert only(CopiesSkipped, shard.signal("open", "buy", price="0.01")).reason == "price_deviation"


def test_round_up(shard: Shard) -> None:
    shard.follower(trade_size_usdt=d(2), min_size_policy="round_up")
    decided = copied(shard)
    assert (decided.outcome, decided.sizing.quantity, decided.sizing.inputs["rounded_up_from"]) == ("copied", d("0.005"), d(2))


def test_round_up_stays_within_caps(shard: Shard) -> None:
    shard.follower(trade_size_usdt=d(2), min_size_policy="round_up", limits=limits(max_exposure_quote=d(4)))
    assert only(CopiesSkipped, shard.signal("open", "buy")).reason == "below_minimum"


def test_a_short_counts_its_minimum_at_the_limit_price(shard: Shard) -> None:
    shard.follower(trade_size_usdt=d(5), min_size_policy="round_up")
    assert copied(shard, side="sell").sizing.quantity == d("0.006"), "0.005 at 990 would be 4.95"


def test_accumulate_adds_to_the_next_copy(shard: Shard) -> None:
    shard.follower(sizing="multiplier", multiplier=d("0.002"), min_size_policy="accumulate")
    for carried in ("2.000", "4.000"):
        event = only(CopySkipped, shard.signal("increase", "buy", before=None, after=None, quantity=1, whale_order_id="o1"))
        assert (event.reason, event.carried_quote) == ("below_minimum", d(carried))
    sizing = copied(shard, "increase", quantity=1, before=None, after=None, whale_order_id="o1").sizing
    assert (sizing.wanted_quote, sizing.inputs["carried"], sizing.quantity) == (d(6), d(4), d("0.006"))
    assert shard.state.followers["f1"].follows["w1"].carry is None


def test_accumulated_fixed_size_is_not_added_twice_for_one_order(shard: Shard) -> None:
    shard.follower(trade_size_usdt=d(3), min_size_policy="accumulate")
    assert only(CopySkipped, shard.signal("open", "buy", whale_order_id="o1")).carried_quote == d(3)
    assert only(CopySkipped, shard.signal("increase", "buy", whale_order_id="o1")).carried_quote == d(3)
    assert copied(shard, "increase", whale_order_id="o2").sizing.wanted_quote == d(6)


def test_what_was_accumulated_is_void_once_the_whale_was_flat(shard: Shard) -> None:
    shard.follower(trade_size_usdt=d(3), min_size_policy="accumulate")
    shard.signal("open", "buy")
    shard.signal("close", "sell")
    assert only(CopySkipped, shard.signal("open", "buy")).carried_quote == d(3)


def test_legs_above_the_maximum(shard: Shard) -> None:
    big = rules("binanceusdm", BTC_PERP, max_quantity=d("0.04"))
    shard.send(RulesReported(venue="binanceusdm", rules=(big,), at=shard.now), source="m")
    shard.follower()
    orders = copied(shard).orders
    assert [(order.leg, order.quantity) for order in orders] == [(0, d("0.034")), (1, d("0.033")), (2, d("0.033"))]
    assert len({order.command_id for order in orders}) == 3
    shard.settle_all()
    assert shard.lot().filled == d("0.1")
    assert [order.quantity for order in copied(shard, "close", "sell").orders] == [d("0.034"), d("0.033"), d("0.033")]


def test_new_terms_count_from_the_next_signal(shard: Shard) -> None:
    shard.follower()
    shard.send(FollowWhale(request_id="n", follower_id="f1", whale_id="w1", terms=FollowTerms(trade_size_usdt=d(50), start_mode="now")))
    decided = copied(shard)
    assert (decided.sizing.wanted_quote, decided.config_version) == (d(50), 3)


AMOUNTS = st.decimals("0.00001", "1000000", allow_nan=False, allow_infinity=False, places=5)
STEPS = st.sampled_from([d("0.00001"), d("0.001"), d("0.5"), d(1), d(10)])


@given(AMOUNTS, STEPS)
def test_floor_and_ceil_are_the_nearest_multiples(amount: Any, step: Any) -> None:
    assert floor_to(amount, step) <= amount <= ceil_to(amount, step) < floor_to(amount, step) + 2 * step
    assert floor_to(amount, step) % step == 0 == ceil_to(amount, step) % step


@given(st.integers(1, 10**7), st.integers(1, 10**5))
def test_legs_sum_up_and_stay_below_the_maximum(units: int, most: int) -> None:
    most = max(most, units // 500 + 1)
    market = rules("binanceusdm", BTC_PERP, max_quantity=most * d("0.001"))
    legs = legs_of(units * d("0.001"), market)
    assert sum(legs) == units * d("0.001")
    assert max(legs) <= most * d("0.001")
    assert max(legs) - min(legs) <= d("0.001")


@given(AMOUNTS, AMOUNTS, STEPS)
def test_smallest_orders_pass_and_smaller_ones_do_not(price: Any, minimum: Any, step: Any) -> None:
    market = rules("bybit", "BTC/USDT", step=step, min_quantity=step, min_notional=minimum)
    smallest = smallest_open(market, price, price)
    assert smallest == smallest_exit(market, price)
    assert smallest * price >= minimum
    assert smallest == step or (smallest - step) * price < minimum


def test_closing_orders_are_exempt_from_the_notional_on_perpetuals() -> None:
    assert smallest_exit(rules("binanceusdm", BTC_PERP), d(1000)) == d("0.001")
    assert smallest_exit(rules("bybitlinear", BTC_PERP), d(1000)) == d("0.001")
    assert smallest_exit(rules("bybit", "BTC/USDT"), d(1000)) == d("0.005")


def test_a_mark_newer_than_the_whales_trade_is_kept(shard: Shard) -> None:
    """It tells delay from slippage afterwards; an older one tells nothing of the delay."""
    shard.follower(trade_size_usdt=d(100))
    shard.mark(1003)
    before = shard.now - 1000
    assert "mark" not in copied(shard, price="1000").sizing.inputs
    shard.settle_all()
    assert copied(shard, "increase", price="1000", detected_at=before).sizing.inputs["mark"] == d(1003)
    shard.settle_all()
    assert copied(shard, "close", "sell", price="1000", detected_at=before).sizing.inputs["mark"] == d(1003)


MOST = "99999999999999999999"


@pytest.mark.parametrize(
    ("terms", "signal"),
    [
        ({"sizing": "proportional_equity"}, {"quantity": MOST, "price": 60_000, "whale_equity": d("0.01")}),
        ({"sizing": "multiplier", "multiplier": d(MOST)}, {"quantity": "9999999", "price": 1000}),
        ({"sizing": "fixed_quote"}, {"quantity": MOST, "price": MOST}),
    ],
)
def test_no_amount_that_the_contracts_let_pass_stops_the_shard(shard: Shard, terms: dict[str, Any], signal: dict[str, Any]) -> None:
    """A quotient of more digits than the arithmetic's 28 raises: the record would end every engine that comes to it, for ever."""
    fine = rules("binanceusdm", BTC_PERP, tick=d("0.0000000001"))
    shard.send(RulesReported(venue="binanceusdm", rules=(fine,), at=shard.now), source="m")
    shard.follower(**terms)
    shard.equity(100_000)
    told = shard.signal("open", "buy", **signal)
    assert [type(event).__name__ for event in told][-1] == "SignalDecided"
    assert len(of(CopyDecided, told)) + len(of(CopiesSkipped, told)) == 1
