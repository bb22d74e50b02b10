"""`whale.signals.rejected.v1` and `<topic>.dead`: the answer to whoever sent a record that could not be read."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Final

from pydantic import Field

from engine.contracts.check import RawRecord
from engine.contracts.types import Contract, Timestamp, from_ms
from engine.errors import ContractViolation

PAYLOAD_BYTES: Final = 4096
TEXT_CHARS: Final = 200
MAX_HEADERS: Final = 32


class Rejection(Contract):
    """Why one record was refused, and where it is."""

    field: Annotated[str, Field(description="Path of the field that was wrong, such as price, headers.ce_type or terms.multiplier.")]
    value: Annotated[str, Field(description="What was found, cut to 200 characters.")]
    expected: Annotated[str, Field(description="What was expected; begins with too_old for a signal that came too late.")]
    topic: str
    partition: int
    offset: int
    appended_at: Timestamp
    key: str | None
    headers: Annotated[list[tuple[str, str]], Field(description="The first 32, values cut to 200 characters.")]
    payload_bytes: Annotated[int, Field(description="Size of the refused record's value.")]
    payload_base64: Annotated[str, Field(description="The first 4096 bytes of the refused record's value.")]

    @classmethod
    def of(cls, violation: ContractViolation, record: RawRecord, topic: str, partition: int, offset: int) -> Rejection:
        """The answer to `record`, which lies at `topic`[`partition`]@`offset`."""
        payload = record.value or b""
        return cls(
            field=violation.field,
            value=_clean(violation.value),
            expected=violation.expected,
            topic=topic,
            partition=partition,
            offset=offset,
            appended_at=from_ms(record.appended_ms or 0),
            key=None if record.key is None else _readable(record.key),
            headers=[(_clean(name[:TEXT_CHARS]), _readable(value or b"")) for name, value in record.headers[:MAX_HEADERS]],
            payload_bytes=len(payload),
            payload_base64=b64encode(payload[:PAYLOAD_BYTES]).decode(),
        )


def _readable(data: bytes) -> str:
    return data[:TEXT_CHARS].decode("utf-8", "backslashreplace")


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
