"""An executor in a process of its own that stops or kills itself at a labelled point: `python -m tests.integration.executor.child`.

`POINT=<label>:<signal>:<nth>` in the environment; labels: before_attempt, after_attempt, after_write, before_outcome, after_outcome.
The product knows nothing of this: its functions are wrapped here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from engine.config import Settings
from engine.domain.messages import OrderAttempted, OrderSettled
from engine.exchanges import binance, bybit
from engine.executor import journal, service

LABELS = ("before_attempt", "after_attempt", "after_write", "before_outcome", "after_outcome")


class Point:
    """Counts passes of one label and sends this process its signal at the nth."""

    def __init__(self, text: str) -> None:
        label, number, nth = text.split(":") if text else ("", "0", "0")
        self.label, self.signal, self.left = label, int(number), int(nth)

    def reach(self, label: str) -> None:
        """The process came by."""
        if label == self.label:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.signal)


def install(point: Point) -> None:
    """Wrap the appends of attempts and outcomes, and the POST."""
    append = journal.Journal.append

    def wrapped(self: journal.Journal, record: Any, key: str) -> asyncio.Future[int]:
        label = {OrderAttempted: "attempt", OrderSettled: "outcome"}.get(type(record))
        if label:
            point.reach(f"before_{label}")
        future = append(self, record, key)
        return asyncio.ensure_future(after(future, label)) if label else future

    async def after(future: asyncio.Future[int], label: str) -> int:
        offset = await future
        point.reach(f"after_{label}")
        return offset

    journal.Journal.append = wrapped  # type: ignore[method-assign]
    for adapter in (binance.Binance, bybit.Bybit):
        adapter.place = _posted(adapter.place, point)  # type: ignore[method-assign]


def _posted(place: Callable[..., Awaitable[Any]], point: Point) -> Callable[..., Awaitable[Any]]:
    async def wrapped(*arguments: Any) -> Any:
        answer = await place(*arguments)
        point.reach("after_write")
        return answer

    return wrapped


def main() -> None:
    """Run until told to stop."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    logging.basicConfig(level=logging.INFO)
    install(Point(os.environ.get("POINT", "")))
    asyncio.run(service.run(Settings()))


if __name__ == "__main__":
    main()
