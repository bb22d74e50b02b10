"""Given limits, positions and profit, when a whale opens, then the reasons that need them, and the order of all reasons."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.decide import ORDER, REASONS
from engine.domain.events import CopiesSkipped, CopyDecided, CopySkipped, SignalDecided
from engine.domain.messages import PositionsReported
from engine.domain.values import FollowerSettings, VenuePosition
from tests.given import ETH, Shard, d, limits, of, only

USDM: dict[str, Any] = {"preferred_exchange": "binanceusdm"}


def skipped(shard: Shard, **signal: Any) -> tuple[str, str, str]:
    """The reason, limit and value of a refused open."""
    events = shard.signal(signal.pop("action", "open"), signal.pop("side", "buy"), **signal)
    assert not of(CopyDecided, events)
    refused = only(CopiesSkipped, events)
    assert len(refused.followers) == 1
    return refused.reason, refused.limit, refused.value


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
