"""CloudEvents 1.0 over Kafka: a record's headers, key and value enter, an `Event` with its JSON data leaves (and back).

The only module that knows the `cloudevents` SDK. Known traps of it that are handled here: it picks the mode by header presence
(the binding says: by content-type), it invents a missing id, it lets the key overwrite `partitionkey`, it takes a dict where a record
may repeat a header, and its JSON reader accepts NaN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, from_structured, to_binary, to_structured
from cloudevents.core.exceptions import BaseCloudEventException, CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from engine.errors import ContractViolation

Headers = Sequence[tuple[str, bytes | None]]
STRUCTURED: Final = "application/cloudevents"
STRUCTURED_JSON: Final = "application/cloudevents+json"
REQUIRED: Final = ("specversion", "id", "source", "type")
MAX_ATTRIBUTE_CHARS: Final = 1024


@dataclass(frozen=True)
class Event:
    """A CloudEvent: its identity (`source`, `id`), its `type`, and the JSON object it carries."""

    type: str
    source: str
    id: str
    data: dict[str, Any]


class _StrictFormat(JSONFormat):
    """The SDK's JSON format, reading by orjson: no NaN, no infinity, UTF-8 only, bounded depth."""

    def read_data(self, body: bytes, datacontenttype: str | None) -> dict[str, Any]:
        return parse_object(body, "data")


_FORMAT: Final = _StrictFormat()


def parse_object(body: bytes | str, field: str) -> dict[str, Any]:
    """A JSON object. Errors: ContractViolation at `field`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ContractViolation(field, _excerpt(body), f"JSON ({error})") from None
    if not isinstance(value, dict):
        raise ContractViolation(field, _excerpt(body), "a JSON object")
    return value


def read_event(key: bytes | None, value: bytes | None, headers: Headers) -> Event:
    """Read one record, binary or structured. Errors: ContractViolation with the path (`headers.ce_type`, `data`, `key`)."""
    if not value:
        raise ContractViolation("value", "(empty)", "a record with a value: tombstones mean nothing on this topic")
    named = _named_headers(headers)
    content_type = _text(named.get("content-type", b"application/json"), "headers.content-type").lower()
    media = content_type.split(";")[0].strip()
    event = _read_structured(value, media) if media.startswith(STRUCTURED) else _read_binary(value, named, media)
    _check_key(event, key)
    return Event(event.get_type(), event.get_source(), event.get_id(), _data_of(event))


def _named_headers(headers: Headers) -> dict[str, bytes]:
    ours = [(name.lower(), value) for name, value in headers if name.lower().startswith("ce_") or name.lower() == "content-type"]
    name, count = max(Counter(name for name, _ in ours).items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise ContractViolation(f"headers.{name}", f"{count} times", "each CloudEvents header once")
    for name, value in ours:
        _text(value, f"headers.{name}")
    return {name: value for name, value in ours if value is not None}


def _text(value: bytes | None, field: str) -> str:
    try:
        text = (value or b"").decode()
    except UnicodeDecodeError:
        raise ContractViolation(field, value, "UTF-8 text") from None
    if not text or len(text) > MAX_ATTRIBUTE_CHARS or not text.isprintable():
        raise ContractViolation(field, text, f"1 to {MAX_ATTRIBUTE_CHARS} printable characters")
    return text


def _read_binary(value: bytes, headers: dict[str, bytes], media: str) -> CloudEvent:
    if media not in ("application/json", "text/json") and not media.endswith("+json"):
        raise ContractViolation("headers.content-type", media, "application/json or application/cloudevents+json")
    for name in REQUIRED:
        if f"ce_{name}" not in headers:
            raise ContractViolation(f"headers.ce_{name}", "(missing)", f"the CloudEvents attribute {name}")
    try:
        return from_binary(KafkaMessage(headers, None, value), _FORMAT, CloudEvent)  # type: ignore[return-value]
    except (BaseCloudEventException, ValueError) as error:
        raise _sdk_violation(error, "headers.ce_", {name: value.decode() for name, value in headers.items()}) from None


def _read_structured(value: bytes, media: str) -> CloudEvent:
    if media != STRUCTURED_JSON:
        raise ContractViolation("headers.content-type", media, STRUCTURED_JSON)
    attributes = {name: attribute for name, attribute in parse_object(value, "value").items() if attribute is not None}
    for name in REQUIRED:
        if name not in attributes:
            raise ContractViolation(name, "(missing)", f"the CloudEvents attribute {name}")
    for name, attribute in attributes.items():
        if name not in ("data", "data_base64"):
            _check_attribute(name, attribute)
    try:
        return from_structured(KafkaMessage({}, None, orjson.dumps(attributes)), _FORMAT, CloudEvent)  # type: ignore[return-value]
    except (BaseCloudEventException, ValueError, TypeError, RecursionError) as error:
        raise _sdk_violation(error, "", attributes) from None


def _check_attribute(name: str, attribute: object) -> None:
    if not isinstance(attribute, (str, int, bool)) or len(str(attribute)) > MAX_ATTRIBUTE_CHARS:
        raise ContractViolation(name, attribute, f"a string, whole number or boolean of at most {MAX_ATTRIBUTE_CHARS} characters")


def _sdk_violation(error: Exception, prefix: str, values: dict[str, Any]) -> ContractViolation:
    if isinstance(error, CloudEventValidationError):
        name, reasons = next(iter(error.errors.items()))
        return ContractViolation(f"{prefix}{name}", values.get(f"ce_{name}", values.get(name)), str(reasons[0]))
    name = "data_base64" if "data_base64" in values else "time"
    return ContractViolation(f"{prefix}{name}", values.get(f"ce_{name}", values.get(name)), f"a CloudEvents attribute ({error})")


def _check_key(event: CloudEvent, key: bytes | None) -> None:
    partition_key = event.get_extension("partitionkey")
    if partition_key is not None and key is not None and str(partition_key).encode() != key:
        raise ContractViolation("partitionkey", partition_key, f"the record's key ({key!r})")


def _data_of(event: CloudEvent) -> dict[str, Any]:
    data = event.get_data()
    if isinstance(data, bytes):
        return parse_object(data, "data_base64")
    if not isinstance(data, dict):
        raise ContractViolation("data", data, "a JSON object")
    return data


def _excerpt(body: bytes | str) -> str:
    return body[:200].decode("utf-8", "replace") if isinstance(body, bytes) else body[:200]


def write_event(
    event_type: str, source: str, event_id: str, time: datetime, data: bytes, *, structured: bool = False
) -> tuple[list[tuple[str, bytes]], bytes]:
    """Headers and value of a record that carries `data` (a JSON object as bytes), binary mode unless `structured`."""
    attributes = {"id": event_id, "source": source, "type": event_type, "time": time, "datacontenttype": "application/json"}
    if structured:
        message = to_structured(CloudEvent(attributes, orjson.loads(data)), _FORMAT)
    else:
        message = to_binary(CloudEvent(attributes, data), _FORMAT)
    return list(message.headers.items()), message.value
