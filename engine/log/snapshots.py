"""Snapshots of a shard's state: a cache on `engine.snapshots.v1[p]`. Deleting all of them changes nothing but time.

Enters: the chunks of a state (each under 512 KB) and the position it stands at. Leaves: the newest snapshot that is whole.

Two slots alternate, so that compaction never takes the one that the manifest before names. The manifest comes last and says
where its chunks begin, how many they are and their digest: whatever is torn, mixed or half compacted does not fit and is passed
over. A snapshot of another fold version is passed over as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer

import engine.domain
from engine.config import Settings
from engine.log.consume import bounds, read_range
from engine.log.reader import Position
from engine.topology import SNAPSHOTS

MAX_CHUNK_BYTES: Final = 512 * 1024
FIRST_LOOK: Final = 16
"""Records at the end of the partition that are looked at first; then eight times as many, and so on."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Closes a snapshot. `first_offset` is where its chunks begin on the topic."""

    slot: int
    chunks: int
    first_offset: int
    digest: str
    fold_version: str
    position: Position


class Snapshot(msgspec.Struct, frozen=True):
    """A whole snapshot: the state's chunks and where in the log it stands."""

    position: Position
    chunks: list[bytes]


@cache
def fold_version() -> str:
    """What a snapshot depends on beside the events: a digest of the domain's source. Any change of it costs one full replay."""
    digest = blake2b(digest_size=8)
    for file in sorted(Path(engine.domain.__path__[0]).glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _key(slot: int, part: str) -> bytes:
    return f"{slot}/{part}".encode()


async def write_snapshot(producer: Any, settings: Settings, shard: int, slot: int, position: Position, chunks: Iterable[bytes]) -> None:
    """Append chunks and then the manifest to `slot` (0 or 1), every ack awaited; other tasks go on in between."""
    topic = settings.topic(SNAPSHOTS)
    digest, count, first = blake2b(digest_size=16), 0, -1
    for chunk in chunks:
        assert len(chunk) <= MAX_CHUNK_BYTES
        metadata = await producer.send_and_wait(topic, chunk, key=_key(slot, str(count)), partition=shard)
        first = metadata.offset if count == 0 else first
        digest.update(chunk)
        count += 1
    manifest = Manifest(
        slot=slot, chunks=count, first_offset=first, digest=digest.hexdigest(), fold_version=fold_version(), position=position
    )
    await producer.send_and_wait(topic, msgspec.json.encode(manifest), key=_key(slot, "manifest"), partition=shard)


async def newest_snapshot(consumer: AIOKafkaConsumer, settings: Settings, shard: int) -> tuple[Snapshot | None, int]:
    """The newest whole snapshot that this code can read, if any, and the slot that the next one goes to."""
    topic = settings.topic(SNAPSHOTS)
    first, end = await bounds(consumer, topic, shard)
    next_slot = 0
    seen: int | None = None
    async for manifest in _manifests(consumer, topic, shard, first, end):
        if seen is None:
            seen, next_slot = manifest.slot, 1 - manifest.slot
        if manifest.fold_version != fold_version():
            continue
        chunks = await _chunks(consumer, topic, shard, manifest, end)
        if chunks is not None:
            return Snapshot(manifest.position, chunks), next_slot
    return None, next_slot


async def _manifests(consumer: AIOKafkaConsumer, topic: str, shard: int, first: int, end: int) -> AsyncIterator[Manifest]:
    """All manifests, newest first, found from the end backwards: old snapshots are not read."""
    look, stop = FIRST_LOOK, end
    while stop > first:
        start = max(first, stop - look)
        found: list[Manifest] = []
        async for records in read_range(consumer, topic, shard, start, stop, gaps=True):
            found += [msgspec.json.decode(r.value, type=Manifest) for r in records if r.value and r.key and r.key.endswith(b"/manifest")]
        for manifest in reversed(found):
            yield manifest
        stop, look = start, look * 8


async def _chunks(consumer: AIOKafkaConsumer, topic: str, shard: int, manifest: Manifest, end: int) -> list[bytes] | None:
    """The chunks that a manifest names, or None if they are not all there."""
    wanted = {_key(manifest.slot, str(number)): number for number in range(manifest.chunks)}
    chunks: dict[int, bytes] = {}
    if manifest.chunks:
        async for records in read_range(consumer, topic, shard, manifest.first_offset, end, gaps=True):
            _collect(records, wanted, chunks)
            if len(chunks) == manifest.chunks:
                break
    ordered = [chunks[number] for number in sorted(chunks)]
    whole = len(ordered) == manifest.chunks and blake2b(b"".join(ordered), digest_size=16).hexdigest() == manifest.digest
    return ordered if whole else None


def _collect(records: Iterable[Any], wanted: dict[bytes, int], chunks: dict[int, bytes]) -> None:
    for record in records:
        number = wanted.get(record.key)
        if number is not None and record.value is not None:
            chunks.setdefault(number, record.value)
