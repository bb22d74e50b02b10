"""Golden signals: every recorded verdict holds, and what is accepted is what other languages' schemas accept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.contracts.check import RawRecord, read_signal
from engine.contracts.export import contract_documents
from engine.contracts.files import check_file, check_item, read_signals, record_of
from engine.errors import ConfigInvalid, ContractViolation
from engine.topology import MAX_SIGNAL_BYTES

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "signals").glob("*.json"))
SCHEMA = jsonschema.Draft202012Validator(json.loads(contract_documents()["whale.signal.v1.schema.json"]))
ONLY_OURS = {"refused-impossible-date", "refused-too-old", "refused-from-the-future"}
"""Refused for what a schema cannot say."""


def _load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_verdict(path: Path) -> None:
    golden = _load(path)
    verdict = golden["verdict"]
    if verdict["accepted"]:
        assert read_signal(record_of(golden)).signal_id == "acc3-1"
        return
    with pytest.raises(ContractViolation) as refusal:
        read_signal(record_of(golden))
    assert refusal.value.field == verdict["field"]
    assert verdict["expected"] in refusal.value.expected


@pytest.mark.parametrize("path", [path for path in GOLDEN if path.stem.startswith("accepted")], ids=lambda path: path.stem)
def test_accepted_bodies_fit_the_published_schema(path: Path) -> None:
    value = _load(path)["value"]
    body = value.get("data", value) if "specversion" in value else value
    if path.stem in ("accepted-unknown-field", "accepted-structured-base64"):
        return
    SCHEMA.validate(body)


def test_schema_refuses_what_it_can_say() -> None:
    caught = {path.stem for path in GOLDEN if path.stem.startswith("refused") and not SCHEMA.is_valid(_load(path).get("value"))}
    for name in (
        "float-price",
        "exponent",
        "zero-quantity",
        "symbol-spot",
        "symbol-inverse",
        "spot-perpetual",
        "spot-flip",
        "half-positions",
    ):
        assert f"refused-{name}" in caught
    assert "refused-reduce-without-positions" in caught
    assert not caught & ONLY_OURS


def test_a_golden_round_trip_is_stable() -> None:
    signal = check_item(_load(next(path for path in GOLDEN if path.stem == "accepted-every-field"))["value"])
    again = check_item(json.loads(signal.to_json()))
    assert again == signal
    assert json.loads(signal.to_json())["quantity"] == "0.25"


def test_size_limit() -> None:
    golden = record_of(_load(next(path for path in GOLDEN if path.stem == "accepted-open-binary")))
    padded = (golden.value or b"") + b" " * (MAX_SIGNAL_BYTES - len(golden.value or b""))
    assert read_signal(RawRecord(padded, golden.key, golden.headers, golden.appended_ms)).whale_id == "acc3"
    with pytest.raises(ContractViolation, match=f"at most {MAX_SIGNAL_BYTES} bytes"):
        read_signal(RawRecord(padded + b" ", golden.key, golden.headers, golden.appended_ms))


def test_check_file_reads_every_form(tmp_path: Path) -> None:
    verdicts = [verdict for path in GOLDEN for verdict in check_file(path)]
    assert [verdict.accepted for verdict in verdicts] == [_load(path)["verdict"]["accepted"] for path in GOLDEN]
    body = _load(next(path for path in GOLDEN if path.stem == "accepted-open-binary"))["value"]
    event = _load(next(path for path in GOLDEN if path.stem == "accepted-open-structured"))["value"]
    lines = tmp_path / "signals.jsonl"
    lines.write_text(f"{json.dumps(body)}\n\n{json.dumps(event)}\nnonsense\n7\n")
    assert [(verdict.index, verdict.accepted, verdict.field) for verdict in check_file(lines)] == [
        (1, True, ""),
        (2, True, ""),
        (3, False, "value"),
        (4, False, "value"),
    ]
    array = tmp_path / "signals.json"
    array.write_text(json.dumps([body, {**body, "price": 1.5}]))
    assert [verdict.field for verdict in check_file(array)] == ["", "price"]
    with pytest.raises(ConfigInvalid, match="signal 2: price"):
        read_signals(array)
    array.write_text(json.dumps([body, body]))
    assert [signal.signal_id for signal in read_signals(array)] == ["acc3-1", "acc3-1"]


def test_an_unreadable_file_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        check_file(tmp_path / "absent.json")
