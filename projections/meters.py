"""What the projector counts: events and transactions, what it had to leave out, and how far each partition is behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from engine.meters import COUNTS, Meters, Sample
from projections.lanes import EventLane

PROJECTOR: Final = Meters("projector")
EVENTS: Final = PROJECTOR.counter("remora_events_projected_total", "Events that are in the tables, committed.")
BATCH_EVENTS: Final = PROJECTOR.histogram("remora_batch_events", "Events of one transaction.", buckets=COUNTS)
BATCH_SECONDS: Final = PROJECTOR.histogram("remora_batch_seconds", "Time of one transaction.")
POISON: Final = PROJECTOR.counter(
    "remora_poison_records_total", "Records that could not be projected and went to the dead letters.", "topic"
)
SESSIONS: Final = PROJECTOR.counter("remora_sessions_total", "Times that projecting began: more than one means that a server went away.")
PARTITIONS: Final = PROJECTOR.gauge("remora_shards_owned", "Partitions that this process projects.")
LAG: Final = PROJECTOR.gauge("remora_projection_lag_records", "Records of a partition that are not in the tables.", "partition")
LAG_SECONDS: Final = PROJECTOR.gauge("remora_projection_lag_seconds", "Age of the oldest record that is not in the tables.", "partition")
VOID_ROUNDS: Final = PROJECTOR.seen(
    "counter", "remora_void_rounds_total", "Rounds that do not count: a writer that was fenced out wrote them.", "partition"
)
VOID_EVENTS: Final = PROJECTOR.seen("counter", "remora_void_events_total", "Events that do not count: torn rounds, zombies.", "partition")
EPOCH: Final = PROJECTOR.gauge(
    "remora_epoch", "Offset of the newest claim of a shard: it changes when the shard's writer does.", "partition"
)


def lane_samples(lanes: Iterable[EventLane], ends: dict[int, int]) -> Iterator[Sample]:
    """How far each partition is, against the end that was last told."""
    for lane in lanes:
        partition, end = (str(lane.partition),), ends.get(lane.partition)
        yield VOID_ROUNDS, partition, lane.void_rounds
        yield VOID_EVENTS, partition, lane.void_events
        yield EPOCH, partition, lane.epoch
        if end is not None:
            yield LAG, partition, max(end - lane.position.next_offset, 0)
            yield LAG_SECONDS, partition, lane.lag_s(end)
