"""Audit records: golden files of every kind, and that everybody who folds the control topic passes them by."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from api.audit import to_act
from api.control import ControlFold
from engine.agents.seq_route import Refused, Router, Source
from engine.config import Settings
from engine.contracts.audit import AUDIT_TAGS, is_audit
from engine.contracts.check import RawRecord, read_audit, read_control
from engine.contracts.export import contract_documents
from engine.domain.messages import ControlRecord
from engine.errors import ContractViolation
from engine.executor.switches import Switches

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "audit").glob("*.json"))
ACCEPTED = [path for path in GOLDEN if not path.stem.startswith("refused")]
REFUSED = [path for path in GOLDEN if path.stem.startswith("refused")]
SCHEMA = json.loads(contract_documents()["audit.record.v1.schema.json"])
HALT = b'{"t":"SetSwitch","request_id":"5f0c3a2b","state":"halt"}'
NEWER = b'{"t":"SomethingNewer","request_id":"1"}'


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _value(path: Path) -> bytes:
    return json.dumps(_load(path)["value"]).encode()


def test_every_kind_has_its_golden_file() -> None:
    assert {path.stem for path in ACCEPTED} == {f"{tag}.v1" for tag in AUDIT_TAGS}


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_a_record_is_read_and_written_as_its_golden_file_says(path: Path) -> None:
    record = read_audit(RawRecord(_value(path)))
    assert json.loads(record.to_json()) == _load(path)["value"], "the record has changed: give it a new tag and a new golden file"
    jsonschema.Draft202012Validator(SCHEMA).validate(_load(path)["value"])


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_what_is_refused(path: Path) -> None:
    with pytest.raises(ContractViolation) as refusal:
        read_audit(RawRecord(_value(path)))
    assert refusal.value.field == _load(path)["verdict"]["field"]


def test_no_field_is_for_a_secret_or_a_hash() -> None:
    fields = {name for part in SCHEMA["$defs"].values() for name in part["properties"]}
    assert {
        name for name in fields if any(word in name for word in ("secret", "hash", "fingerprint", "mark", "api_key", "password"))
    } == set()


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_who_folds_the_control_topic_passes_it_by(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    value, switches, fold = _value(path), Switches(), ControlFold()
    with caplog.at_level(logging.WARNING):
        for offset, each in enumerate((value, HALT, value)):
            switches.fold(each)
            fold.fold(each, offset, 0)
    assert (switches.changed, fold.switches[("global", "")].state, fold.position) == (1, "halt", 3), "its request is not a switch's"
    assert caplog.records == []
    assert Router(Settings()).route(Source("c", 0, 0, RawRecord(value))) is None
    with pytest.raises(ContractViolation):
        read_control(RawRecord(value))


@pytest.mark.parametrize("value", [*map(_value, ACCEPTED), NEWER])
def test_a_reader_that_does_not_know_a_record_goes_on(value: bytes) -> None:
    """What processes of before these records do, and what ours do with those of tomorrow."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(value, type=ControlRecord)
    if not is_audit(value):
        switches, fold = Switches(), ControlFold()
        switches.fold(value)
        fold.fold(value, 7, 0)
        assert (switches.changed, fold.switches, fold.position) == (0, {}, 8)
        assert isinstance(Router(Settings()).route(Source("c", 0, 7, RawRecord(value))), Refused)


def test_one_that_breaks_its_contract_is_answered_and_stops_nothing() -> None:
    value = b'{"t":"RevokeKey","request_id":"1","key_id":"4c5a"}'
    answer = Router(Settings()).route(Source("c", 0, 0, RawRecord(value)))
    assert isinstance(answer, Refused) and json.loads(answer.value)["field"] == "key_id"


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[]", b"1", b'{"t":7}', b'{"t":["RevokeKey"]}', b"[" * 100_000])
def test_what_is_no_audit_record(value: bytes | None) -> None:
    assert not is_audit(value)


SAID = {
    "PublishSignal": "published the signal 5f0c3a2b by hand: whale acc3, open BTC/USDT:USDT, buy 0.25 at 64250.5",
    "PublishSignals": "published 2 signals of a file: acc3-1 to acc3-2",
    "RunDetector": "ran a detector: the older system's pending signals",
    "CreateKey": "made the API key 4c5a153b4f3c (Ada): read, trade, for the follower ada only, until 2026-07-22T06:01:59.714Z",
    "RevokeKey": "revoked the API key 4c5a153b4f3c",
    "StoreCredential": "put a paper account of ada on bybitlinear into the vault",
    "RemoveCredential": "took the exchange keys of ada on binance out of the vault",
    "RotateMasterKey": "put the vault under another master key",
    "RedriveRecord": "sent a record again: whale.signals.v1 [2] @ 17",
    "ImportLegacy": "imported from the older system: 4 commands",
}


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_the_trail_says_it_in_words(path: Path) -> None:
    act = to_act("c/0/1", _value(path), 0)
    assert (act.actor, act.request_id, act.summary) == ("ada", "5f0c3a2b", SAID[act.kind])


def test_the_trail_has_words_for_what_it_does_not_know() -> None:
    assert to_act("c/0/1", b'{"t":"CreateKey","key_id":"4c5a153b4f3c","name":"a","scopes":7}', 0).summary
    assert to_act("c/0/1", NEWER, 0).summary == ""
    assert to_act("c/0/1", HALT, 0).summary == "state halt"
