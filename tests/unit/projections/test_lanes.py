"""How late a partition is said to be, read or not yet read."""

from __future__ import annotations

import time

from engine.log.reader import Position
from projections.lanes import EventLane


def test_a_partition_that_waits_for_its_turn_is_as_late_as_its_next_record() -> None:
    lane = EventLane("events", 0, Position(next_offset=40))
    lane.begins_with(int(time.time() * 1000) - 5000)
    assert lane.lag_s(41) >= 5
    assert lane.lag_s(40) == 0, "nothing waits"
