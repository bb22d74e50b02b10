"""Snapshots: a state enters, chunks of msgpack under 512 KB leave, and back; and a digest that tells two states apart.

Each chunk is [kind, payload]; one that grew too large (a follower of many whales, each with long lists) is cut into pieces.
What is derived (index, pool) is rebuilt; settings and terms are interned again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from engine.domain.messages import TradeCommand
from engine.domain.state import FollowerState, HeldSignal, Mark, ShardState, WhalePair, add_to_index, intern
from engine.domain.values import MarketRules

CHUNK_BYTES = 400_000
SLACK_BYTES = 100_000
"""How much larger a chunk may be because of its last item."""
_MAPS: dict[str, Any] = {
    "whales": dict[str, WhalePair],
    "held": dict[str, HeldSignal],
    "alarms": dict[str, int],
    "rules": dict[str, MarketRules],
    "marks": dict[str, Mark],
    "seen": dict[str, int],
    "requests": dict[str, int],
}
_FOLLOWERS: Any = list[FollowerState]
_OUTBOX: Any = list[TradeCommand]
_DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "head": msgspec.msgpack.Decoder(ShardState),
    "followers": msgspec.msgpack.Decoder(_FOLLOWERS),
    "outbox": msgspec.msgpack.Decoder(_OUTBOX),
} | {name: msgspec.msgpack.Decoder(kind) for name, kind in _MAPS.items()}
_encoder = msgspec.msgpack.Encoder()
_envelope = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_piece = msgspec.msgpack.Decoder(tuple[bool, bytes])


def _head(state: ShardState) -> ShardState:
    empty: dict[str, Any] = {name: {} for name in _MAPS}
    return replace(state, followers={}, outbox=[], index={}, pool={}, deciding=None, **empty)


def _slices(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists of items whose encoding stays under the chunk's size."""
    part: list[Any] = []
    size = 0
    for item in items:
        part.append(item)
        size += len(_encoder.encode(item))
        if size >= CHUNK_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def dump_state(state: ShardState) -> Iterator[bytes]:
    """The state in chunks, the head first."""
    assert state.deciding is None, "a snapshot is taken between records"
    for chunk in _dump(state):
        if len(chunk) <= CHUNK_BYTES + SLACK_BYTES:
            yield chunk
            continue
        for start in range(0, len(chunk), CHUNK_BYTES):
            is_last = start + CHUNK_BYTES >= len(chunk)
            yield _encoder.encode(("piece", (is_last, chunk[start : start + CHUNK_BYTES])))


def _dump(state: ShardState) -> Iterator[bytes]:
    yield _encoder.encode(("head", _head(state)))
    for part in _slices(state.followers.values()):
        yield _encoder.encode(("followers", part))
    for part in _slices(state.outbox):
        yield _encoder.encode(("outbox", part))
    for name in _MAPS:
        for part in _slices(getattr(state, name).items()):
            yield _encoder.encode((name, dict(part)))


def restore_state(chunks: Iterable[bytes]) -> ShardState:
    """A state from its chunks; raises `msgspec.DecodeError` when one of them is none."""
    state: ShardState | None = None
    for kind, raw in _whole(chunks):
        part = _DECODERS[kind].decode(raw)
        if state is None:
            state = part
        elif kind == "followers":
            for follower in part:
                _adopt(state, follower)
        elif kind == "outbox":
            state.outbox.extend(part)
        else:
            getattr(state, kind).update(part)
    assert state is not None, "a snapshot without chunks"
    _index(state)
    return state


def _whole(chunks: Iterable[bytes]) -> Iterator[tuple[str, msgspec.Raw]]:
    """Kind and payload of each chunk, pieces put together again."""
    cut = b""
    for chunk in chunks:
        kind, raw = _envelope.decode(chunk)
        if kind != "piece":
            yield kind, raw
            continue
        is_last, piece = _piece.decode(raw)
        cut += piece
        if is_last:
            yield _envelope.decode(cut)
            cut = b""


def _adopt(state: ShardState, follower: FollowerState) -> None:
    follower.settings = intern(state, follower.settings)
    for follow in follower.follows.values():
        follow.terms = intern(state, follow.terms)
    state.followers[follower.follower_id] = follower


def _index(state: ShardState) -> None:
    for follower in state.followers.values():
        with_lots = {lot.whale_id for lot in (follower.lots or {}).values()}
        for whale_id, follow in follower.follows.items():
            if follow.active or whale_id in with_lots:
                add_to_index(state, follower, whale_id)


def state_digest(state: ShardState) -> str:
    """Digest of everything but the outbox, which only says how far sending has come. Equal for live, replayed and restored states."""
    digest = blake2b(digest_size=16)
    encoder = msgspec.msgpack.Encoder(order="deterministic")
    digest.update(encoder.encode(_head(state)))
    for name in ("followers", *_MAPS):
        for item in getattr(state, name).items():
            digest.update(encoder.encode(item))
    return digest.hexdigest()
