"""The exchange's clock: wall time plus an offset that a script can move; milliseconds and microseconds leave."""

from __future__ import annotations

import time


class Clock:
    """`offset_ms` shifts the exchange against its clients (clock skew, or 25 hours ahead for history windows)."""

    def __init__(self) -> None:
        self.offset_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the epoch on the exchange."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    def now_us(self) -> int:
        """Microseconds since the epoch, never shifted: arrival times for latency."""
        return time.time_ns() // 1_000
