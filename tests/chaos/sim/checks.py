"""The checker: everything that is in the log and at the venues when the world has come to rest enters, broken promises leave.

It reads what processes wrote, never what they remember; only the live states are compared with the log's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from aiokafka.errors import KafkaError

from engine.domain.events import (
    CopiesSkipped,
    CopyDecided,
    CopySkipped,
    DriftDetected,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
    WhaleFollowed,
    WhaleUnfollowed,
)
from engine.errors import DependencyUnreachable, FencedOut
from engine.topology import DEAD, REJECTED, SIGNALS
from tests.chaos.sim.groups import Replaced
from tests.chaos.sim.observer import UNREADABLE, Observer, Shard
from tests.chaos.sim.orders import check_orders
from tests.chaos.sim.states import check_states
from tests.chaos.sim.workload import Workload
from tests.chaos.sim.world import SIGNAL_PARTITIONS, World


def check(world: World, workload: Workload, observer: Observer) -> list[str]:
    """All problems of one world."""
    problems = [*ends(world), *world.loop.failures]
    # A load that was given up with its shard may have failed: nobody waits for it any more.
    problems += [f"nobody looked at {error!r}" for error in world.loop.unseen() if not isinstance(error, FencedOut)]
    problems += [problem for shard in observer.shards for problem in shard.problems]
    if problems:
        return problems
    for shard in observer.shards:
        problems += [*_versions(shard), *_signals(shard, workload), *_answers(shard), *_drifts(shard)]
    problems += [*_rejections(world)]
    return problems or [*check_orders(world, observer), *check_states(world, observer)]


def ends(world: World) -> Iterator[str]:
    """Processes end because they were killed, or because they could not know whether they were alone; for nothing else."""
    for death in world.deaths:
        error = death.error
        if isinstance(error, FencedOut | Replaced) and len(world.contexts) + death.blind > 1:
            continue
        if isinstance(error, DependencyUnreachable | KafkaError) and death.blind:
            continue
        if error is not None:
            yield f"{death.process} died at {death.at:.3f} s: {error!r}"


def _versions(shard: Shard) -> Iterator[str]:
    """Versions of each originator and numbers of all events, without a gap."""
    versions: Counter[str] = Counter()
    number = 1
    for found in shard.rounds:
        if found.marker.first_id != number:
            yield f"shard {shard.number}: event ids go on at {found.marker.first_id}, not {number}"
        number += len(found.events)
        for event in found.events:
            versions[event.originator_id] += 1
            if event.originator_version != versions[event.originator_id]:
                yield f"{event.originator_id}: version {event.originator_version} where {versions[event.originator_id]} is due"


def _signals(shard: Shard, workload: Workload) -> Iterator[str]:
    """Every signal is admitted once and decided once."""
    admitted: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for found in shard.rounds:
        for event in found.events:
            if isinstance(event, SignalAdmitted):
                admitted[event.signal.signal_id] += 1
            elif isinstance(event, SignalDecided | SignalExpired):
                ended[event.signal_id] += 1
    for name, counts in (("admitted", admitted), ("decided", ended)):
        for signal_id in workload.signals:
            if counts[signal_id] != 1:
                yield f"shard {shard.number}: {signal_id} was {name} {counts[signal_id]} times"
        for signal_id in counts.keys() - set(workload.signals):
            yield f"shard {shard.number}: {signal_id} was {name} and never published"


def _answers(shard: Shard) -> Iterator[str]:
    """Every follower of the whale answers each signal exactly once."""
    following: dict[str, set[str]] = {}
    answers: Counter[tuple[str, str]] = Counter()
    whale_of: dict[str, tuple[str, bool]] = {}
    for event in (event for found in shard.rounds for event in found.events):
        match event:
            case WhaleFollowed():
                following.setdefault(event.whale_id, set()).add(event.originator_id)
            case WhaleUnfollowed():
                following[event.whale_id].discard(event.originator_id)
            case SignalAdmitted(signal=signal):
                whale_of[signal.signal_id] = signal.whale_id, signal.action in ("open", "increase")
            case CopyDecided() | CopySkipped():
                answers[event.signal_id, event.originator_id] += 1
            case CopiesSkipped():
                answers.update((event.signal_id, follower) for follower, _ in event.followers)
            case SignalDecided() | SignalExpired():
                whale, opens = whale_of[event.signal_id]
                due, given = following.get(whale, set()), {who for (what, who) in answers if what == event.signal_id}
                if due - given or (opens and given - due):
                    yield f"shard {shard.number}: {event.signal_id} was due by {sorted(due)}, answered by {sorted(given)}"
                if isinstance(event, SignalDecided) and event.followers != len(given):
                    yield f"shard {shard.number}: {event.signal_id} counts {event.followers} followers, {len(given)} answered"
    yield from (f"{who} answered {what} {count} times" for (what, who), count in answers.items() if count > 1)


def _drifts(shard: Shard) -> Iterator[str]:
    """Nobody trades by hand in here, so nothing is unexplained."""
    for event in (event for found in shard.rounds for event in found.events):
        if isinstance(event, DriftDetected):
            yield f"unexplained: {event}"


def _rejections(world: World) -> Iterator[str]:
    """What nobody could read is answered, and nothing else is."""
    for topic in DEAD.values():
        if records := world.broker.at((topic.name, 0)).records:
            yield f"{topic.name}: {records[0].value!r}"
    garbage = {
        (number, record.offset)
        for number in range(SIGNAL_PARTITIONS)
        for record in world.broker.at((SIGNALS.name, number)).records
        if record.value == UNREADABLE
    }
    answers = [json.loads(record.value or b"") for record in world.broker.at((REJECTED.name, 0)).records]
    if {(answer["partition"], answer["offset"]) for answer in answers} != garbage:
        yield f"unreadable records {sorted(garbage)} were answered by {answers}"
