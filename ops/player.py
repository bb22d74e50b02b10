"""Publishes signals in the pace of their recording: signals enter, CloudEvents on `whale.signals.v1` leave.

Each signal's `detected_at` is the moment of its publishing; the original time stays in `whale_time`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from engine.config import Settings
from engine.contracts.signal import WhaleSignal
from engine.log.publish import Published, Publisher, Sent, open_publisher
from ops.detect import signals_from_fills

UNACKED: Final = 500
SOURCE: Final = "/remora/player"
OnPublish = Callable[[WhaleSignal, Published], None]
Gate = Callable[[], Awaitable[None]]
"""Awaited before each signal: whoever plays can hold back until enough has come out at the other end."""


async def play(
    settings: Settings,
    signals: Iterable[WhaleSignal],
    speed: float | None = None,
    *,
    on_publish: OnPublish | None = None,
    gate: Gate | None = None,
    restamp: bool = True,
) -> int:
    """Publish `signals` in order, `speed` times as fast as recorded (None: as fast as they are taken); gives how many.

    `on_publish` is called for each signal, in order, once it is acked. Without `restamp` a signal keeps its `detected_at`.
    """
    try:
        async with open_publisher(settings, "remora-detector") as publisher, asyncio.TaskGroup() as group:
            return await _play(publisher, group, _paced(signals, speed, gate), on_publish, restamp)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors


async def _play(
    publisher: Publisher, group: asyncio.TaskGroup, signals: AsyncIterator[WhaleSignal], on_publish: OnPublish | None, restamp: bool
) -> int:
    published, unacked = 0, asyncio.Queue[tuple[WhaleSignal, Sent]](UNACKED)
    acks = group.create_task(_await_acks(unacked, on_publish))
    async for signal in signals:
        current = signal.model_copy(update={"detected_at": datetime.now(UTC)}) if restamp else signal
        await unacked.put((current, await publisher.send_signal(current, source=SOURCE)))
        published += 1
    await unacked.join()
    acks.cancel()
    return published


async def play_file(settings: Settings, path: Path, speed: float | None = None, *, on_publish: OnPublish | None = None) -> int:
    """`remora detect fills FILE`. Errors: ConfigInvalid, DependencyUnreachable."""
    return await play(settings, signals_from_fills(path), speed, on_publish=on_publish)


def parse_speed(text: str) -> float | None:
    """`max` is None; else how many times faster than recorded."""
    return None if text == "max" else float(text)


async def _paced(signals: Iterable[WhaleSignal], speed: float | None, gate: Gate | None) -> AsyncIterator[WhaleSignal]:
    begin, first = datetime.now(UTC), None
    for signal in signals:
        recorded = signal.whale_time or signal.detected_at
        first = first or recorded
        if gate is not None:
            await gate()
        if speed is not None:
            due = begin + (recorded - first) / speed
            await asyncio.sleep(max(timedelta(0), due - datetime.now(UTC)).total_seconds())
        yield signal


async def _await_acks(unacked: asyncio.Queue[tuple[WhaleSignal, Sent]], on_publish: OnPublish | None) -> None:
    while True:
        signal, sent = await unacked.get()
        published = await sent
        if on_publish is not None:
            on_publish(signal, published)
        unacked.task_done()
