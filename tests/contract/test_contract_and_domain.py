"""Contracts and domain do not know each other, but speak the same JSON: field by field, default by default, value by value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from engine.contracts import commands, control
from engine.contracts.check import RawRecord, read_control, read_follower_command
from engine.contracts.commands import FOLLOWER_COMMAND
from engine.contracts.control import CONTROL_RECORD
from engine.contracts.signal import WhaleSignal
from engine.contracts.types import Venue
from engine.domain import messages, values
from engine.errors import ContractViolation
from engine.topology import shard_of

PAIRS: list[tuple[type[BaseModel], type[msgspec.Struct]]] = [
    (commands.LimitsInput, values.Limits),
    (commands.FollowTermsInput, values.FollowTerms),
    (commands.FollowerSettingsInput, values.FollowerSettings),
    (commands.ConfigureFollower, messages.ConfigureFollower),
    (commands.FollowWhale, messages.FollowWhale),
    (commands.UnfollowWhale, messages.UnfollowWhale),
    (commands.ClosePosition, messages.ClosePosition),
    (control.SetSwitch, messages.SetSwitch),
    (control.Flatten, messages.Flatten),
    (control.SetGate, messages.SetGate),
    (control.ReleaseSignals, messages.ReleaseSignals),
    (control.ResyncWhale, messages.ResyncWhale),
    (control.SetLogicVersion, messages.SetLogicVersion),
]
IDS = st.text("abcXYZ09-_:é/ ", min_size=1, max_size=64)
AMOUNTS = st.decimals(min_value=0, max_value=10**12, places=6).map(lambda value: format(value, "f"))
POSITIVE = st.decimals(min_value="0.000001", max_value=10**12, places=6).map(lambda value: format(value, "f"))


@pytest.mark.parametrize(("model", "struct"), PAIRS, ids=lambda part: part.__name__)
def test_same_fields_and_defaults(model: type[BaseModel], struct: type[msgspec.Struct]) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    assert set(model.model_fields) - {"t"} == set(fields)
    for name, field in fields.items():
        ours = model.model_fields[name]
        assert ours.is_required() == field.required, name
        if not field.required:
            assert _plain(ours.default) == _plain(field.default), name


def test_every_record_has_its_pair() -> None:
    structs = {struct for _, struct in PAIRS}
    assert set(get_args(messages.FollowerCommand)) | set(get_args(messages.ControlRecord)) <= structs
    assert set(get_args(Venue)) == set(values.VENUES)


def test_a_signal_has_the_domains_fields() -> None:
    assert set(WhaleSignal.model_fields) == {field.name for field in msgspec.structs.fields(values.Signal)} - {"published_at"}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(item) for name, item in value}
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


LIMITS = _optional(
    max_deviation_bps=AMOUNTS, max_staleness_ms=st.integers(0, 10**9), max_exposure_quote=AMOUNTS, max_open_positions=st.integers(0, 99)
)
TERMS = st.fixed_dictionaries(
    {"trade_size_usdt": POSITIVE},
    optional={
        "auto_copy_enabled": st.booleans(),
        "min_size_policy": st.sampled_from(("skip", "round_up", "accumulate")),
        "symbols_allowed": st.none() | st.lists(st.sampled_from(("BTC/USDT", "ETH/USDT:USDT")), max_size=3),
        "symbols_denied": st.lists(st.sampled_from(("BTC/USDT", "ETH/USDT:USDT")), max_size=3),
        "rollout_percent": st.integers(0, 100),
        "limits": LIMITS,
        "unknown": st.integers(),
    },
)
SETTINGS = _optional(
    paused=st.booleans(),
    mode=st.sampled_from(("paper", "shadow", "live")),
    preferred_exchange=st.sampled_from(values.VENUES),
    max_leverage=POSITIVE,
    limits=LIMITS,
)


def _tagged(tag: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"t": st.just(tag), "request_id": IDS, **fields}, optional={"actor": IDS})


FOLLOWER_COMMANDS = st.one_of(
    _tagged("ConfigureFollower", follower_id=IDS, settings=SETTINGS),
    _tagged("FollowWhale", follower_id=IDS, whale_id=IDS, terms=TERMS),
    _tagged("UnfollowWhale", follower_id=IDS, whale_id=IDS),
    _tagged("ClosePosition", follower_id=IDS, symbol=st.none() | st.just("BTC/USDT")),
)
CONTROLS = st.one_of(
    _tagged("SetSwitch", state=st.sampled_from(("running", "halt")), scope=st.just("whale"), target=IDS),
    _tagged("Flatten", scope=st.just("exchange"), target=st.sampled_from(values.VENUES)),
    _tagged("SetGate", min_priority=st.sampled_from(("high", "medium", "low")), paused=st.booleans()),
    _tagged("ReleaseSignals", signal_ids=st.lists(IDS, max_size=3), max_signals=st.integers(0, 5000)),
    _tagged("ResyncWhale", whale_id=IDS, symbol=st.just("BTC/USDT:USDT"), position=AMOUNTS),
    _tagged("SetLogicVersion", version=st.integers(1, 1000)),
)


def _same_for_both(value: bytes, adapter: TypeAdapter[Any], struct_type: Any) -> None:
    model = adapter.validate_json(value)
    struct = msgspec.json.decode(value, type=struct_type)
    assert _plain(model) == _plain(struct) | {"t": type(struct).__name__}
    assert adapter.validate_json(msgspec.json.encode(struct)) == model
    assert msgspec.json.decode(model.to_json(), type=struct_type) == struct


@given(FOLLOWER_COMMANDS)
def test_follower_commands_decode_alike(command: dict[str, Any]) -> None:
    value = msgspec.json.encode(command)
    _same_for_both(value, FOLLOWER_COMMAND, messages.FollowerCommand)
    home = shard_of(command["follower_id"], 8)
    assert read_follower_command(RawRecord(value, command["follower_id"].encode()), home, 8)
    with pytest.raises(ContractViolation, match="partition"):
        read_follower_command(RawRecord(value), (home + 1) % 8, 8)


@given(CONTROLS)
def test_control_records_decode_alike(record: dict[str, Any]) -> None:
    _same_for_both(msgspec.json.encode(record), CONTROL_RECORD, messages.ControlRecord)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b"", "value"),
        (b"{", "value"),
        (b"[]", "value"),
        (b"{}", "t"),
        (b'{"t":"Nonsense"}', "t"),
        (b'{"t":"SetSwitch","request_id":"1"}', "state"),
        (b'{"t":"SetSwitch","request_id":"1","state":"halt","scope":"whale"}', "target"),
        (b'{"t":"SetSwitch","request_id":"1","state":"halt","target":"x"}', "target"),
        (b'{"t":"Flatten","request_id":"1","scope":"exchange","target":"nyse"}', "target"),
        (b'{"t":"SetLogicVersion","request_id":"1","version":0}', "version"),
        (b'{"t":"ResyncWhale","request_id":"1","whale_id":"w","symbol":"BTC/USDT","position":1.5}', "position"),
        (b" " * 500_001, "value"),
    ],
)
def test_unreadable_control(value: bytes, field: str) -> None:
    with pytest.raises(ContractViolation) as refusal:
        read_control(RawRecord(value))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({}, "terms.trade_size_usdt"),
        ({"sizing": "percent_equity"}, "terms.trade_size_percent"),
        ({"sizing": "percent_equity", "trade_size_percent": "101"}, "terms.trade_size_percent"),
        ({"sizing": "multiplier", "multiplier": "0"}, "terms.multiplier"),
        ({"trade_size_usdt": 10.5}, "terms.trade_size_usdt"),
        ({"trade_size_usdt": "10", "limits": {"max_deviation_bps": "-1"}}, "terms.limits.max_deviation_bps"),
        ({"trade_size_usdt": "10", "symbols_denied": ["BTCUSDT"]}, "terms.symbols_denied.0"),
        ({"trade_size_usdt": "10", "rollout_percent": 101}, "terms.rollout_percent"),
    ],
)
def test_unreadable_terms(terms: dict[str, Any], field: str) -> None:
    command = {"t": "FollowWhale", "request_id": "1", "follower_id": "f", "whale_id": "w", "terms": terms}
    with pytest.raises(ContractViolation) as refusal:
        read_follower_command(RawRecord(msgspec.json.encode(command)), 0, 1)
    assert refusal.value.field == field


def test_a_key_that_is_not_the_follower_is_refused() -> None:
    command = {"t": "UnfollowWhale", "request_id": "1", "follower_id": "f", "whale_id": "w"}
    with pytest.raises(ContractViolation, match="key"):
        read_follower_command(RawRecord(msgspec.json.encode(command), b"g"), 0, 1)
    assert read_follower_command(RawRecord(msgspec.json.encode(command), b"f"), 0, 1).follower_id == "f"


def test_decimal_defaults_are_decimals() -> None:
    assert commands.FollowerSettingsInput().max_leverage == Decimal(1)
