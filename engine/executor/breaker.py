"""A circuit breaker per venue: after failures in a row only probes go out, exits first.

Enters: outcomes of requests. Leaves: whether an order may go. Closed: all go. Open: none for `cool_s`. Then one probe at a time: an exit
if any waits, else an open. A probe that gets a real answer closes the breaker, one that fails doubles the wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FAILURES_TO_OPEN: Final = 5
FIRST_COOL_S: Final = 0.5
LONGEST_COOL_S: Final = 15.0
OPEN_PROBE_GRACE_S: Final = 1.0
"""How much longer than an exit an open waits before it may probe."""


class Breaker:
    """State of one venue."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._cool_s = FIRST_COOL_S
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether only probes may go."""
        return self._open_until is not None

    @property
    def failures(self) -> int:
        """Requests in a row without a verdict."""
        return self._failures

    def delay(self, is_exit: bool) -> float:
        """Seconds until an order of this kind may be sent; 0 = now."""
        if self._open_until is None:
            return 0.0
        if self._probing:
            return FIRST_COOL_S
        until = self._open_until + (0.0 if is_exit else OPEN_PROBE_GRACE_S)
        return max(until - self._clock(), 0.0)

    def started(self) -> None:
        """An order goes out now."""
        if self._open_until is not None:
            self._probing = True

    def succeeded(self) -> None:
        """The venue answered with a verdict."""
        self._failures, self._cool_s, self._open_until, self._probing = 0, FIRST_COOL_S, None, False

    def failed(self) -> None:
        """No verdict: 5xx, cut off, refused connection, timeout."""
        self._failures += 1
        if self._open_until is not None:
            self._cool_s = min(self._cool_s * 2, LONGEST_COOL_S)
        if self._open_until is not None or self._failures >= FAILURES_TO_OPEN:
            self._open_until = self._clock() + self._cool_s
        self._probing = False

    def abandoned(self) -> None:
        """The attempt is over, also when nothing went out and nothing was learnt."""
        self._probing = False
