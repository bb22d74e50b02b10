"""How late a partition is said to be, read or not yet read."""

from __future__ import annotations

import time

from engine.domain.events import RoundCommitted, ShardClaimed
from engine.log.codec import CLAIM_KEY, ROUND_KEY, encode, encode_event
from engine.log.reader import NO_DIGEST, Position, chain
from projections.lanes import EventLane
from tests.logbook import configured
from tests.tables import Record


def test_a_partition_that_waits_for_its_turn_is_as_late_as_its_next_record() -> None:
    lane = EventLane("events", 0, Position(next_offset=40))
    lane.begins_with(int(time.time() * 1000) - 5000)
    assert lane.lag_s(41) >= 5
    assert lane.lag_s(40) == 0, "nothing waits"


def test_what_comes_after_an_idle_hour_is_not_an_hour_late() -> None:
    """The newest event is old, since nothing happened; whoever has seen the end knows that what follows is newer."""
    lane, now_ms = EventLane("events", 0, Position()), int(time.time() * 1000)
    value = encode_event(configured("f"))[1]
    marker = RoundCommitted(
        epoch=0,
        inbox_from=0,
        inbox_to=1,
        sources={},
        events=1,
        first_id=1,
        digest=chain(NO_DIGEST, [value]),
        logic_version=1,
        commands_through=0,
        commands_total=0,
        now=0,
    )
    told = [(CLAIM_KEY, encode(ShardClaimed(shard=0, owner="e"))), (b"f", value), (ROUND_KEY, encode(marker))]
    lane.feed([record(offset, key, value, now_ms - 3_600_000) for offset, (key, value) in enumerate(told)])
    lane.written(lane.begin())
    lane.saw_end(3, now_ms - 200)
    assert lane.lag_s(3) == 0
    assert 0.2 <= lane.lag_s(4) < 60
    lane.saw_end(5, now_ms - 100)
    assert lane.lag_s(5) >= 0.2, "there was something before that end that is not read"


def record(offset: int, key: bytes, value: bytes, timestamp: int) -> Record:
    """One record of the log."""
    made = Record(offset, value)
    made.key, made.timestamp = key, timestamp
    return made
