"""Loading a shard: the claim, then the newest snapshot, then the log up to the claim.

Enters: a writer that has not claimed yet. Leaves: the state that all accepted events give, and the position to go on from.
Reads in slices that yield to the event loop: loading one shard blocks neither another nor the group membership.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from engine.config import Settings
from engine.domain.shard import evolve, fold_marker, new_state, restore_state
from engine.domain.state import ShardState
from engine.errors import LogCorrupt
from engine.log.codec import ROUND_KEY, decode_event, decode_marker
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.reader import AcceptedRound, Position, RoundReader
from engine.log.snapshots import newest_snapshot
from engine.log.writer import ShardWriter
from engine.topology import EVENTS, INBOX


@dataclass(slots=True)
class Loaded:
    """A shard as its log says. `snapshot_id`: next notification id at the snapshot; `replayed`: events folded behind it."""

    state: ShardState
    position: Position
    next_slot: int
    snapshot_id: int
    replayed: int


async def load_shard(settings: Settings, writer: ShardWriter, owner: str) -> Loaded:
    """Claim and load; the writer may write from then on."""
    epoch = await writer.claim(owner)
    async with open_consumer(settings) as consumer:
        loaded = await fold_log(consumer, settings, writer.shard, epoch + 1)
        await _check_inbox(consumer, settings, writer.shard, loaded.position.inbox_position)
    return loaded


async def fold_log(consumer: AIOKafkaConsumer, settings: Settings, shard: int, stop: int, *, from_zero: bool = False) -> Loaded:
    """State and position from the accepted rounds before offset `stop`, from the newest snapshot that fits the log."""
    state, position, slot = new_state(shard, settings.partitions), Position(), 0
    if not from_zero:
        snapshot, slot = await newest_snapshot(consumer, settings, shard)
        if snapshot is not None and await _fits(consumer, settings, shard, snapshot.position, stop):
            state, position = restore_state(snapshot.chunks), snapshot.position
    reader = RoundReader(shard, position)
    async for records in read_range(consumer, settings.topic(EVENTS), shard, position.next_offset, stop):
        for accepted in reader.feed(records):
            fold_round(state, accepted)
        await asyncio.sleep(0)
    return Loaded(state, reader.position, slot, position.next_id, reader.position.next_id - position.next_id)


def fold_round(state: ShardState, accepted: AcceptedRound) -> None:
    """Fold an accepted round."""
    for _, _, value, _ in accepted.events:
        evolve(state, decode_event(value))
    fold_marker(state, accepted.marker)


async def _fits(consumer: AIOKafkaConsumer, settings: Settings, shard: int, position: Position, stop: int) -> bool:
    """Whether the log has the marker that the snapshot stands behind (it has not if the log was made anew)."""
    at = position.next_offset - 1
    if not 0 <= at < stop:
        return False
    async for records in read_range(consumer, settings.topic(EVENTS), shard, at, at + 1):
        record = records[0]
        return record.key == ROUND_KEY and record.value is not None and decode_marker(record.value).digest == position.digest
    return False


async def _check_inbox(consumer: AIOKafkaConsumer, settings: Settings, shard: int, position: int) -> None:
    first, end = await bounds(consumer, settings.topic(INBOX), shard)
    if not first <= position <= end:
        held = f"{settings.topic(INBOX)} holds {first} to {end}"
        raise LogCorrupt(f"shard {shard} goes on at inbox offset {position}, but {held}: the records between are lost")
