"""Recorded fills into signals: grouping, repeats, gaps, flips, spot; and what is no recording."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.contracts.files import check_item
from engine.contracts.signal import WhaleSignal
from engine.errors import ConfigInvalid
from ops.detect import signals_from_fills

LEADERS = "hl_leaders_x8_fills.json.gz"


def _fill(time: int, side: str, size: str, start: str, **fields: Any) -> dict[str, Any]:
    fill = {"coin": "BTC", "px": "100", "sz": size, "side": side, "time": time, "startPosition": start, "dir": "", "oid": time}
    return fill | {"tid": random.getrandbits(50), "fee": "0", "feeToken": "USDC"} | fields


def _signals(folder: Path, *fills: dict[str, Any], **query: Any) -> list[WhaleSignal]:
    path = folder / "fills.json"
    path.write_text(json.dumps({"queries": [{"slot": "acc1", "fills": fills} | query]}))
    return signals_from_fills(path)


def _seen(signals: list[WhaleSignal]) -> list[tuple[str, str, str, str, str]]:
    return [(s.action, s.side, str(s.quantity), str(s.position_before), str(s.position_after)) for s in signals]


def test_the_leaders_file(test_data: Path) -> None:
    signals = signals_from_fills(test_data / LEADERS)
    assert len(signals) == 2164
    assert Counter(signal.action for signal in signals) == {"increase": 1059, "reduce": 879, "close": 114, "open": 109, "flip": 3}
    assert len({signal.signal_id for signal in signals}) == len(signals)
    assert len({(signal.whale_id, signal.whale_order_id) for signal in signals}) == 1387
    assert [signal.whale_time for signal in signals] == sorted(signal.whale_time for signal in signals if signal.whale_time)
    position: dict[tuple[str, str], Decimal | None] = {}
    for signal in signals:
        assert check_item(json.loads(signal.to_json())) == signal
        assert position.setdefault((signal.whale_id, signal.symbol), signal.position_before) == signal.position_before
        position[signal.whale_id, signal.symbol] = signal.position_after
    assert {"KBONK/USDC:USDC", "XYZ-CL/USDC:USDC"} <= {signal.symbol for signal in signals}


def test_the_followers_file(test_data: Path) -> None:
    assert len(signals_from_fills(test_data / "hl_follower_of_x8_fills.json")) == 196


@pytest.mark.parametrize("repeat", ["each", "whole", "shuffled", "newest first"])
def test_repeated_or_reordered_fills_change_nothing(test_data: Path, tmp_path: Path, repeat: str) -> None:
    recording = json.loads(gzip.decompress((test_data / LEADERS).read_bytes()))
    for query in recording["queries"]:
        fills = query["fills"]
        if repeat == "shuffled":
            random.Random(1).shuffle(fills)
        elif repeat == "newest first":
            query["fills"] = fills[::-1]
        else:
            query["fills"] = fills * 4 if repeat == "whole" else [fill for fill in fills for _ in range(4)]
    path = tmp_path / "repeated.json"
    path.write_text(json.dumps(recording))
    assert sorted(signals_from_fills(path), key=_order) == sorted(signals_from_fills(test_data / LEADERS), key=_order)


def _order(signal: WhaleSignal) -> tuple[Any, ...]:
    return signal.detected_at, signal.signal_id


def test_actions(tmp_path: Path) -> None:
    signals = _signals(
        tmp_path,
        _fill(1, "B", "2.0", "0.0", oid=1),
        _fill(2, "B", "1", "2", oid=2),
        _fill(3, "A", "1", "3", oid=3),
        _fill(4, "A", "4", "2", oid=4),
        _fill(5, "B", "2", "-2", oid=5),
    )
    assert _seen(signals) == [
        ("open", "buy", "2", "0", "2"),
        ("increase", "buy", "1", "2", "3"),
        ("reduce", "sell", "1", "3", "2"),
        ("flip", "sell", "4", "2", "-2"),
        ("close", "buy", "2", "-2", "0"),
    ]
    assert [signal.signal_id for signal in signals][:2] == ["acc1-1-1", "acc1-2-2"]


def test_fills_of_one_order_in_one_millisecond_are_one_signal(tmp_path: Path) -> None:
    signals = _signals(
        tmp_path, _fill(1, "B", "1", "0", px="100.5", oid=7), _fill(1, "B", "3", "1", px="101", oid=7), _fill(2, "B", "1", "4", oid=7)
    )
    assert _seen(signals) == [("open", "buy", "4", "0", "4"), ("increase", "buy", "1", "4", "5")]
    assert str(signals[0].price) == "100.875"
    assert {signal.whale_order_id for signal in signals} == {"7"}


def test_alternating_orders_keep_the_chain(tmp_path: Path) -> None:
    signals = _signals(tmp_path, _fill(1, "B", "1", "0", oid=7), _fill(1, "A", "3", "1", oid=8), _fill(1, "B", "5", "-2", oid=7))
    assert _seen(signals) == [("open", "buy", "6", "0", "6"), ("reduce", "sell", "3", "6", "3")]


def test_a_gap_breaks_the_chain_and_nothing_else(tmp_path: Path) -> None:
    signals = _signals(tmp_path, _fill(1, "B", "1", "0"), _fill(2, "B", "1", "7"))
    assert _seen(signals) == [("open", "buy", "1", "0", "1"), ("increase", "buy", "1", "7", "8")]


def test_spot(tmp_path: Path) -> None:
    signals = _signals(
        tmp_path,
        _fill(1, "B", "10", "0", dir="Buy", coin="PURR/USDC", fee="0.01", feeToken="PURR"),
        _fill(2, "A", "4", "9.99", dir="Sell", coin="PURR/USDC"),
        _fill(3, "A", "5.99", "5.99", dir="Sell", coin="PURR/USDC"),
        _fill(4, "B", "1", "0", dir="Buy", coin="@107"),
    )
    assert _seen(signals) == [
        ("open", "buy", "10", "0", "9.99"),
        ("reduce", "sell", "4", "9.99", "5.99"),
        ("close", "sell", "5.99", "5.99", "0"),
        ("open", "buy", "1", "0", "1"),
    ]
    assert {(signal.symbol, signal.trade_type) for signal in signals} == {("PURR/USDC", "spot"), ("@107/USDC", "spot")}


def test_whales_are_named_by_slot_slots_user_or_file(tmp_path: Path) -> None:
    one = _fill(1, "B", "1", "0")
    assert _signals(tmp_path, one, slot=None, slots=["a", "b"])[0].whale_id == "a+b"
    assert _signals(tmp_path, one, slot=None, user="0x" + "ab" * 20)[0].whale_id == "0x" + "ab" * 20
    bare = tmp_path / "someone.json"
    bare.write_text(json.dumps([one]))
    assert signals_from_fills(bare)[0].whale_id == "someone"
    long = _signals(tmp_path, one, slot="x" * 64)[0]
    assert len(long.signal_id) == 32


def test_a_side_without_trade_id_still_repeats(tmp_path: Path) -> None:
    fill = _fill(1, "B", "1", "0", tid=None)
    assert len(_signals(tmp_path, fill, fill)) == 1


@pytest.mark.parametrize("text", ["", "{", "7", '{"queries": [{"slot": "a"}]}', '{"queries": [{"slot": "a", "fills": [{"time": 1}]}]}'])
def test_no_recording(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fills.json"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match="not a recording of fills"):
        signals_from_fills(path)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="not a recording of fills"):
        signals_from_fills(tmp_path / "absent.json")
