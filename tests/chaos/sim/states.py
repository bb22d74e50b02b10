"""States: live, folded from zero, folded from a snapshot, restored, decided again. All must be one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.domain.messages import InboxRecord
from engine.domain.shard import decide, dump_state, fold_marker, new_state, restore_state, state_digest
from engine.domain.state import ShardState
from engine.topology import INBOX
from tests.chaos.sim.log import Record
from tests.chaos.sim.observer import Observer, Shard
from tests.chaos.sim.world import SHARDS, World

_inbox = msgspec.json.Decoder(InboxRecord)
_encode = msgspec.json.Encoder().encode


def check_states(world: World, observer: Observer) -> Iterator[str]:
    """All shards."""
    for shard in observer.shards:
        inbox = world.broker.at((INBOX.name, shard.number)).records
        digest = state_digest(shard.state)
        yield from _decided_again(shard, inbox, digest)
        yield from _loaded(world, shard, digest)
        yield from _live(world, shard, inbox)


def _decided_again(shard: Shard, inbox: list[Record], digest: str) -> Iterator[str]:
    """The recorded rounds, decided again, are the recorded bytes."""
    state = new_state(shard.number, SHARDS)
    for found in shard.rounds:
        again: list[bytes] = []
        for record in inbox[found.marker.inbox_from : found.marker.inbox_to]:
            again += [_encode(event) for event in decide(state, _inbox.decode(record.value or b""), record.timestamp)]
        if again != found.values:
            yield f"shard {shard.number}: the round at {found.offset} is decided differently: {found.values} and then {again}"
            return
        fold_marker(state, found.marker)
    if state_digest(state) != digest:
        yield f"shard {shard.number}: decided again, the state differs from the folded one"


def _loaded(world: World, shard: Shard, digest: str) -> Iterator[str]:
    """The real loader, with and without snapshots, comes to the naive reader's state."""
    for loaded in world.loaded[shard.number]:
        if state_digest(loaded.state) != digest or loaded.position.inbox_position != shard.inbox:
            yield f"shard {shard.number}: loaded with {loaded.events} events replayed, the state differs from the folded one"


def _live(world: World, shard: Shard, inbox: list[Record]) -> Iterator[str]:
    """The owner's memory is what the log says, and what has led to nothing since."""
    owners = [
        owned
        for process, engine in world.engines.items()
        if process.alive and (owned := engine.shards.get(shard.number)) is not None and owned.writer.epoch == shard.epoch
    ]
    if len(owners) != 1:
        yield f"shard {shard.number} has {len(owners)} owners"
        return
    copy: ShardState = restore_state(dump_state(shard.state))
    for record in inbox[shard.inbox : owners[0].next_inbox]:
        if events := decide(copy, _inbox.decode(record.value or b""), record.timestamp):
            yield f"shard {shard.number}: not in the log: {events}"
    if state_digest(owners[0].state) != state_digest(copy):
        yield f"shard {shard.number}: the live state differs from the folded one"
