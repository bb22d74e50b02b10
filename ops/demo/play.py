"""Plays signals into the running system: each drives the simulator's price first, then is published; the queue stays bounded.

Enters: signals, a pace. Leaves: how many were published, once every one of them has come to its end in the read models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp

from engine.config import Settings
from engine.contracts.signal import WhaleSignal
from engine.errors import DependencyUnreachable
from ops.commands.common import query
from ops.player import Gate, play
from ops.stack import Stack

WINDOW: Final = 40
"""Signals in work at once when playing as fast as possible: enough to keep every process busy, few enough that copies are not late."""
POLL_S: Final = 0.05
PROGRESS: Final = """
SELECT count(*) AS seen,
       count(*) FILTER (WHERE status IN ('PROCESSED', 'FAILED', 'EXPIRED')) AS ended,
       coalesce(sum(orders_sent), 0) AS orders, coalesce(sum(orders_ended), 0) AS orders_ended, coalesce(sum(followers), 0) AS decisions
FROM whale_signals WHERE origin = 'log'
"""
Watch = Callable[[dict[str, int]], None]


class Board:
    """What the read models say of the signals, looked at a few times a second."""

    def __init__(self, settings: Settings, watch: Watch) -> None:
        self._settings, self._watch = settings, watch
        self.published = 0
        self._before: dict[str, int] = {}
        self._moved = asyncio.Condition()
        self.counts: dict[str, int] = {"seen": 0, "ended": 0, "orders": 0, "orders_ended": 0, "decisions": 0}

    async def look(self) -> None:
        """Read the counts once; what was there at the first look does not count."""
        row = (await asyncio.to_thread(query, self._settings, PROGRESS))[0]
        self._before = self._before or {name: int(value) for name, value in row.items()}
        self.counts = {name: int(value) - self._before[name] for name, value in row.items()}
        self._watch(self.counts | {"published": self.published})
        async with self._moved:
            self._moved.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something about the counts."""
        async with self._moved:
            await self._moved.wait_for(reached)

    async def keep_looking(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)


async def play_through(stack: Stack, signals: list[WhaleSignal], speed: float | None, watch: Watch, deadline_s: float) -> int:
    """Publish all signals and wait for the end of each. Errors: DependencyUnreachable when they do not end in time."""
    board = Board(stack.settings, watch)
    await board.look()
    async with aiohttp.ClientSession(stack.simulator_url) as session:
        upcoming = iter(signals)

        async def gate() -> None:
            if speed is None:
                await board.until(lambda: board.published - board.counts["ended"] < WINDOW)
            signal = next(upcoming)
            board.published += 1
            await _drive_price(session, signal)

        looking = asyncio.create_task(board.keep_looking())
        try:
            return await asyncio.wait_for(_until_ended(stack.settings, signals, speed, board, gate), deadline_s)
        except TimeoutError:
            missing = len(signals) - board.counts["ended"]
            raise DependencyUnreachable(f"{missing} of {len(signals)} signals had not ended after {deadline_s:.0f} s.") from None
        finally:
            looking.cancel()


async def _until_ended(settings: Settings, signals: list[WhaleSignal], speed: float | None, board: Board, gate: Gate) -> int:
    published = await play(settings, signals, speed, gate=gate)
    await board.until(lambda: board.counts["ended"] >= published and board.counts["orders_ended"] >= board.counts["orders"])
    return published


async def drive_first_prices(stack: Stack, signals: list[WhaleSignal]) -> None:
    """Every coin begins where the recording does, so that the venues' first marks are not of another world."""
    async with aiohttp.ClientSession(stack.simulator_url) as session:
        for signal in {signal.symbol: signal for signal in reversed(signals)}.values():
            await _drive_price(session, signal)


async def _drive_price(session: aiohttp.ClientSession, signal: WhaleSignal) -> None:
    async with session.post("/_price", json={"symbol": signal.symbol, "price": str(signal.price)}) as answer:
        answer.raise_for_status()
