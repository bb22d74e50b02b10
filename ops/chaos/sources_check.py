"""From the public topics to the inbox: every record that concerns a shard is there, once in effect, in order, and unchanged.

Enters: a history. Leaves: findings. A repeat in the inbox is legal (a restarted sequencer appends again what may not have been seen) as
long as it says the same; what first appears behind a later record of its source is lost, since the shard drops it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from engine.agents.seq_route import Refused, Routed, Router, Source
from engine.contracts.check import RawRecord
from engine.domain.messages import InboxRecord, ReleaseSignals, SourcePosition
from engine.log.codec import decode_inbox
from engine.log.inbox import ALL_SHARDS
from engine.log.publish import Published
from engine.topology import INBOX, SIGNALS, SOURCES
from ops.chaos.history import Findings, History, Line

Place = tuple[str, int, int]
"""Source code, partition, offset."""
NOT_COMPARED: Final = (ReleaseSignals,)
"""A release is appended with the names that its answer got, which is another record."""


def check_acked(history: History, acked: Iterable[tuple[Published, str]], found: Findings) -> None:
    """What the broker acked is still there."""
    lines = history.of(SIGNALS)
    for where, signal_id in acked:
        kept = lines[where.partition]
        if where.offset >= len(kept) or signal_id.encode() not in (kept[where.offset].value or b""):
            found.add("lost", f"signal {signal_id} was acked at {where.partition}/{where.offset} and is not there")


def check_sources(history: History, found: Findings) -> None:
    """Hold every inbox against what the sources say should be in it."""
    wanted = _wanted(history, found)
    for shard, lines in history.of(INBOX).items():
        _check_inbox(shard, lines, wanted[shard], found)


def _wanted(history: History, found: Findings) -> dict[int, dict[Place, Routed]]:
    router, shards = Router(history.settings), range(history.settings.partitions)
    wanted: dict[int, dict[Place, Routed]] = {shard: {} for shard in shards}
    for source in _all_sources(history):
        routed = router.route(source)
        if isinstance(routed, Refused):
            found.add("unexplained", f"{source.topic.name}[{source.partition}]@{source.offset} cannot be read: {routed.value[:300]!r}")
        elif routed is not None:
            for shard in shards if routed.shard == ALL_SHARDS else (routed.shard,):
                wanted[shard][source.code, source.partition, source.offset] = routed
    return wanted


def _all_sources(history: History) -> Iterator[Source]:
    for code, topic in SOURCES.items():
        for partition, line in history.lines(topic):
            yield Source(code, partition, line.offset, RawRecord(line.value, line.key, line.headers, line.timestamp))


def _check_inbox(shard: int, lines: list[Line], wanted: dict[Place, Routed], found: Findings) -> None:
    seen: set[Place] = set()
    next_of: dict[tuple[str, int], int] = defaultdict(int)
    for line in lines:
        record = decode_inbox(line.value or b"")
        if record.src is None:
            continue
        place = _place(record.src)
        routed = wanted.get(place)
        if routed is None:
            found.add("unexplained", f"inbox {shard}@{line.offset} names {place}, where nothing is for this shard")
        elif not _same(record, routed, line.value or b""):
            found.add("conflicting", f"inbox {shard}@{line.offset} differs from what {place} says")
        if place[2] >= next_of[place[:2]]:
            next_of[place[:2]] = place[2] + 1
            seen.add(place)
    for place in sorted(wanted.keys() - seen):
        found.add("lost", f"{place} never came to shard {shard} (or only behind a later record)")


def _same(record: InboxRecord, routed: Routed, value: bytes) -> bool:
    return isinstance(record.body, NOT_COMPARED) or value == routed.encoded()


def _place(src: SourcePosition) -> Place:
    return src.source, src.partition, src.offset
