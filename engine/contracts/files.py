"""`remora signal check FILE`: recorded or hand-written signals enter, one verdict each leaves.

A file holds one JSON value, a JSON array, or one JSON value a line. Each value is a signal's own fields, a structured CloudEvent (it has
`specversion`), or a whole record (it has `headers`): `{key, headers: [[name, value]], value | text | base64, appended_at}`.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from engine.contracts.check import RawRecord, check_data, read_signal
from engine.contracts.envelope import STRUCTURED_JSON
from engine.contracts.signal import WhaleSignal
from engine.contracts.types import to_ms
from engine.errors import ConfigInvalid, ContractViolation

_STRUCTURED_HEADERS: Final = (("content-type", STRUCTURED_JSON.encode()),)


@dataclass(frozen=True)
class Verdict:
    """What became of one signal of a file, counted from 1. A refused one names field, value and what was expected."""

    index: int
    accepted: bool
    signal_id: str = ""
    field: str = ""
    value: str = ""
    expected: str = ""


def check_file(path: Path) -> list[Verdict]:
    """Verdicts on a file's signals. Errors: ConfigInvalid when the file cannot be read at all."""
    return [_verdict(index, item) for index, item in enumerate(_items(_read(path)), 1)]


def read_signals(path: Path) -> list[WhaleSignal]:
    """A file's signals, all of them good. Errors: ConfigInvalid naming the first that is not."""
    for verdict in check_file(path):
        if not verdict.accepted:
            raise ConfigInvalid(f"{path}, signal {verdict.index}: {verdict.field}: got {verdict.value!r}, expected {verdict.expected}.")
    return [check_item(item) for item in _items(_read(path))]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be read: {error.strerror}.") from error


def _items(body: bytes) -> list[Any]:
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [_line(line) for line in body.splitlines() if line.strip()]
    return whole if isinstance(whole, list) else [whole]


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return ContractViolation("value", line.decode("utf-8", "replace"), f"JSON ({error})")


def _verdict(index: int, item: Any) -> Verdict:
    try:
        signal = check_item(item)
    except ContractViolation as violation:
        return Verdict(index, False, field=violation.field, value=violation.value, expected=violation.expected)
    return Verdict(index, True, signal_id=signal.signal_id)


def check_item(item: Any) -> WhaleSignal:
    """One value of a file. Errors: ContractViolation."""
    if isinstance(item, ContractViolation):
        raise item
    if not isinstance(item, dict):
        raise ContractViolation("value", item, "a JSON object")
    if "headers" in item:
        return read_signal(record_of(item))
    if "specversion" in item:
        return read_signal(RawRecord(orjson.dumps(item), headers=_STRUCTURED_HEADERS))
    return check_data(item)


def record_of(item: dict[str, Any]) -> RawRecord:
    """The Kafka record that a whole-record value describes."""
    key, appended = item.get("key"), item.get("appended_at")
    return RawRecord(
        value=_value_of(item),
        key=None if key is None else str(key).encode(),
        headers=[(str(name), str(value).encode()) for name, value in item["headers"]],
        appended_ms=None if appended is None else to_ms(datetime.fromisoformat(appended)),
    )


def _value_of(item: dict[str, Any]) -> bytes | None:
    if "base64" in item:
        return b64decode(item["base64"])
    if "text" in item:
        return str(item["text"]).encode()
    return None if item.get("value") is None else orjson.dumps(item["value"])
