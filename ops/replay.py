"""What `remora replay` and `remora verify` do: fold the log again, and hold every way of getting the state against the others.

Enters: settings, a shard or all of them, a point to stop at. Leaves: dataclasses for the CLI to print. Reads only: the import
rule of `engine.log.replay` holds here too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from engine.config import Settings
from engine.domain.shard import state_digest
from engine.errors import ConfigInvalid
from engine.log.consume import end_of, open_consumer
from engine.log.reader import AcceptedRound
from engine.log.replay import Beyond, Loaded, Redecided, decide_again, fold_log
from engine.log.topics import PARTITIONS, topic_faults
from engine.topology import EVENTS, INBOX, SNAPSHOTS


@dataclass(frozen=True)
class ShardReplay:
    """A shard folded from zero: up to where, to what, and how long it took."""

    shard: int
    rounds: int
    events: int
    void_events: int
    next_offset: int
    epoch: int
    inbox_position: int
    now: int
    digest: str
    state_digest: str
    seconds: float


@dataclass(frozen=True)
class ShardVerified:
    """A shard's state and decisions, got in every way there is. `live_digest` is the newest marker's."""

    shard: int
    rounds: int
    events: int
    live_digest: str
    zero_digest: str
    snapshot_digest: str
    zero_state: str
    snapshot_state: str
    snapshot_events: int
    """Events that the snapshot stands for; 0: there is none."""
    redecided_rounds: int
    redecided_events: int
    skipped_rounds: int
    difference: str

    @property
    def ok(self) -> bool:
        """Whether all ways agree."""
        digests = {self.live_digest, self.zero_digest, self.snapshot_digest}
        return len(digests) == 1 and self.zero_state == self.snapshot_state and not self.difference


def parse_until(text: str) -> Beyond:
    """A point to stop at: an offset of the events (`120000`), or a time (`2026-11-24T06:00:00Z`) of the shard's own clock."""
    if text.isdecimal():
        offset = int(text)
        return lambda accepted: accepted.marker_offset >= offset
    try:
        at_ms = datetime.fromisoformat(text).timestamp() * 1000
    except ValueError:
        raise ConfigInvalid(f"--until takes an offset or an ISO time, not {text!r}.") from None
    return lambda accepted: accepted.marker.now > at_ms


def _shards(settings: Settings, shard: int | None) -> list[int]:
    if shard is None:
        return list(range(settings.partitions))
    if not 0 <= shard < settings.partitions:
        raise ConfigInvalid(f"There is no shard {shard}: there are {settings.partitions}, from 0.")
    return [shard]


async def _check_topics(settings: Settings) -> None:
    """Another number of shards is another system: folding some of them, or deciding as if there were more, would prove nothing."""
    read = {settings.topic(topic) for topic in (EVENTS, INBOX, SNAPSHOTS)}
    for fault in await topic_faults(settings):
        if fault.topic in read and fault.setting == PARTITIONS:
            found = (
                "it does not exist" if fault.actual is None else f"{PARTITIONS} is {fault.actual}, expected {fault.expected}{fault.hint}"
            )
            raise ConfigInvalid(f"Topic {fault.topic}: {found}.")


async def replay(settings: Settings, shard: int | None = None, until: str | None = None) -> list[ShardReplay]:
    """Fold one shard or all from zero, up to `until`. Deletes, writes and asks nothing."""
    beyond, shards = parse_until(until) if until else None, _shards(settings, shard)
    await _check_topics(settings)
    return [await _replay_one(settings, number, beyond) for number in shards]


async def _replay_one(settings: Settings, shard: int, beyond: Beyond | None) -> ShardReplay:
    started = time.monotonic()
    async with open_consumer(settings) as consumer:
        end = await end_of(consumer, settings.topic(EVENTS), shard)
        loaded = await fold_log(consumer, settings, shard, end, from_zero=True, beyond=beyond)
    seconds = time.monotonic() - started
    return ShardReplay(
        shard=shard,
        rounds=loaded.rounds,
        events=loaded.events,
        void_events=loaded.void_events,
        next_offset=loaded.position.next_offset,
        epoch=loaded.position.epoch,
        inbox_position=loaded.position.inbox_position,
        now=loaded.state.now,
        digest=loaded.position.digest,
        state_digest=state_digest(loaded.state),
        seconds=round(seconds, 3),
    )


async def verify(settings: Settings, shard: int | None = None) -> list[ShardVerified]:
    """Fold from zero, fold from the snapshot, take the live digest, decide again: all must agree (`ShardVerified.ok`)."""
    shards = _shards(settings, shard)
    await _check_topics(settings)
    return [await _verify_one(settings, number) for number in shards]


async def _verify_one(settings: Settings, shard: int) -> ShardVerified:
    newest: list[AcceptedRound] = []

    def note(accepted: AcceptedRound) -> bool:
        newest[:] = [accepted]
        return False

    async with open_consumer(settings) as consumer:
        end = await end_of(consumer, settings.topic(EVENTS), shard)
        zero = await fold_log(consumer, settings, shard, end, from_zero=True, beyond=note)
        quick = await fold_log(consumer, settings, shard, zero.position.next_offset)
    live = newest[0].marker.digest if newest else zero.position.digest
    return _verified(shard, zero, quick, live, await decide_again(settings, shard))


def _verified(shard: int, zero: Loaded, quick: Loaded, live: str, again: Redecided) -> ShardVerified:
    return ShardVerified(
        shard=shard,
        rounds=zero.rounds,
        events=zero.events,
        live_digest=live,
        zero_digest=zero.position.digest,
        snapshot_digest=quick.position.digest,
        zero_state=state_digest(zero.state),
        snapshot_state=state_digest(quick.state),
        snapshot_events=quick.snapshot_id - 1,
        redecided_rounds=again.rounds,
        redecided_events=again.events,
        skipped_rounds=again.skipped,
        difference=again.difference,
    )
