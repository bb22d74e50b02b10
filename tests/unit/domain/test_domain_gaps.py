"""Given missed or repeated signals and control records, then close-only until it is whole; repeats change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.events import (
    AnyEvent,
    CopiesSkipped,
    CopyDecided,
    LogicVersionSet,
    SignalAdmitted,
    SignalDecided,
    SignalReleased,
    SwitchSet,
    WhaleGapDetected,
    WhaleResynced,
)
from engine.domain.messages import (
    ReleaseSignals,
    ResyncWhale,
    SetGate,
    SetLogicVersion,
    SetSwitch,
    SignalReceived,
)
from engine.domain.signal_queue import closing_fraction
from tests.given import BTC, ETH, Shard, d, of, only


def gate(shard: Shard, **gate: Any) -> list[AnyEvent]:
    return shard.send(SetGate(request_id=shard.request_id(), **gate), source="c")


def release(shard: Shard, *signal_ids: str, **request: Any) -> list[str]:
    """Ids of the signals that a release lets pass, in order."""
    events = shard.send(ReleaseSignals(request_id=shard.request_id(), signal_ids=signal_ids, **request), source="c")
    return [event.signal_id for event in of(SignalReleased, events)]


def test_a_gap_makes_the_pair_close_only_until_the_whale_is_flat(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy")
    shard.settle_all()
    events = shard.signal("increase", "buy", before=d(3))
    gap = only(WhaleGapDetected, events)
    assert (gap.expected, gap.found, gap.signal_id) == (d(1), d(3), "s2")
    assert only(CopiesSkipped, events).reason == "close_only"
    assert only(CopiesSkipped, shard.signal("increase", "buy")).reason == "close_only", "the chain is whole again, the gap remains"
    assert of(CopyDecided, shard.signal("open", "buy", symbol=ETH)), "other symbols go on"
    assert only(CopyDecided, shard.signal("reduce", "sell", "2.5")).sizing.quantity == d("0.05")
    assert of(CopyDecided, shard.signal("close", "sell", "2.5"))
    shard.settle_all()
    assert of(CopyDecided, shard.signal("open", "buy"))


def test_a_gap_is_lifted_by_resync(shard: Shard) -> None:
    shard.follower()
    shard.signal("open", "buy")
    shard.signal("increase", "buy", before=d(3))
    resync = ResyncWhale(request_id="r", whale_id="w1", symbol=BTC, position=d(5))
    assert only(WhaleResynced, shard.send(resync, source="c")).position == d(5)
    assert shard.send(resync, source="c") == []
    assert of(CopyDecided, shard.signal("increase", "buy", before=d(5)))


def test_a_resync_to_flat_counts_as_flat(shard: Shard) -> None:
    shard.follower(start_mode="until_flat")
    shard.send(ResyncWhale(request_id="r", whale_id="w1", symbol=BTC, position=d(0)), source="c")
    assert of(CopyDecided, shard.signal("increase", "buy", before=None, after=None))


def test_positions_are_counted_on_where_a_signal_does_not_give_them(shard: Shard) -> None:
    shard.signal("open", "buy", 2, before=None, after=None)
    shard.signal("increase", "buy", 1, before=None, after=None)
    shard.signal("reduce", "sell", 1, before=d(3), after=d(2))
    events = shard.signal("close", "sell", 2, before=None, after=None)
    assert not of(WhaleGapDetected, shard.events)
    assert only(SignalDecided, events)
    assert of(WhaleGapDetected, shard.signal("increase", "buy", before=d(1), after=d(2)))


def test_an_unknown_position_makes_no_gap(shard: Shard) -> None:
    shard.signal("increase", "buy", 1, before=None, after=None)
    shard.signal("increase", "buy", 1, before=d(7), after=d(8))
    assert not of(WhaleGapDetected, shard.events)


def test_every_fill_four_times_is_the_file_once(shard: Shard) -> None:
    shard.follower(sizing="multiplier", multiplier=d("0.1"))
    other = Shard()
    other.follower(sizing="multiplier", multiplier=d("0.1"))
    for action, side, quantity in (
        ("open", "buy", 1),
        ("increase", "buy", 2),
        ("reduce", "sell", 1),
        ("flip", "sell", 3),
        ("close", "buy", 1),
    ):
        shard.signal(action, side, quantity)
        other.signal(action, side, quantity)
        signal = shard.records[-1][0].body
        assert isinstance(signal, SignalReceived)
        for _ in range(3):
            assert shard.send(signal, source="s", after_ms=0) == []
        shard.settle_all()
        other.settle_all()
    assert [event for event in shard.events if isinstance(event, CopyDecided)] != []
    assert [decided.sizing for decided in of(CopyDecided, shard.events)] == [decided.sizing for decided in of(CopyDecided, other.events)]
    assert shard.lots() == other.lots() == {}


@pytest.mark.parametrize(
    ("before", "after", "fraction"), [("4", "1", "0.75"), ("-4", "-1", "0.75"), ("4", "0", "1"), ("4", "5", "0"), ("0", "0", "0")]
)
def test_the_closed_fraction(shard: Shard, before: str, after: str, fraction: str) -> None:
    events = shard.signal("reduce", "sell", 3, before=d(before), after=d(after))
    assert closing_fraction(only(SignalAdmitted, events).signal) == d(fraction)


def test_control_records_are_audited_and_a_repeat_is_a_no_op(shard: Shard) -> None:
    switch = SetSwitch(request_id="k", scope="whale", target="w1", state="halt", reason="odd", actor="ops")
    event = only(SwitchSet, shard.send(switch, source="c"))
    assert (event.reason, event.actor, event.request_id) == ("odd", "ops", "k")
    assert shard.send(switch, source="c") == []
    assert shard.state.switches == {"whale|w1": "halt"}
    shard.send(SetSwitch(request_id="l", scope="whale", target="w1", state="running"), source="c")
    assert shard.state.switches == {}


def test_logic_version(shard: Shard) -> None:
    assert only(LogicVersionSet, shard.send(SetLogicVersion(request_id="v", version=2), source="c")).version == 2
    assert shard.state.logic_version == 2


def test_a_chain_of_more_digits_than_the_arithmetic_has_does_not_break(shard: Shard) -> None:
    """Tokens with eighteen places are held by the ten thousand million: nothing of a whale's position may be rounded away."""
    shard.follower()
    held = d("12345678901.123456789012345678")
    shard.signal("open", "buy", "12345678901.123456789012345677", before=d(0), after=None)
    shard.signal("increase", "buy", "0.000000000000000001", before=None, after=None)
    assert not of(WhaleGapDetected, shard.signal("increase", "buy", 1, before=held, after=None))
