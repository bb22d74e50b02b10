"""Shadow mode decides and never sends; commands are numbered and wait in the outbox until they are sent."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from engine.domain.events import (
    CopyDecided,
    DustRecorded,
    OrderEnded,
    OrdersRequested,
    RoundCommitted,
)
from engine.domain.messages import (
    ConfigureFollower,
    InboxRecord,
    RulesReported,
    SourcePosition,
    Tick,
)
from engine.domain.shard import commands_of, fold_marker, mark_sent
from engine.domain.values import FollowerSettings, Limits
from tests.given import ETH, Shard, d, only, opened, report, rules

SHADOW = FollowerSettings(preferred_exchange="binanceusdm", mode="shadow")


def test_shadow_decides_records_and_never_sends(shard: Shard) -> None:
    shard.follower(settings=SHADOW)
    decided = only(CopyDecided, shard.signal("open", "buy"))
    assert decided.orders[0].mode == "shadow" and commands_of(decided) == ()
    assert (shard.lot().filled, shard.lot().cost) == (d("0.1"), d(100))
    assert only(CopyDecided, shard.signal("reduce", "sell", "0.5", price=1200)).sizing.quantity == d("0.05")
    assert shard.lot().filled == d("0.05")
    assert shard.state.followers["f1"].pnl == d(10)
    events = shard.signal("flip", "sell", 1, price=1200)
    assert only(OrdersRequested, events).orders[0].kind == "open"
    assert shard.lot().direction == "short"
    shard.signal("close", "buy", "0.5", price=1200)
    assert shard.lots() == {} and shard.state.outbox == [] and report(shard, btc="1") == []


def test_shadow_lots_stay_shadow_when_the_mode_changes(shard: Shard) -> None:
    shard.follower(settings=SHADOW)
    shard.signal("open", "buy")
    live = FollowerSettings(preferred_exchange="binanceusdm", mode="live")
    shard.send(ConfigureFollower(request_id="c", follower_id="f1", settings=live))
    assert only(CopyDecided, shard.signal("increase", "buy")).orders[0].mode == "live"
    shard.settle_all()
    events = shard.signal("close", "sell", 2)
    modes = [order.mode for event in events if isinstance(event, CopyDecided | OrdersRequested) for order in event.orders]
    assert sorted(modes) == ["live", "shadow"]
    shard.settle_all()
    assert shard.lots() == {}


def test_what_is_lost_in_another_mode_counts_for_no_limit(shard: Shard) -> None:
    """A paper lot is under water and then closed at a loss: the live follower goes on."""
    limits = Limits(daily_loss_quote=d(5), max_drawdown_percent=d(1))
    paper = FollowerSettings(preferred_exchange="binanceusdm", max_leverage=d(5), limits=limits)
    shard.follower(settings=paper)
    shard.equity(1000)
    shard.signal("open", "buy")
    shard.settle_all()
    shard.send(ConfigureFollower(request_id="c", follower_id="f1", settings=replace(paper, mode="live")))
    shard.equity(1000)
    shard.mark(500)
    assert only(CopyDecided, shard.signal("open", "buy", 1, 500, symbol=ETH)).orders[0].mode == "live"
    leaving = only(CopyDecided, shard.signal("close", "sell", price=500)).orders
    assert only(OrderEnded, shard.settle(leaving[0])).realized_pnl == d(-50)
    assert only(CopyDecided, shard.signal("open", "buy", price=500)).orders[0].mode == "live"
    assert shard.state.followers["f1"].pnl == 0


def test_shadow_dust_is_not_foreign(shard: Shard) -> None:
    shard.follower(settings=FollowerSettings(preferred_exchange="binance", mode="shadow"))
    shard.signal("open", "buy")
    shard.send(RulesReported(venue="binance", rules=(rules("binance", "BTC/USDT", step=d("0.03")),), at=1), source="m")
    assert only(DustRecorded, shard.signal("close", "sell")).quantity == d("0.01")
    assert shard.state.followers["f1"].foreign is None


def marker(shard: Shard, through: int) -> RoundCommitted:
    return RoundCommitted(
        epoch=0,
        inbox_from=0,
        inbox_to=1,
        sources={"s/0": 1000},
        events=0,
        first_id=1,
        digest="",
        logic_version=1,
        commands_through=through,
        commands_total=shard.state.command_seq,
        now=shard.now + 50,
    )


def test_commands_are_numbered_without_gaps_and_leave_the_outbox_when_sent() -> None:
    shard = Shard()
    shard.follower(sizing="multiplier", multiplier=d("0.1"))
    for symbol in ("BTC/USDC:USDC", ETH, "BTC/USDT:USDT"):
        shard.signal("open", "buy", symbol=symbol)
    state = shard.state
    assert [command.seq for command in state.outbox] == [1, 2, 3] and state.command_seq == 3
    fold_marker(state, marker(shard, 1))
    assert [command.seq for command in state.outbox] == [2, 3]
    assert state.sources["s/0"] == 1000 and state.now == shard.now + 50
    mark_sent(state, 1)
    mark_sent(state, 3)
    assert state.outbox == []
    mark_sent(state, 3)
    assert state.command_seq == 3


def test_a_tick_without_anything_to_do_makes_no_event(shard: Shard) -> None:
    opened(shard)
    assert shard.tick() == []
    assert shard.take(InboxRecord(body=Tick(), src=SourcePosition("t", 0, 5))) == []


def test_amounts_are_exact(shard: Shard) -> None:
    opened(shard, trade_size_usdt=d("99.99"))
    assert isinstance(shard.lot().filled, Decimal) and shard.lot().filled == d("0.099")
