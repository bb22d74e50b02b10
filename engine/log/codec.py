"""How events, marks and inbox records look as bytes: msgspec JSON, one encoder and one decoder each.

Enters: values of `engine.domain`. Leaves: keys and values of records, and back. Old event versions are brought up to date by
`engine.log.upcasts` while they are read.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from engine.domain.events import AnyEvent, RoundCommitted, ShardClaimed
from engine.domain.messages import InboxRecord, TradeCommand
from engine.domain.replay import decode_lean
from engine.errors import LogCorrupt
from engine.log.upcasts import UPCASTS, Upcasts, upcast

CLAIM_KEY: Final = b"~claim"
ROUND_KEY: Final = b"~round"

_encoder: Final = msgspec.json.Encoder()
_event_decoder: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)
_claim_decoder: Final = msgspec.json.Decoder(ShardClaimed)
_marker_decoder: Final = msgspec.json.Decoder(RoundCommitted)
_inbox_decoder: Final = msgspec.json.Decoder(InboxRecord)
_command_decoder: Final = msgspec.json.Decoder(TradeCommand)

encode: Final = _encoder.encode
"""Any value of the domain to its bytes."""


def encode_event(event: AnyEvent) -> tuple[bytes, bytes]:
    """Key and value of an event's record."""
    return event.originator_id.encode(), encode(event)


def decode_event(value: bytes, upcasts: Upcasts = UPCASTS) -> AnyEvent:
    """The event in its newest version, whatever version was written."""
    try:
        return _event_decoder.decode(value)
    except msgspec.ValidationError as error:
        return _decode_old(value, upcasts, error)


def decode_to_fold(value: bytes) -> AnyEvent:
    """The event without what folding does not look at: for `evolve` only."""
    try:
        return decode_lean(value)
    except msgspec.ValidationError:
        return decode_event(value)


def _decode_old(value: bytes, upcasts: Upcasts, error: msgspec.ValidationError) -> AnyEvent:
    raw: dict[str, Any] = msgspec.json.decode(value)
    if raw.get("t") not in upcasts:
        raise LogCorrupt(f"an event cannot be read ({error}): {value[:200]!r}") from error
    event: AnyEvent = msgspec.convert(upcast(raw, upcasts), AnyEvent)
    return event


def decode_claim(value: bytes) -> ShardClaimed:
    """The value of a record whose key is `CLAIM_KEY`."""
    return _claim_decoder.decode(value)


def decode_marker(value: bytes) -> RoundCommitted:
    """The value of a record whose key is `ROUND_KEY`."""
    return _marker_decoder.decode(value)


def decode_inbox(value: bytes) -> InboxRecord:
    """The value of a record on `engine.inbox.v1`. The sequencer wrote it: what cannot be read is a corrupt log."""
    try:
        return _inbox_decoder.decode(value)
    except msgspec.DecodeError as error:
        raise LogCorrupt(f"an inbox record cannot be read ({error}): {value[:200]!r}") from error


def decode_command(value: bytes) -> TradeCommand:
    """The value of a record on `trade.commands.v1`."""
    return _command_decoder.decode(value)
