"""What sequencer and engine count. Batches and rounds are counted as a whole; per event there is one look at its type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from aiokafka.errors import KafkaError
from faust.types import TP

from engine.agents.app import LogApp
from engine.domain.events import AnyEvent, CopiesSkipped, CopyDecided, CopySkipped, RoundCommitted, SignalExpired, WhaleGapDetected
from engine.domain.state import ShardState
from engine.domain.values import PRIORITY_RANK
from engine.meters import COUNTS, Meters, Sample

SEQUENCER: Final = Meters("sequencer")
GATHERED: Final = SEQUENCER.counter("remora_records_in_total", "Records of the sources that were sequenced.", "topic")
REFUSED: Final = SEQUENCER.counter("remora_unreadable_total", "Records that do not follow their contract, and were answered.", "topic")
SEQUENCED: Final = SEQUENCER.counter("remora_inbox_records_total", "Records appended to the inbox; one for all shards counts once.")
BATCH_RECORDS: Final = SEQUENCER.histogram("remora_batch_records", "Records that were appended at once.", buckets=COUNTS)
BATCH_SECONDS: Final = SEQUENCER.histogram("remora_batch_seconds", "Time from routing a batch until all its acks.")
PLACED: Final = SEQUENCER.counter("remora_assignments_total", "Times that sources were assigned and read from where the log says.")
WAITING: Final = SEQUENCER.gauge("remora_waiting_records", "Records read and not yet appended.")
WAITING_SECONDS: Final = SEQUENCER.gauge("remora_waiting_oldest_seconds", "Age of the oldest record read and not yet appended.")
SOURCES: Final = SEQUENCER.gauge("remora_sources_owned", "Source partitions that this process reads.")
SOURCE_LAG: Final = SEQUENCER.gauge("remora_source_lag_records", "Records of a source that are not read yet.", "topic")

ENGINE: Final = Meters("engine")
DECIDED: Final = ENGINE.counter("remora_records_in_total", "Inbox records that were decided.")
EVENTS: Final = ENGINE.counter("remora_events_written_total", "Events of accepted rounds.")
COMMANDS: Final = ENGINE.counter("remora_commands_sent_total", "Commands handed to the executor's log, again after a claim included.")
DECISIONS: Final = ENGINE.counter(
    "remora_decisions_total", "Decisions by outcome: copied, reduced, skipped, with the reason of a skip.", "outcome", "reason"
)
EXPIRED: Final = ENGINE.counter("remora_signals_expired_total", "Signals that expired, counted by every shard.")
GAPS: Final = ENGINE.counter("remora_gaps_total", "Breaks in whales' positions, counted by every shard.")
ROUND_RECORDS: Final = ENGINE.histogram("remora_round_records", "Inbox records of a round.", buckets=COUNTS)
ROUND_EVENTS: Final = ENGINE.histogram("remora_round_events", "Events of a round.", buckets=COUNTS)
ROUND_SECONDS: Final = ENGINE.histogram("remora_round_seconds", "Time of a round from its first record until its marker's ack.")
WRITE_SECONDS: Final = ENGINE.histogram("remora_round_write_seconds", "The part of a round from its first write until its marker's ack.")
CLAIMS: Final = ENGINE.counter("remora_claims_total", "Shards claimed.")
LOAD_SECONDS: Final = ENGINE.histogram("remora_load_seconds", "Time from a claim until the shard's state was loaded.")
SNAPSHOTS: Final = ENGINE.counter("remora_snapshots_total", "Snapshots written.")
SHARDS: Final = ENGINE.gauge("remora_shards_owned", "Shards that this process has claimed and loaded.")
QUEUED: Final = ENGINE.gauge("remora_queue_records", "Inbox records that were read and are not decided.", "shard")
LAG: Final = ENGINE.gauge("remora_lag_records", "Inbox records that are not decided.", "shard")
LAG_SECONDS: Final = ENGINE.gauge("remora_lag_seconds", "Age of the oldest inbox record that was read and is not decided.", "shard")
OUTBOX: Final = ENGINE.gauge("remora_outbox_commands", "Commands of accepted rounds that are not sent yet.", "shard")
HELD: Final = ENGINE.gauge("remora_held_signals", "Signals that a gate holds back.", "shard", "gate")
GATE_PAUSED: Final = ENGINE.gauge("remora_gate_paused", "1 while opens are paused.", "shard")
GATE_PRIORITY: Final = ENGINE.gauge("remora_gate_min_priority", "Lowest priority that passes: 0 high, 1 medium, 2 low.", "shard")
SWITCHES: Final = ENGINE.gauge("remora_switches", "Switches that are set, by scope and state.", "shard", "scope", "state")
FOLLOWERS: Final = ENGINE.gauge("remora_followers", "Followers of a shard.", "shard")
SINCE_SNAPSHOT: Final = ENGINE.gauge("remora_events_since_snapshot", "Accepted events since the newest snapshot.", "shard")
VERSION: Final = ENGINE.gauge("remora_logic_version", "Version of the logic that decides.", "shard")


def count_batch(records: Counter[str], appended: int, seconds: float) -> None:
    """A batch is in the inbox; `records` of it by topic."""
    for topic, count in records.items():
        GATHERED.labels(topic).inc(count)
    SEQUENCED.inc(appended)
    BATCH_RECORDS.observe(appended)
    BATCH_SECONDS.observe(seconds)


def count_decisions(events: Sequence[AnyEvent]) -> None:
    """What a record led to. Most events of a busy round are copies: they come first, and cost one look."""
    copied = reduced = 0
    for event in events:
        if type(event) is CopyDecided:
            if event.outcome == "copied":
                copied += 1
            else:
                reduced += 1
        elif type(event) in _COUNTED:
            _count_rare(event)
    if copied:
        DECISIONS.labels("copied", "").inc(copied)
    if reduced:
        DECISIONS.labels("reduced", "").inc(reduced)


_COUNTED: Final = frozenset({CopiesSkipped, CopySkipped, SignalExpired, WhaleGapDetected})


def _count_rare(event: AnyEvent) -> None:
    match event:
        case CopiesSkipped():
            DECISIONS.labels("skipped", event.reason).inc(len(event.followers))
        case CopySkipped():
            DECISIONS.labels("skipped", event.reason).inc()
        case SignalExpired():
            EXPIRED.inc()
        case _:
            GAPS.inc()


def count_round(marker: RoundCommitted, seconds: float, write_seconds: float) -> None:
    """A round is accepted."""
    EVENTS.inc(marker.events)
    ROUND_EVENTS.observe(marker.events)
    ROUND_RECORDS.observe(marker.inbox_to - marker.inbox_from)
    ROUND_SECONDS.observe(seconds)
    WRITE_SECONDS.observe(write_seconds)


def shard_samples(state: ShardState) -> Iterator[Sample]:
    """What a shard's state says of the queue, the gate and the switches."""
    shard = str(state.shard)
    for gate, count in Counter(held.gate for held in state.held.values()).items():
        yield HELD, (shard, gate), count
    yield GATE_PAUSED, (shard,), float(state.gate.paused)
    yield GATE_PRIORITY, (shard,), PRIORITY_RANK[state.gate.min_priority]
    for (scope, value), count in Counter((key.partition("|")[0], value) for key, value in state.switches.items()).items():
        yield SWITCHES, (shard, scope, value), count
    yield FOLLOWERS, (shard,), len(state.followers)
    yield OUTBOX, (shard,), len(state.outbox)
    yield VERSION, (shard,), state.logic_version


def behind(app: LogApp, tp: TP, next_offset: int) -> int | None:
    """Records of a partition from an offset on, as the newest fetch told; None before the first."""
    try:
        end: int | None = app.consumer.highwater(tp)
    except KafkaError:
        return None
    return None if end is None else max(end - next_offset, 0)
