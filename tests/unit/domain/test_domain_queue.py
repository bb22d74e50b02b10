"""Given gates, gaps and outages, when signals come, then they wait, pass in order, expire or collapse; a repeat is a no-op."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.events import (
    AnyEvent,
    CopiesSkipped,
    CopyDecided,
    GateSet,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
    SignalReleased,
)
from engine.domain.messages import (
    InboxRecord,
    ReleaseSignals,
    SetGate,
    SetSwitch,
    SourcePosition,
)
from engine.domain.signal_queue import next_signals, queue_status
from tests.given import BTC, ETH, Shard, d, of, only


def gate(shard: Shard, **gate: Any) -> list[AnyEvent]:
    return shard.send(SetGate(request_id=shard.request_id(), **gate), source="c")


def release(shard: Shard, *signal_ids: str, **request: Any) -> list[str]:
    """Ids of the signals that a release lets pass, in order; a request is resolved first, as the sequencer does it."""
    asked = ReleaseSignals(request_id=shard.request_id(), signal_ids=signal_ids, **request)
    if not signal_ids:
        assert shard.send(asked, source="c") == [], "a request names no signals and does nothing"
        named = tuple(held.signal.signal_id for held in next_signals(shard.state, asked))
        asked = ReleaseSignals(request_id=shard.request_id(), signal_ids=named)
    return [event.signal_id for event in of(SignalReleased, shard.send(asked, source="c"))]


def test_a_signal_is_admitted_decided_and_counted(shard: Shard) -> None:
    shard.follower()
    shard.follower("f2")
    shard.follower("f3", auto_copy_enabled=False)
    events = shard.signal("open", "buy")
    assert [type(event) for event in events] == [SignalAdmitted, CopyDecided, CopyDecided, CopiesSkipped, SignalDecided]
    decided = only(SignalDecided, events)
    assert (decided.followers, decided.copied, decided.orders) == (3, 2, 2)
    assert [event.originator_version for event in events if event.originator_id == "shard-0"] == [3, 4, 5]


def test_the_same_signal_twice_is_one(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy", signal_id="x")
    assert shard.signal("open", "buy", signal_id="x") == []
    assert of(CopyDecided, shard.signal("increase", "buy", signal_id="x", source="onchain", before=d(1))), "another source's"


def test_two_whales_with_one_signal_id_have_orders_of_their_own(shard: Shard) -> None:
    shard.follower()
    shard.follower(whale_id="w2")
    first = only(CopyDecided, shard.signal("open", "buy", signal_id="x"))
    second = only(CopyDecided, shard.signal("open", "buy", signal_id="x", whale_id="w2"))
    assert first.orders[0].command_id != second.orders[0].command_id


def test_a_repeat_is_remembered_for_48_hours(shard: Shard) -> None:
    shard.signal("open", "buy", signal_id="x")
    shard.now += 2 * 86_400_000 - 10
    assert shard.signal("open", "buy", signal_id="x") == []
    shard.now += 20
    shard.signal("open", "buy", signal_id="y", symbol=ETH)
    assert of(SignalAdmitted, shard.signal("open", "buy", signal_id="x"))


def test_a_source_position_that_was_seen_says_nothing(shard: Shard) -> None:
    shard.signal("open", "buy")
    assert shard.mark(1000)
    record, _ = shard.records[-1]
    assert shard.take(record) == []
    shard.send(SetSwitch(request_id="k", state="halt"), source="c")
    assert shard.state.sources["s/0"] < shard.state.sources["c/0"], "positions are by source"


def test_now_never_goes_back(shard: Shard) -> None:
    shard.follower()
    shard.now -= 5000
    record = InboxRecord(body=shard.rules, src=SourcePosition("m", 0, 99))
    shard.take(record)
    assert shard.state.now > shard.now


def test_paused_signals_wait_and_pass_in_order(shard: Shard) -> None:
    shard.follower()
    assert only(GateSet, gate(shard, paused=True)).paused
    for symbol, priority in ((BTC, "low"), (ETH, "medium"), ("BTC/USDT:USDT", "high")):
        events = shard.signal("open", "buy", symbol=symbol, priority=priority)
        assert only(SignalAdmitted, events).held == "paused" and len(events) == 1
    status = queue_status(shard.state)
    assert (status.held, status.by_priority, status.paused) == (3, {"low": 1, "medium": 1, "high": 1}, True)
    assert status.by_gate == {"paused": 3} and status.oldest_detected_at is not None
    events = gate(shard)
    assert [event.signal_id for event in of(SignalReleased, events)] == ["s3", "s2", "s1"]
    assert len(of(CopyDecided, events)) == 3
    assert queue_status(shard.state).held == 0


def test_equal_priority_goes_by_detection(shard: Shard) -> None:
    gate(shard, paused=True)
    shard.signal("open", "buy", detected_at=shard.now)
    shard.signal("open", "buy", symbol=ETH, detected_at=shard.now - 500)
    assert [event.signal_id for event in of(SignalReleased, gate(shard))] == ["s2", "s1"]


def test_min_priority_holds_lower_ones(shard: Shard) -> None:
    shard.follower()
    gate(shard, min_priority="medium")
    assert only(SignalAdmitted, shard.signal("open", "buy", priority="low")).held == "min_priority"
    assert of(CopyDecided, shard.signal("open", "buy", symbol=ETH, priority="medium"))
    assert [event.signal_id for event in of(SignalReleased, gate(shard, min_priority="low"))] == ["s1"]


def test_a_pair_is_never_reordered(shard: Shard) -> None:
    shard.follower(sizing="multiplier", multiplier=d("0.1"))
    gate(shard, min_priority="high")
    shard.signal("open", "buy", priority="low")
    assert only(SignalAdmitted, shard.signal("increase", "buy", priority="high")).held == "behind"
    assert release(shard, max_signals=5, min_priority="high") == []
    assert release(shard, "s2") == []
    assert release(shard, "s1") == ["s1", "s2"], "what waited behind it passes its gate"


def test_process_next_and_batch(shard: Shard) -> None:
    shard.follower()
    gate(shard, paused=True)
    for symbol, priority in ((BTC, "low"), (ETH, "high"), ("BTC/USDT:USDT", "medium")):
        shard.signal("open", "buy", symbol=symbol, priority=priority)
    assert release(shard, max_signals=1) == ["s2"]
    assert release(shard, max_signals=10, min_priority="medium") == ["s3"]
    assert release(shard, "s1", "gone") == ["s1"]
    assert release(shard, max_signals=10) == []


def test_exits_pass_every_gate(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy")
    shard.settle_all()
    gate(shard, paused=True, min_priority="high")
    assert of(CopyDecided, shard.signal("reduce", "sell", "0.5", priority="low"))
    flip = only(CopyDecided, shard.signal("flip", "sell", 1, priority="low"))
    assert (flip.open_reason, flip.open_limit, flip.open_value) == ("paused", "queue", "paused")


def test_held_signals_expire_by_tick(shard: Shard) -> None:
    shard.follower()
    gate(shard, paused=True)
    shard.signal("open", "buy")
    shard.signal("increase", "buy", expires_at=shard.now + 600_000)
    assert shard.tick(59_998) == []
    events = shard.tick(10)
    assert only(SignalExpired, events).signal_id == "s1"
    assert only(CopiesSkipped, events).reason == "signal_expired"
    assert not of(SignalReleased, events)
    assert queue_status(shard.state).held == 1


def test_what_waits_behind_an_expired_signal_passes(shard: Shard) -> None:
    shard.follower()
    gate(shard, min_priority="high")
    shard.signal("open", "buy", priority="low")
    shard.signal("increase", "buy", priority="high", expires_at=shard.now + 600_000)
    events = shard.tick(60_010)
    assert [type(event) for event in events] == [CopiesSkipped, SignalExpired, SignalReleased, CopyDecided, SignalDecided]


def test_a_held_open_that_the_whale_closed_is_never_copied(shard: Shard) -> None:
    shard.follower()
    gate(shard, paused=True)
    shard.signal("open", "buy")
    shard.signal("increase", "buy")
    events = shard.signal("close", "sell", 2)
    superseded = [event for event in of(CopiesSkipped, events) if event.reason == "whale_closed"]
    assert [(event.signal_id, event.value) for event in superseded] == [("s1", "s3"), ("s2", "s3")]
    assert [event.signal_id for event in of(SignalDecided, events)] == ["s1", "s2", "s3"]
    assert queue_status(shard.state).held == 0


def test_a_flip_past_a_held_open_is_remembered_with_its_order(shard: Shard) -> None:
    follower = shard.follower()
    gate(shard, min_priority="high")
    shard.signal("open", "buy", priority="low")
    assert only(CopyDecided, shard.signal("flip", "sell", 2, priority="high", whale_order_id="o1")).orders
    assert follower.follows["w1"].spent == ["o1"]


@pytest.mark.parametrize(
    "terms",
    [
        {"sizing": "multiplier", "multiplier": d("0.1")},
        {"trade_size_usdt": d(100)},
        {"sizing": "percent_equity", "trade_size_percent": d(10)},
        {"sizing": "proportional_equity"},
    ],
)
def test_a_held_open_shrinks_with_the_whale(shard: Shard, terms: dict[str, Any]) -> None:
    shard.follower(**terms)
    shard.equity(1000)
    gate(shard, paused=True)
    shard.signal("open", "buy", whale_equity=d(10_000))
    shard.signal("reduce", "sell", "0.75")
    sizing = only(CopyDecided, gate(shard)).sizing
    assert (sizing.quantity, sizing.inputs["kept"]) == (d("0.025"), d("0.25"))


def test_after_an_outage_stale_opens_are_skipped_with_numbers(shard: Shard) -> None:
    shard.follower()
    began = shard.now
    shard.now += 300_000
    for action, side, quantity in (("open", "buy", 1), ("increase", "buy", 1)):
        events = shard.signal(action, side, quantity, detected_at=began)
        skipped = only(CopiesSkipped, events)
        assert (skipped.reason, skipped.limit, int(skipped.value)) == ("signal_expired", str(began + 60_000), shard.now)
    closed = shard.signal("close", "sell", 2, detected_at=began)
    assert only(CopiesSkipped, closed).reason == "nothing_to_close"
    assert shard.state.outbox == []


def test_a_chain_in_one_backlog_leaves_nothing_open(shard: Shard) -> None:
    shard.follower(sizing="multiplier", multiplier=d("0.1"))
    shard.signal("open", "buy")
    shard.signal("increase", "buy")
    closing = only(CopyDecided, shard.signal("close", "sell", 2))
    assert (len(closing.cancels), closing.orders) == (2, ())
    for order in list((shard.state.followers["f1"].orders or {}).values()):
        shard.settle(order, 0, status="missed", reason="cancelled")
    assert shard.lots() == {}
