"""Given lots, when the venue's positions differ, then two reports shrink them; the foreign share is left alone."""

from __future__ import annotations

from engine.domain.events import (
    CopyDecided,
    DriftDetected,
    DriftSuspected,
)
from engine.domain.messages import ConfigureFollower
from engine.domain.values import FollowerSettings
from tests.given import BTC_PERP, Shard, d, of, only, opened, report

ETH_PERP = "ETH/USDT:USDT"


def test_a_report_that_agrees_says_nothing(shard: Shard) -> None:
    opened(shard)
    assert report(shard, btc="0.1") == []


def test_a_drift_needs_two_reports(shard: Shard) -> None:
    opened(shard)
    assert only(DriftSuspected, report(shard, btc="0.04")).reported == {BTC_PERP: d("0.04")}
    drift = only(DriftDetected, report(shard, btc="0.04"))
    assert (drift.expected, drift.reported, drift.foreign) == (d("0.1"), d("0.04"), d(0))
    assert shard.lot().filled == d("0.04")
    assert shard.lot().cost == d(40)
    assert report(shard, btc="0.04") == []


def test_accounts_are_told_apart_by_their_mode(shard: Shard) -> None:
    """A paper lot, a live follower: the live account holds nothing, and what one account says is no proof for the other."""
    opened(shard)
    live = FollowerSettings(preferred_exchange="binanceusdm", mode="live", max_leverage=d(5))
    shard.send(ConfigureFollower(request_id="c", follower_id="f1", settings=live))
    assert report(shard, mode="live") == [] == report(shard, mode="paper", btc="0.1")
    shard.signal("increase", "buy")
    waiting = [order.mode for order in shard.state.followers["f1"].orders.values()]  # type: ignore[union-attr]
    assert waiting == ["live"] and report(shard, mode="live") == []
    assert only(DriftSuspected, report(shard, mode="paper")).mode == "paper", "what waits on the other account is no matter"
    shard.settle_all()
    assert of(DriftSuspected, report(shard, mode="paper")), "an outcome in between begins anew"
    assert of(DriftSuspected, report(shard, mode="live")), "the same quantity, and another account"
    drift = only(DriftDetected, report(shard, mode="paper"))
    assert (drift.mode, drift.expected, drift.reported) == ("paper", d("0.1"), d(0))
    assert [lot.mode for lot in shard.lots().values()] == ["live"]
    assert of(DriftSuspected, report(shard, mode="live", btc="0.3"))
    assert only(DriftDetected, report(shard, mode="live", btc="0.3")).foreign == d("0.2")
    assert shard.state.followers["f1"].foreign == {f"binanceusdm|{BTC_PERP}|live": d("0.2")}


def test_reports_that_differ_from_each_other_are_no_drift(shard: Shard) -> None:
    opened(shard)
    for quantity in ("0.04", "0.05", "0.06"):
        assert of(DriftSuspected, report(shard, btc=quantity))


def test_a_report_older_than_the_last_outcome_or_with_something_in_flight_says_nothing(shard: Shard) -> None:
    opened(shard)
    assert report(shard, btc="0.04", in_flight=1) == []
    assert report(shard, btc="0.04", at=shard.now - 1000) == []
    shard.signal("increase", "buy")
    assert report(shard, btc="0.04") == []
    shard.settle_all()
    assert of(DriftSuspected, report(shard, btc="0.04"))
    shard.signal("increase", "buy")
    shard.settle_all()
    assert of(DriftSuspected, report(shard, btc="0.04")), "an outcome in between begins anew"


def test_a_liquidation_shrinks_all_shares_pro_rata(shard: Shard) -> None:
    opened(shard)
    shard.follower(whale_id="w2", trade_size_usdt=d(300))
    shard.signal("open", "buy", whale_id="w2")
    shard.settle_all()
    shard.mark(500)
    report(shard, btc="0.201")
    drift = only(DriftDetected, report(shard, btc="0.201"))
    assert [(change.whale_id, change.before, change.after) for change in drift.adjustments] == [
        ("w2", d("0.3"), d("0.15")),
        ("w1", d("0.1"), d("0.051")),
    ]
    assert shard.state.followers["f1"].pnl == -d("0.199") * 500
    report(shard)
    assert only(DriftDetected, report(shard)).reported == 0
    assert shard.lots() == {}


def test_lots_never_grow_and_the_foreign_share_is_known_and_left_alone(shard: Shard) -> None:
    opened(shard)
    report(shard, btc="0.5")
    assert only(DriftDetected, report(shard, btc="0.5")).foreign == d("0.4")
    assert shard.lot().filled == d("0.1")
    assert report(shard, btc="0.5") == []
    assert only(CopyDecided, shard.signal("close", "sell")).sizing.quantity == d("0.1")
    shard.settle_all()
    assert report(shard, btc="0.4") == []
    report(shard)
    assert only(DriftDetected, report(shard)).foreign == 0
    assert shard.state.followers["f1"].foreign is None


def test_a_position_turned_round_by_hand_ends_our_lot(shard: Shard) -> None:
    opened(shard)
    report(shard, btc="-0.3")
    assert only(DriftDetected, report(shard, btc="-0.3")).foreign == d("-0.3")
    assert shard.lots() == {}


def test_a_short_that_shrank(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "sell")
    shard.settle_all()
    report(shard, btc="-0.06", eth="2")
    drifts = of(DriftDetected, report(shard, btc="-0.06", eth="2"))
    assert {drift.venue_symbol: drift.foreign for drift in drifts} == {BTC_PERP: d(0), ETH_PERP: d(2)}
    assert shard.lot().filled == d("0.06")


def test_spot_balances_beside_ours_are_foreign(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(preferred_exchange="binance"))
    report(shard, venue="binance", spot="2")
    assert only(DriftDetected, report(shard, venue="binance", spot="2")).foreign == d(2)
    assert of(CopyDecided, shard.signal("open", "buy")), "a foreign long is not against a long"
    assert report(shard, venue="binance", spot="2") == []
