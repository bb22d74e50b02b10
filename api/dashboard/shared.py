"""Answers that many people look at are worked out once: a name and a way to make it enter, the answer, at most `ttl_s` old, leaves.

What takes long to work out is kept longer (`CALM` times as long as it took): however many look, and however much there is to sum up, the
dashboard keeps Postgres busy for a fifth of the time at most for each answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from api.dashboard.shell import Page

T = TypeVar("T")
MOST: Final = 256
CALM: Final = 4.0


class Answer:
    """One answer, perhaps still in the making. `until`: how long it is good, known once it is there."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task, self.until = task, 0.0

    def over(self, now: float) -> bool:
        """Whether it must be made anew."""
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None or now > self.until)


class Shared:
    """One for the process. Whoever asks while an answer is being made waits for that one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[object, Answer] = OrderedDict()

    async def get(self, name: object, ttl_s: float, make: Callable[[], Awaitable[T]]) -> T:
        """The answer; what `make` raised is raised to everybody who waited, and not remembered."""
        known = self._known.get(name)
        if known is None or known.over(self._clock()):
            known = self._known[name] = Answer(asyncio.ensure_future(self._make(name, ttl_s, make)))
            self._known.move_to_end(name)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        answer: T = await asyncio.shield(known.task)
        return answer

    async def _make(self, name: object, ttl_s: float, make: Callable[[], Awaitable[T]]) -> T:
        began = self._clock()
        answer = await make()
        if name in self._known:
            self._known[name].until = self._clock() + max(ttl_s, CALM * (self._clock() - began))
        return answer


def shared(page: Page) -> Shared:
    """The process's shared answers."""
    found: Shared = page.request.app.state.dashboard
    return found
