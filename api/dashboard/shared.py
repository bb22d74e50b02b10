"""Answers that many people look at are worked out once: a name and a way to make it enter, the answer, at most `ttl_s` old, leaves."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from api.dashboard.shell import Page

T = TypeVar("T")
MOST: Final = 256


class Shared:
    """One for the process. Whoever asks while an answer is being made waits for that one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[object, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(self, name: object, ttl_s: float, make: Callable[[], Awaitable[T]]) -> T:
        """The answer; what `make` raised is raised to everybody who waited, and not remembered."""
        known = self._known.get(name)
        if known is None or (known[1].done() and (self._clock() > known[0] or known[1].exception() is not None)):
            known = (self._clock() + ttl_s, asyncio.ensure_future(_awaited(make)))
            self._known[name] = known
            self._known.move_to_end(name)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        answer: T = await asyncio.shield(known[1])
        return answer


def shared(page: Page) -> Shared:
    """The process's shared answers."""
    found: Shared = page.request.app.state.dashboard
    return found


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
