"""Given a follower, when a whale opens, then exactly one answer: every reason code with its limit and value."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.decide import ORDER, REASONS
from engine.domain.events import CopiesSkipped, CopyDecided, CopySkipped, SignalDecided, SignalExpired
from engine.domain.messages import AccountChecked, FollowWhale, PositionsReported, SetSwitch
from engine.domain.values import FollowerSettings, FollowTerms, VenuePosition
from tests.given import BTC, ETH, Shard, d, limits, of, only

USDM: dict[str, Any] = {"preferred_exchange": "binanceusdm"}


def skipped(shard: Shard, **signal: Any) -> tuple[str, str, str]:
    """The reason, limit and value of a refused open."""
    events = shard.signal(signal.pop("action", "open"), signal.pop("side", "buy"), **signal)
    assert not of(CopyDecided, events)
    refused = only(CopiesSkipped, events)
    assert len(refused.followers) == 1
    return refused.reason, refused.limit, refused.value


def test_an_open_is_copied(shard: Shard) -> None:
    shard.follower()
    decided = only(CopyDecided, shard.signal("open", "buy", 1, 1000))
    (order,) = decided.orders
    assert (decided.outcome, order.side, order.quantity, order.limit_price) == ("copied", "buy", d("0.1"), d("1010"))
    assert (order.reference_price, order.leverage, order.kind) == (d(1000), d(5), "open")


def test_signal_expired(shard: Shard) -> None:
    shard.follower()
    events = shard.signal("open", "buy", detected_at=shard.now - 70_000)
    assert only(CopiesSkipped, events).reason == "signal_expired"
    assert only(CopiesSkipped, events).limit == str(shard.now - 1 - 10_000)
    assert only(SignalExpired, events).signal_id == "s1"
    assert not of(SignalDecided, events)


def test_expires_at_of_the_signal_counts(shard: Shard) -> None:
    shard.follower()
    assert skipped(shard, expires_at=shard.now)[0] == "signal_expired"


def test_copy_trading_disabled(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(copy_trading_enabled=False, **USDM))
    assert skipped(shard) == ("copy_trading_disabled", "", "")


def test_paused(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(paused=True, **USDM))
    assert skipped(shard) == ("paused", "", "")


def test_account_not_allowed_concerns_live_only(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(mode="live", **USDM))
    check = AccountChecked(epoch=shard.epoch, follower_id="f1", venue="binanceusdm", allowed=False, reasons=("hedge_mode",), at=shard.now)
    shard.send(check, source="x")
    assert shard.send(check, source="x") == [], "an equal check says nothing new"
    assert skipped(shard) == ("account_not_allowed", "", "hedge_mode")
    shard.send(AccountChecked(epoch=shard.epoch, follower_id="f1", venue="binanceusdm", allowed=True, at=shard.now), source="x")
    assert of(CopyDecided, shard.signal("increase", "buy"))


@pytest.mark.parametrize(
    ("scope", "target", "named"),
    [
        ("global", "", "global"),
        ("exchange", "binanceusdm", "exchange:binanceusdm"),
        ("whale", "w1", "whale:w1"),
        ("follower", "f1", "follower"),
    ],
)
@pytest.mark.parametrize(("state", "reason"), [("halt", "kill_switch"), ("close_only", "close_only")])
def test_switches_stop_opens(shard: Shard, scope: Any, target: str, named: str, state: Any, reason: str) -> None:
    shard.follower()
    shard.send(SetSwitch(request_id="k", scope=scope, target=target, state=state), source="c")
    assert skipped(shard)[:2] == (reason, named)
    shard.send(SetSwitch(request_id="l", scope=scope, target=target, state="running"), source="c")
    assert of(CopyDecided, shard.signal("increase", "buy"))


def test_switches_of_others_do_not_concern(shard: Shard) -> None:
    shard.follower()
    for scope, target in (("exchange", "bybit"), ("whale", "w2"), ("follower", "f2")):
        shard.send(SetSwitch(request_id=scope, scope=scope, target=target, state="halt"), source="c")  # type: ignore[arg-type]
    assert of(CopyDecided, shard.signal("open", "buy"))


def test_close_only_after_missed_signals(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy", 1)
    assert skipped(shard, action="increase", before=d(3)) == ("close_only", "missed_signals", "")


def test_auto_copy_disabled(shard: Shard) -> None:
    shard.follower(auto_copy_enabled=False)
    assert skipped(shard) == ("auto_copy_disabled", "", "")


def test_symbol_not_allowed(shard: Shard) -> None:
    shard.follower(symbols_allowed=(ETH,))
    assert skipped(shard) == ("symbol_not_allowed", "", BTC)
    assert of(CopyDecided, shard.signal("open", "buy", symbol=ETH))


def test_symbol_denied_by_its_venue_name(shard: Shard) -> None:
    shard.follower(symbols_denied=("BTC/USDT:USDT",))
    assert skipped(shard) == ("symbol_not_allowed", "", BTC)


def test_symbol_not_mapped(shard: Shard) -> None:
    shard.follower()
    assert skipped(shard, symbol="XYZ-CL/USDC:USDC") == ("symbol_not_mapped", "binanceusdm", "XYZ-CL/USDC:USDC")


def test_symbol_without_market_rules(shard: Shard) -> None:
    shard.follower()
    assert skipped(shard, symbol="SOL/USDC:USDC") == ("symbol_not_mapped", "binanceusdm", "no market rules")


def test_trade_type_not_allowed(shard: Shard) -> None:
    shard.follower(trade_types_allowed=("spot",))
    assert skipped(shard) == ("trade_type_not_allowed", "spot", "futures")


def test_short_on_spot(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(preferred_exchange="binance"))
    assert skipped(shard, side="sell") == ("short_on_spot", "binance", "")


def test_not_in_rollout(shard: Shard) -> None:
    for number in range(40):
        shard.follower(f"f{number}", rollout_percent=25)
    events = shard.signal("open", "buy")
    refused = only(CopiesSkipped, events)
    assert (refused.reason, refused.limit) == ("not_in_rollout", "25")
    assert len(refused.followers) + len(of(CopyDecided, events)) == 40
    assert 3 <= len(of(CopyDecided, events)) <= 20


def test_rollout_is_the_same_for_every_signal_and_grows(shard: Shard) -> None:
    for number in range(40):
        shard.follower(f"f{number}", rollout_percent=25)
    first = {event.originator_id for event in of(CopyDecided, shard.signal("open", "buy"))}
    assert first == {event.originator_id for event in of(CopyDecided, shard.signal("increase", "buy"))}
    terms = FollowTerms(start_mode="now", trade_size_usdt=d(100), rollout_percent=60)
    for number in range(40):
        shard.send(FollowWhale(request_id=f"more{number}", follower_id=f"f{number}", whale_id="w1", terms=terms))
    assert first < {event.originator_id for event in of(CopyDecided, shard.signal("increase", "buy"))}


def test_whale_in_position_until_it_was_flat(shard: Shard) -> None:
    shard.follower(start_mode="until_flat")
    assert skipped(shard, action="increase", before=d(3)) == ("whale_in_position", "until_flat", "")
    shard.signal("close", "sell", 4)
    assert of(CopyDecided, shard.signal("open", "buy"))


def test_a_flat_moment_before_the_follow_does_not_count(shard: Shard) -> None:
    shard.signal("open", "buy")
    shard.follower(start_mode="until_flat")
    assert skipped(shard, action="increase") == ("whale_in_position", "until_flat", "")


def test_start_mode_now_copies_an_increase(shard: Shard) -> None:
    shard.follower(start_mode="now")
    assert of(CopyDecided, shard.signal("increase", "buy", before=d(3)))


def test_order_already_copied(shard: Shard) -> None:
    shard.follower()
    assert of(CopyDecided, shard.signal("open", "buy", whale_order_id="o1"))
    assert skipped(shard, action="increase", whale_order_id="o1") == ("order_already_copied", "", "o1")
    assert of(CopyDecided, shard.signal("increase", "buy", whale_order_id="o2"))
    assert skipped(shard, action="increase", whale_order_id="o1") == ("order_already_copied", "", "o1")


def test_multiplier_copies_every_fill_of_an_order(shard: Shard) -> None:
    shard.follower(sizing="multiplier", multiplier=d("0.1"))
    for action in ("open", "increase"):
        assert of(CopyDecided, shard.signal(action, "buy", whale_order_id="o1"))


@pytest.mark.parametrize("at", ["follower", "follow"])
def test_stale(shard: Shard, at: str) -> None:
    limit = limits(max_staleness_ms=2000)
    settings = FollowerSettings(limits=limit if at == "follower" else limits(), **USDM)
    shard.follower(settings=settings, limits=limit if at == "follow" else limits())
    assert skipped(shard, detected_at=shard.now - 2000) == ("stale", "2000", "2001")
    assert of(CopyDecided, shard.signal("increase", "buy", detected_at=shard.now - 1999))


@pytest.mark.parametrize(("side", "worse", "better"), [("buy", "1010.01", "900"), ("sell", "989.99", "1100")])
def test_price_deviation(shard: Shard, side: str, worse: str, better: str) -> None:
    shard.follower(limits=limits(max_deviation_bps=d(100)))
    shard.mark(worse)
    assert skipped(shard, side=side) == ("price_deviation", "100", "100.10")
    shard.mark(better)
    assert of(CopyDecided, shard.signal("increase", side))


def test_an_old_mark_refuses_nothing(shard: Shard) -> None:
    shard.follower(limits=limits(max_deviation_bps=d(100)))
    shard.mark(2000)
    shard.tick(150_001)
    assert of(CopyDecided, shard.signal("open", "buy"))


def test_opposite_position_of_another_whale(shard: Shard) -> None:
    shard.follower()
    shard.follower(whale_id="w2")
    shard.signal("open", "buy", whale_id="w2")
    assert skipped(shard, side="sell") == ("opposite_position", "", "0.100"), "pending counts"
    shard.settle_all()
    assert skipped(shard, action="increase", side="sell") == ("opposite_position", "", "0.100")


def test_opposite_position_that_is_foreign(shard: Shard) -> None:
    shard.follower()
    for _ in range(2):
        held = PositionsReported(
            epoch=shard.epoch,
            follower_id="f1",
            venue="binanceusdm",
            positions=(VenuePosition("BTC/USDT:USDT", d(-2)),),
            in_flight=0,
            at=shard.now,
        )
        shard.send(held, source="x")
    assert skipped(shard) == ("opposite_position", "", "2")
    assert of(CopyDecided, shard.signal("flip", "sell", 2))


@pytest.mark.parametrize("at", ["follower", "follow"])
def test_max_open_positions(shard: Shard, at: str) -> None:
    limit = limits(max_open_positions=1)
    settings = FollowerSettings(limits=limit if at == "follower" else limits(), **USDM)
    shard.follower(settings=settings, limits=limit if at == "follow" else limits())
    shard.signal("open", "buy")
    assert skipped(shard, symbol=ETH) == ("max_open_positions", "1", "1")
    assert of(CopyDecided, shard.signal("increase", "buy")), "more of the same symbol is no further position"


@pytest.mark.parametrize("at", ["follower", "follow"])
@pytest.mark.parametrize(("name", "reason"), [("max_position_quote", "max_position"), ("max_exposure_quote", "max_exposure")])
def test_caps_cut_and_then_refuse(shard: Shard, at: str, name: str, reason: str) -> None:
    limit = limits(**{name: d(150)})
    settings = FollowerSettings(limits=limit if at == "follower" else limits(), **USDM)
    shard.follower(settings=settings, limits=limit if at == "follow" else limits())
    shard.signal("open", "buy")
    reduced = only(CopyDecided, shard.signal("increase", "buy"))
    (cut,) = reduced.sizing.cuts
    assert (reduced.outcome, cut.before, cut.after) == ("reduced", d(100), d(50))
    assert cut.cap == (reason if at == "follower" else f"follow_{reason}")
    assert reduced.sizing.quantity == d("0.05")
    assert skipped(shard, action="increase") == (reason, "150", "150.000")


def test_a_cut_below_the_minimum_names_the_cap(shard: Shard) -> None:
    shard.follower(limits=limits(max_exposure_quote=d(103)))
    shard.signal("open", "buy")
    assert skipped(shard, action="increase") == ("max_exposure", "103", "100.000")


def test_position_cap_is_by_symbol_and_exposure_is_not(shard: Shard) -> None:
    shard.follower(limits=limits(max_position_quote=d(100), max_exposure_quote=d(150)))
    shard.signal("open", "buy")
    assert skipped(shard, action="increase")[0] == "max_position"
    assert only(CopyDecided, shard.signal("open", "buy", symbol=ETH)).sizing.final_quote == d(50)


@pytest.mark.parametrize("at", ["follower", "follow"])
def test_daily_loss_is_over_at_midnight(shard: Shard, at: str) -> None:
    limit = limits(daily_loss_quote=d(10))
    settings = FollowerSettings(limits=limit if at == "follower" else limits(), **USDM)
    shard.follower(settings=settings, limits=limit if at == "follow" else limits())
    shard.signal("open", "buy")
    shard.settle_all()
    shard.signal("close", "sell")
    (order,) = (shard.state.followers["f1"].orders or {}).values()
    shard.settle(order, price=890, fee_quote=d(1))
    assert skipped(shard) == ("daily_loss", "10", "12.000")
    shard.tick(86_400_000)
    assert of(CopyDecided, shard.signal("increase", "buy"))


def test_daily_loss_counts_marks(shard: Shard) -> None:
    shard.follower(limits=limits(daily_loss_quote=d(10)))
    shard.signal("open", "buy")
    shard.settle_all()
    shard.mark(900)
    assert skipped(shard, action="increase") == ("daily_loss", "10", "10.000")


@pytest.mark.parametrize("at", ["follower", "follow"])
def test_drawdown_less_transfers(shard: Shard, at: str) -> None:
    limit = limits(max_drawdown_percent=d(5))
    settings = FollowerSettings(limits=limit if at == "follower" else limits(), **USDM)
    shard.follower(settings=settings, limits=limit if at == "follow" else limits(), trade_size_usdt=d(500))
    shard.equity(2000)
    shard.equity(1000)
    assert of(CopyDecided, shard.signal("open", "buy")), "a withdrawal is no loss"
    shard.settle_all()
    shard.mark(900)
    shard.equity(950)
    assert skipped(shard, action="increase") == ("drawdown", "5", "5.00")


@pytest.mark.parametrize("at", ["follower", "follow"])
def test_cooldown(shard: Shard, at: str) -> None:
    limit = limits(cooldown_ms=5000)
    settings = FollowerSettings(limits=limit if at == "follower" else limits(), **USDM)
    shard.follower(settings=settings, limits=limit if at == "follow" else limits(), sizing="multiplier", multiplier=d("0.1"))
    shard.signal("open", "buy", whale_order_id="o1")
    assert of(CopyDecided, shard.signal("increase", "buy", whale_order_id="o1")), "later fills of one whale order are one trade"
    assert skipped(shard, action="increase", whale_order_id="o2") == ("cooldown", "5000", "1")
    shard.tick(5000)
    assert of(CopyDecided, shard.signal("increase", "buy"))


def test_equity_unknown_when_never_reported_or_old(shard: Shard) -> None:
    shard.follower(sizing="percent_equity", trade_size_percent=d(10))
    assert skipped(shard) == ("equity_unknown", "60000", "never")
    shard.equity(1000)
    reported = shard.now - 1
    shard.tick(59_997)
    assert of(CopyDecided, shard.signal("increase", "buy"))
    shard.settle_all()
    assert skipped(shard, action="increase") == ("equity_unknown", "60000", str(shard.now - reported))


def test_whale_equity_unknown(shard: Shard) -> None:
    shard.follower(sizing="proportional_equity")
    shard.equity(1000)
    assert skipped(shard) == ("whale_equity_unknown", "", "")


def test_below_minimum(shard: Shard) -> None:
    shard.follower(trade_size_usdt=d("4.9"))
    assert skipped(shard) == ("below_minimum", "5.000", "4.9")


def test_the_first_reason_in_the_order_is_given(shard: Shard) -> None:
    follower = FollowerSettings(paused=True, copy_trading_enabled=False, **USDM)
    shard.follower(settings=follower, auto_copy_enabled=False, rollout_percent=0)
    assert skipped(shard)[0] == "copy_trading_disabled"
    shard.follower("f1", settings=FollowerSettings(**USDM), rollout_percent=0, limits=limits(max_staleness_ms=0))
    assert skipped(shard, action="increase")[0] == "not_in_rollout", "a follower's own reason comes before a later common one"
    shard.follower("f1", settings=FollowerSettings(**USDM), rollout_percent=0, auto_copy_enabled=False)
    assert skipped(shard, action="increase")[0] == "auto_copy_disabled"


def test_equal_skips_share_one_event_and_cite_the_config(shard: Shard) -> None:
    for number in range(3):
        shard.follower(f"f{number}", auto_copy_enabled=False)
    shard.follower("f1", auto_copy_enabled=False)
    refused = only(CopiesSkipped, shard.signal("open", "buy"))
    assert refused.followers == (("f0", 2), ("f1", 4), ("f2", 2))


def test_a_signal_without_followers_is_decided(shard: Shard) -> None:
    events = shard.signal("open", "buy", whale_id="nobody")
    decided = only(SignalDecided, events)
    assert (decided.followers, decided.copied, decided.orders) == (0, 0, 0)


def test_every_reason_has_a_place() -> None:
    assert len(ORDER) == len(set(ORDER))
    assert set(ORDER) < REASONS


def test_carried_skip_is_the_followers_own_event(shard: Shard) -> None:
    shard.follower(trade_size_usdt=d(3), min_size_policy="accumulate")
    carried = only(CopySkipped, shard.signal("open", "buy"))
    assert (carried.reason, carried.carried_quote) == ("below_minimum", d(3))
