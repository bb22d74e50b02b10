"""The checker of every public topic: a record enters, its model or a `ContractViolation` leaves. Nothing else is ever raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from engine.contracts.audit import AUDIT_RECORD, AUDIT_TAGS, AuditModel
from engine.contracts.commands import FOLLOWER_COMMAND, ClosePosition, ConfigureFollower, FollowWhale, UnfollowWhale
from engine.contracts.control import CONTROL_RECORD, Flatten, ReleaseSignals, ResyncWhale, SetGate, SetLogicVersion, SetSwitch
from engine.contracts.envelope import Headers, read_event
from engine.contracts.signal import SIGNAL_TYPE, WhaleSignal
from engine.contracts.types import from_ms
from engine.errors import ContractViolation
from engine.topology import MAX_SIGNAL_BYTES, shard_of

TOO_OLD: Final = timedelta(hours=24)
TOO_EARLY: Final = timedelta(hours=24)
MAX_CONTROL_BYTES: Final = 500_000
"""A release names up to 5,000 signals."""

FollowerCommandModel = ConfigureFollower | FollowWhale | UnfollowWhale | ClosePosition
ControlModel = SetSwitch | Flatten | SetGate | ReleaseSignals | ResyncWhale | SetLogicVersion
T = TypeVar("T")


@dataclass(frozen=True)
class RawRecord:
    """A record as Kafka gives it. `appended_ms` is its append time; None where there is none (a file)."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = field(default=())
    appended_ms: int | None = None


def read_signal(record: RawRecord) -> WhaleSignal:
    """A record of `whale.signals.v1`. Errors: ContractViolation."""
    _check_size(record, MAX_SIGNAL_BYTES)
    event = read_event(record.key, record.value, record.headers)
    if event.type != SIGNAL_TYPE:
        raise ContractViolation("type", event.type, f"{SIGNAL_TYPE} (the only version there is)")
    signal = _validated(lambda: WhaleSignal.model_validate(event.data))
    _check_identity(record.key, "whale_id", signal.whale_id)
    if record.appended_ms is not None:
        check_age(signal, record.appended_ms)
    return signal


def check_data(data: Mapping[str, Any]) -> WhaleSignal:
    """The JSON object of a signal without its envelope. Errors: ContractViolation."""
    return _validated(lambda: WhaleSignal.model_validate(data))


def read_follower_command(record: RawRecord, partition: int, shards: int) -> FollowerCommandModel:
    """A record of `follower.commands.v1`, which must lie on its follower's partition. Errors: ContractViolation."""
    command = _parsed(FOLLOWER_COMMAND, record)
    _check_identity(record.key, "follower_id", command.follower_id)
    home = shard_of(command.follower_id, shards)
    if partition != home:
        raise ContractViolation("partition", partition, f"{home}: murmur2 of follower_id modulo {shards}, sent explicitly")
    return command


def read_control(record: RawRecord) -> ControlModel:
    """A record of `engine.control.v1` that holds for the shards. Errors: ContractViolation."""
    return _parsed(CONTROL_RECORD, record)


def read_audit(record: RawRecord) -> AuditModel:
    """A record of `engine.control.v1` that is for the trail only. Errors: ContractViolation."""
    return _parsed(AUDIT_RECORD, record)


def check_audit(data: Mapping[str, Any]) -> AuditModel:
    """Fields of an audit record, its tag `t` among them. Errors: ContractViolation."""
    return _validated(lambda: AUDIT_RECORD.validate_python(data))


def _parsed(adapter: TypeAdapter[T], record: RawRecord) -> T:
    _check_size(record, MAX_CONTROL_BYTES)
    value = record.value
    if not value:
        raise ContractViolation("value", "(empty)", "a record with a value: tombstones mean nothing on this topic")
    return _validated(lambda: adapter.validate_json(value))


def _check_size(record: RawRecord, most: int) -> None:
    size = len(record.value or b"")
    if size > most:
        raise ContractViolation("value", f"{size} bytes", f"at most {most} bytes")


def _check_identity(key: bytes | None, name: str, owner: str) -> None:
    if key is not None and key != owner.encode():
        raise ContractViolation("key", key, f"{name} ({owner}), since records of one key stay in order")


def check_age(signal: WhaleSignal, appended_ms: int) -> None:
    """Whether a signal may be published then. Errors: ContractViolation."""
    age = from_ms(appended_ms) - signal.detected_at
    if age > TOO_OLD:
        raise ContractViolation("detected_at", signal.detected_at.isoformat(), "too_old: published at most 24 h after it")
    if -age > TOO_EARLY:
        raise ContractViolation("detected_at", signal.detected_at.isoformat(), "a time that is not more than 24 h ahead of publishing")


def _validated(validate: Callable[[], T]) -> T:
    try:
        return validate()
    except ValidationError as error:
        raise _violation(error) from None


def _violation(error: ValidationError) -> ContractViolation:
    first = error.errors(include_url=False)[0]
    context = first.get("ctx", {})
    path = [str(part) for part in first["loc"] if not _is_tag(part)]
    if first["type"] == "contract":
        return ContractViolation(".".join([*path, context["field"]]), context["value"], context["expected"])
    found = "(missing)" if first["type"] in ("missing", "union_tag_not_found") else first["input"]
    if isinstance(found, (dict, BaseModel)) and first["type"] == "union_tag_invalid":
        found = context["tag"]
    name = ".".join(path) or ("t" if first["type"].startswith("union_tag") else "value")
    return ContractViolation(name, found, _expectation(first["type"], first["msg"]))


_TAGS: Final = AUDIT_TAGS | {model.__name__ for model in (*FollowerCommandModel.__args__, *ControlModel.__args__)}


def _is_tag(part: object) -> bool:
    return part in _TAGS


def _expectation(kind: str, message: str) -> str:
    return "a value: the field is required" if kind == "missing" else message.removeprefix("Value error, ")
