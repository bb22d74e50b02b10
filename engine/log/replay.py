"""Replay: accepted rounds enter, the state they give leaves; and deciding again over what the rounds decided on.

Opens no producer and knows no exchange (an import rule holds it to that). Reads in slices that yield to the event loop:
loading one shard blocks neither another nor a group membership.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from engine.config import Settings
from engine.domain.replay import Folding
from engine.domain.shard import decide, fold_marker, new_state, restore_state
from engine.domain.state import ShardState
from engine.errors import LogCorrupt
from engine.log.codec import ROUND_KEY, decode_inbox, decode_marker, decode_to_fold, encode
from engine.log.consume import bounds, end_of, open_consumer, read_range
from engine.log.fetch import fetch_range
from engine.log.reader import AcceptedRound, Position, RoundReader, behind
from engine.log.snapshots import newest_snapshot
from engine.topology import EVENTS, INBOX

Beyond = Callable[[AcceptedRound], bool]
"""Whether a round lies behind the point that a replay stops at."""


@dataclass(slots=True)
class Loaded:
    """A shard as its log says. `snapshot_id`: next notification id at the snapshot; the counts are of what was read behind it.

    `inbox_end`: where the inbox ended when it was loaded; what lies before it and was not decided is the backlog.
    """

    state: ShardState
    position: Position
    next_slot: int
    snapshot_id: int
    inbox_end: int = 0
    rounds: int = 0
    events: int = 0
    void_events: int = 0


async def fold_log(
    consumer: AIOKafkaConsumer, settings: Settings, shard: int, stop: int, *, from_zero: bool = False, beyond: Beyond | None = None
) -> Loaded:
    """State and position from the accepted rounds before offset `stop`, from the newest snapshot that fits the log."""
    loaded = Loaded(new_state(shard, settings.partitions), Position(), 0, 1)
    if not from_zero:
        snapshot, loaded.next_slot = await newest_snapshot(consumer, settings, shard)
        if snapshot is not None and await _fits(consumer, settings, shard, snapshot.position, stop):
            loaded.state, loaded.position = restore_state(snapshot.chunks), snapshot.position
            loaded.snapshot_id = snapshot.position.next_id
    reader, folding = RoundReader(shard, loaded.position), Folding(loaded.state, decode_to_fold)
    async for records in fetch_range(consumer, settings.topic(EVENTS), shard, reader.next_offset, stop):
        for accepted in reader.feed(records):
            if beyond is not None and beyond(accepted):
                folding.finish()
                return loaded
            folding.fold(accepted.events)
            fold_marker(loaded.state, accepted.marker)
            loaded.position = behind(accepted.marker, accepted.marker_offset)
            loaded.rounds, loaded.events = loaded.rounds + 1, loaded.events + len(accepted.events)
        loaded.void_events = reader.void_events
        await asyncio.sleep(0)
    folding.finish()
    return loaded


async def _fits(consumer: AIOKafkaConsumer, settings: Settings, shard: int, position: Position, stop: int) -> bool:
    """Whether the log has the marker that the snapshot stands behind (it has not if the log was made anew)."""
    at = position.next_offset - 1
    if not 0 <= at < stop:
        return False
    async for records in read_range(consumer, settings.topic(EVENTS), shard, at, at + 1):
        record = records[0]
        return record.key == ROUND_KEY and record.value is not None and decode_marker(record.value).digest == position.digest
    return False


async def check_inbox(consumer: AIOKafkaConsumer, settings: Settings, shard: int, position: int) -> int:
    """Refuse to go on where the inbox does not reach back to, or not up to; gives the inbox's end."""
    first, end = await bounds(consumer, settings.topic(INBOX), shard)
    if not first <= position <= end:
        held = f"{settings.topic(INBOX)} holds {first} to {end}"
        raise LogCorrupt(f"shard {shard} goes on at inbox offset {position}, but {held}: the records between are lost")
    return end


@dataclass(slots=True)
class Redecided:
    """How deciding again over the recorded rounds went. `skipped` rounds lie before the inbox's first record."""

    rounds: int = 0
    skipped: int = 0
    events: int = 0
    difference: str = ""


async def decide_again(settings: Settings, shard: int) -> Redecided:
    """Decide each accepted round again from its inbox records and hold the bytes against the log; stops at the first difference."""
    result = Redecided()
    state = new_state(shard, settings.partitions)
    async with open_consumer(settings) as events, open_consumer(settings) as inbox:
        # The rounds' end before the inbox's: every round that is read then finds its records.
        stop = await end_of(events, settings.topic(EVENTS), shard)
        first, end = await bounds(inbox, settings.topic(INBOX), shard)
        records: AsyncIterator[tuple[int, bytes, int]] | None = None
        async for accepted in _accepted(events, settings, shard, stop):
            if accepted.marker.inbox_from < first:
                _fold_round(state, accepted)
                result.skipped += 1
                continue
            if accepted.marker.inbox_to > end:
                raise LogCorrupt(f"shard {shard} has decided up to inbox offset {accepted.marker.inbox_to}, but the inbox ends at {end}")
            records = records or _inbox(inbox, settings, shard, accepted.marker.inbox_from, end)
            decided = await _decide_round(state, records, accepted)
            recorded = [value for _, _, value, _ in accepted.events]
            if decided != recorded:
                result.difference = _first_difference(accepted, decided, recorded)
                return result
            fold_marker(state, accepted.marker)
            result.rounds, result.events = result.rounds + 1, result.events + len(recorded)
    return result


def _fold_round(state: ShardState, accepted: AcceptedRound) -> None:
    folding = Folding(state, decode_to_fold)
    folding.fold(accepted.events)
    folding.finish()
    fold_marker(state, accepted.marker)


async def _accepted(consumer: AIOKafkaConsumer, settings: Settings, shard: int, stop: int) -> AsyncIterator[AcceptedRound]:
    reader = RoundReader(shard)
    async for batch in fetch_range(consumer, settings.topic(EVENTS), shard, 0, stop):
        for accepted in reader.feed(batch):
            yield accepted


async def _inbox(consumer: AIOKafkaConsumer, settings: Settings, shard: int, start: int, end: int) -> AsyncIterator[tuple[int, bytes, int]]:
    async for batch in read_range(consumer, settings.topic(INBOX), shard, start, end):
        for record in batch:
            assert record.value is not None
            yield record.offset, record.value, record.timestamp


async def _decide_round(state: ShardState, records: AsyncIterator[tuple[int, bytes, int]], accepted: AcceptedRound) -> list[bytes]:
    decided: list[bytes] = []
    for _ in range(accepted.marker.inbox_to - accepted.marker.inbox_from):
        _, value, append_ms = await anext(records)
        decided += [encode(event) for event in decide(state, decode_inbox(value), append_ms)]
    return decided


def _first_difference(accepted: AcceptedRound, decided: list[bytes], recorded: list[bytes]) -> str:
    where = f"round at offset {accepted.marker_offset}"
    for number, (again, before) in enumerate(zip(decided, recorded, strict=False)):
        if again != before:
            return f"{where}, event {number}: {again.decode()} now, {before.decode()} recorded"
    return f"{where}: {len(decided)} events now, {len(recorded)} recorded"
