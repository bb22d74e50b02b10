"""What goes wrong in a seed: chances of the wires and venues, lives of processes, sizes that decide where steps fall."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from tests.chaos.sim.exchange import Faults
from tests.chaos.sim.log import Wire
from tests.chaos.sim.loop import Process

LONGEST_LIFE = 2500
"""Steps within which a process that is doomed is killed."""


def spread(random: Random, low: float, high: float) -> int:
    """A number whose logarithm is evenly spread."""
    return int(math.exp(random.uniform(math.log(low), math.log(high))))


class Plan:
    """Each family of faults is there or not, so that every kind of trouble also comes alone."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.kills = self._some(0.3, 0.85)
        self.stops = self._some(0.15, 0.5)
        self.wire = Wire(
            slow=self._some(0.02, 0.15), lost=self._some(0.002, 0.02), ack_lost=self._some(0.002, 0.02), ack_blind=self._some(0.002, 0.02)
        )
        self.venue = Faults(
            refused=self._some(0.02, 0.1),
            lost=self._some(0.05, 0.15),
            reply_lost=self._some(0.05, 0.2),
            broken=self._some(0.03, 0.15),
            limited=self._some(0.02, 0.1),
            slow=self._some(0.05, 0.2),
            rejected=self._some(0.03, 0.15),
            read_failed=self._some(0.02, 0.15),
            late_s=random.choice((0.0, 0.5, 0.95)),
            lag_s=random.choice((0.0, 0.3, 4.0)),
            thin=self._some(0.1, 0.4),
        )
        self.events: dict[str, int] = {name: random.choice((0, 0, 1, 2)) for name in ("cut_off", "twin", "terminate", "skew")}
        self.instances = {role: random.choice((1, 2)) for role in ("sequencer", "engine", "executor")}
        self.batch = random.choice((1, 3, 1000))
        self.settings: dict[str, Any] = {
            "round_max_records": random.choice((1, 3, 2000)),
            "snapshot_events": random.choice((15, 60, 100_000)),
            "orders_in_flight": random.choice((1, 4, 64)),
            "venue_limits": random.random() < 0.2,
        }
        self.horizon_s = random.uniform(8.0, 16.0)

    def _some(self, low: float, high: float) -> float:
        """Absent in half of the seeds."""
        return self.random.uniform(low, high) if self.random.random() < 0.5 else 0.0

    def fate(self, process: Process, healed: bool) -> None:
        """How this life ends, if not by itself."""
        if healed:
            return
        if self.random.random() < self.kills:
            process.kill_at = spread(self.random, 1, LONGEST_LIFE)
        if self.random.random() < self.stops:
            process.stop_at = spread(self.random, 1, LONGEST_LIFE)

    def heal(self, world: Any) -> None:
        """From here on nothing goes wrong that has not yet."""
        world.broker.wire, world.book.faults = Wire(), Faults()
