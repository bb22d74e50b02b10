"""Where one record of a source goes: the record enters, an inbox value with its shard, an answer to its sender, or nothing leaves.

Pure: the same record gives the same bytes, whenever and by whomever it is sequenced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast, get_args

import msgspec

from engine.config import Settings
from engine.contracts.audit import is_audit
from engine.contracts.check import RawRecord, read_audit, read_control, read_follower_command, read_signal
from engine.contracts.rejection import Rejection
from engine.contracts.signal import WhaleSignal
from engine.contracts.types import to_ms
from engine.domain.messages import (
    ControlRecord,
    Execution,
    FollowerCommand,
    InboxBody,
    InboxRecord,
    MarketReport,
    Outcome,
    SignalReceived,
    SourcePosition,
    Tick,
)
from engine.domain.values import Signal
from engine.errors import ContractViolation
from engine.log.inbox import ALL_SHARDS
from engine.topology import BROADCAST_SOURCES, DEAD, REJECTED, SOURCES, Topic

_encode: Final = msgspec.json.Encoder().encode
_command: Final[msgspec.json.Decoder[FollowerCommand]] = msgspec.json.Decoder(FollowerCommand)
_control: Final[msgspec.json.Decoder[ControlRecord]] = msgspec.json.Decoder(ControlRecord)
_market: Final[msgspec.json.Decoder[MarketReport]] = msgspec.json.Decoder(MarketReport)
_outcome: Final[msgspec.json.Decoder[Outcome]] = msgspec.json.Decoder(Outcome)
_OUTCOMES: Final = frozenset(record.__name__ for record in get_args(Outcome))
_EXECUTIONS: Final = frozenset(record.__name__ for record in get_args(Execution))


class _Tag(msgspec.Struct):
    t: str


_tag: Final = msgspec.json.Decoder(_Tag)


@dataclass(frozen=True, slots=True)
class Source:
    """A record of a source, with the code of its topic (`engine.topology.SOURCES`)."""

    code: str
    partition: int
    offset: int
    record: RawRecord

    @property
    def topic(self) -> Topic:
        """The source's topic."""
        return SOURCES[self.code]


@dataclass(frozen=True, slots=True)
class Routed:
    """A record for the inbox of `shard` (or `ALL_SHARDS`)."""

    shard: int
    body: InboxBody
    source: Source

    def encoded(self) -> bytes:
        """The inbox record's value."""
        source = self.source
        return _encode(InboxRecord(body=self.body, src=SourcePosition(source.code, source.partition, source.offset)))


@dataclass(frozen=True, slots=True)
class Refused:
    """An unreadable record: `value` answers its sender on `topic`."""

    topic: Topic
    value: bytes
    source: Source


TICK: Final = _encode(InboxRecord(body=Tick()))
"""The inbox value of a tick."""


def signal_of(model: WhaleSignal, published_at: int) -> Signal:
    """The domain's signal from the contract's."""
    return Signal(
        signal_id=model.signal_id,
        whale_id=model.whale_id,
        source=model.source,
        symbol=model.symbol,
        trade_type=model.trade_type,
        action=model.action,
        side=model.side,
        quantity=model.quantity,
        price=model.price,
        whale_order_id=model.whale_order_id,
        position_before=model.position_before,
        position_after=model.position_after,
        whale_equity=model.whale_equity,
        leverage=model.leverage,
        priority=model.priority,
        detected_at=to_ms(model.detected_at),
        expires_at=_ms_or_none(model.expires_at),
        whale_time=_ms_or_none(model.whale_time),
        published_at=published_at,
    )


def _ms_or_none(time: datetime | None) -> int | None:
    return None if time is None else to_ms(time)


class Router:
    """Reads every source's records by its contract."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read: dict[str, Callable[[Source], InboxBody | None]] = {
            "s": self._read_signal,
            "f": self._read_command,
            "c": self._read_control,
            "m": self._read_market,
            "x": self._read_execution,
        }

    def route(self, source: Source) -> Routed | Refused | None:
        """Where the record goes; None for what concerns no shard (attempts of the executor, what is for the trail only)."""
        try:
            body = self._read[source.code](source)
        except ContractViolation as violation:
            return self._refusal(source, violation)
        except msgspec.DecodeError as error:
            return self._refusal(source, ContractViolation("value", source.record.value, f"a record of this topic ({error})"))
        if body is None:
            return None
        return Routed(ALL_SHARDS if source.code in BROADCAST_SOURCES else source.partition, body, source)

    def _refusal(self, source: Source, violation: ContractViolation) -> Refused:
        name = self._settings.topic(source.topic)
        answer = Rejection.of(violation, source.record, name, source.partition, source.offset)
        return Refused(DEAD.get(source.topic.name, REJECTED), answer.model_dump_json().encode(), source)

    def _read_signal(self, source: Source) -> InboxBody:
        published_at = source.record.appended_ms or 0
        return SignalReceived(signal=signal_of(read_signal(source.record), published_at))

    def _read_command(self, source: Source) -> InboxBody:
        read_follower_command(source.record, source.partition, self._settings.partitions)
        return _command.decode(cast(bytes, source.record.value))

    def _read_control(self, source: Source) -> InboxBody | None:
        if is_audit(source.record.value):
            read_audit(source.record)
            return None
        read_control(source.record)
        return _control.decode(cast(bytes, source.record.value))

    def _read_market(self, source: Source) -> InboxBody:
        return _market.decode(source.record.value or b"")

    def _read_execution(self, source: Source) -> InboxBody | None:
        value = source.record.value or b""
        # Half of the topic is attempts, which concern no shard: their tag is all that is read of them.
        tag = _tag.decode(value).t
        return None if tag in _EXECUTIONS and tag not in _OUTCOMES else _outcome.decode(value)
