"""Given a follower, when a whale opens, then exactly one answer: every reason code with its limit and value."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.events import CopiesSkipped, CopyDecided, SignalDecided, SignalExpired
from engine.domain.messages import AccountChecked, FollowWhale, SetSwitch
from engine.domain.values import FollowerSettings, FollowTerms
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


def test_a_mark_from_well_before_the_trade_does_not_stand_against_it(shard: Shard) -> None:
    shard.follower(limits=limits(max_deviation_bps=d(100)))
    shard.mark(2000)
    shard.tick(8000)
    assert skipped(shard) == ("price_deviation", "100", "10000.00")
    shard.tick(4000)
    assert only(CopyDecided, shard.signal("increase", "buy")).orders


def test_an_old_mark_refuses_nothing(shard: Shard) -> None:
    shard.follower(limits=limits(max_deviation_bps=d(100)))
    shard.mark(2000)
    shard.tick(150_001)
    assert of(CopyDecided, shard.signal("open", "buy"))
