"""Wire types of the contracts: strings enter, `Decimal` and `datetime` leave. A float never becomes an amount.

Every type states on the wire exactly what the published JSON Schema says; text without control characters, so that it can be a key,
a header and a database value.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

AMOUNT_PATTERN: Final = r"^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"
TIME_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
TEXT_PATTERN: Final = r"^[^\x00-\x1f\x7f]*$"
AMOUNT_EXPECTED: Final = 'a decimal as a JSON string, such as "0.25" (no float, no exponent, at most 20 digits, 18 after the point)'
TIME_EXPECTED: Final = 'an RFC 3339 time with its offset, such as "2026-07-19T06:01:59.714Z"'
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MS: Final = timedelta(milliseconds=1)

_AMOUNT: Final = re.compile(AMOUNT_PATTERN)
_TIME: Final = re.compile(TIME_PATTERN)


class Contract(BaseModel):
    """Base of every model: immutable, unknown fields ignored, no conversion between JSON types."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, populate_by_name=True)

    def to_json(self) -> bytes:
        """The record's value: amounts and times as strings, unset fields left out."""
        return self.model_dump_json(exclude_defaults=True).encode()


def wrong(field: str, value: object, expected: str) -> PydanticCustomError:
    """A violation that concerns several fields, told at the one to correct."""
    return PydanticCustomError("contract", "{expected}", {"field": field, "value": str(value), "expected": expected})


def _parse_amount(value: object) -> Decimal:
    if isinstance(value, Decimal):
        value = format(value, "f")
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise ValueError(AMOUNT_EXPECTED)
    return Decimal(value)


def _above_zero(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError("an amount above zero")
    return value


def _not_below_zero(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("an amount of zero or more")
    return value


def _parse_time(value: object) -> datetime:
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(TIME_EXPECTED) from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(TIME_EXPECTED)
    return value


def to_ms(time: datetime) -> int:
    """Whole milliseconds since the epoch, rounded down."""
    return (time - EPOCH) // MS


def from_ms(time_ms: int) -> datetime:
    """The UTC time of `time_ms` milliseconds since the epoch."""
    return EPOCH + time_ms * MS


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _string(pattern: str, **extra: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern} | extra)


_UNSIGNED: Final = AMOUNT_PATTERN.replace("-?", "")
_AMOUNT_OUT: Final = PlainSerializer(lambda value: format(value, "f"), return_type=str)

SignedAmount = Annotated[Decimal, BeforeValidator(_parse_amount), _AMOUNT_OUT, _string(AMOUNT_PATTERN)]
Amount = Annotated[Decimal, BeforeValidator(_parse_amount), AfterValidator(_not_below_zero), _AMOUNT_OUT, _string(_UNSIGNED)]
PositiveAmount = Annotated[
    Decimal,
    BeforeValidator(_parse_amount),
    AfterValidator(_above_zero),
    _AMOUNT_OUT,
    _string(r"^(?!0+(\.0+)?$)" + _UNSIGNED.removeprefix("^"), description="Above zero."),
]
Timestamp = Annotated[
    datetime,
    BeforeValidator(_parse_time),
    PlainSerializer(_time_text, return_type=str),
    _string(TIME_PATTERN, format="date-time"),
]


def _no_shard(text: str) -> str:
    if text.startswith("shard-"):
        raise ValueError("an id that does not begin with shard-")
    return text


Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=TEXT_PATTERN)]
"""signal_id, whale_id, follower_id, request_id, whale_order_id."""
FollowerId = Annotated[Id, AfterValidator(_no_shard)]
"""Never `shard-...`: that is the name under which a shard keeps its own events."""
Note = Annotated[str, StringConstraints(max_length=500, pattern=TEXT_PATTERN)]
"""Free text for people: a reason, an actor."""
SYMBOL_PATTERN: Final = "^{part}/{part}(:{part})?$".format(part=r"[^\s/:\x00-\x1f\x7f]+")
Symbol = Annotated[str, StringConstraints(min_length=3, max_length=64, pattern=SYMBOL_PATTERN)]
"""A ccxt unified symbol: `BTC/USDT` (spot) or `BTC/USDT:USDT` (perpetual)."""

TradeType = Literal["spot", "futures"]
Priority = Literal["high", "medium", "low"]
Venue = Literal["binance", "binanceusdm", "bybit", "bybitlinear"]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Milliseconds = Annotated[int, Field(ge=0, le=10**12)]
