"""How many requests are let through: a name enters, the seconds to wait (0: none) leave. One token bucket a name."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_NAMES: Final = 10_000
"""Buckets that are kept; the one that was idle longest goes, and it was full or nearly so."""


class Buckets:
    """`rate` requests a second for each name, and `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, cost: float = 1.0) -> float:
        """Take `cost` tokens; when they are not there, take none and give the seconds until they are."""
        now = self._clock()
        level, then = self._levels.get(name, (self._burst, now))
        level = min(self._burst, level + (now - then) * self._rate)
        wait = max(0.0, (cost - level) / self._rate)
        self._levels[name] = (level if wait else level - cost, now)
        self._levels.move_to_end(name)
        if len(self._levels) > MOST_NAMES:
            self._levels.popitem(last=False)
        return wait
