"""What flows while things break: a seeded market's signals, changes of followers, gates and switches, and some of it sent twice.

Enters: followers, a seed, a rate. Leaves: records on the public topics, each published until it is acked, and where each lies.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import aiohttp
import msgspec

from engine.contracts.signal import WhaleSignal
from engine.domain.messages import ConfigureFollower, ReleaseSignals, SetGate, SetSwitch
from engine.errors import DependencyUnreachable
from engine.log.publish import Published, Publisher, open_publisher
from ops.demo.plan import FollowerPlan
from ops.seeded import seeded_signals
from ops.stack import Stack

SOURCE: Final = "/remora/chaos"
WITHOUT_END: Final = 10**7
RETRY_S: Final = 0.3
TWICE: Final = 0.05
"""How often a signal is published a second time."""
Send = Callable[[Publisher], Awaitable[Published]]


class Load:
    """Publishes until told to stop. `acked` is what the broker has promised to keep: where, and which signal."""

    def __init__(self, stack: Stack, plans: Sequence[FollowerPlan], seed: int, rate: float) -> None:
        self._stack, self._plans, self._rate, self._seed = stack, plans, rate, seed
        self._random = Random(f"load/{seed}")
        self._stop = asyncio.Event()
        self.acked: list[tuple[Published, str]] = []
        self.published = 0

    def stop(self) -> None:
        """Publish no new signal; open the gates, lift the switches, end."""
        self._stop.set()

    async def run(self) -> None:
        """Until stopped."""
        async with aiohttp.ClientSession(self._stack.simulator_url) as simulator, Line(self._stack) as line:
            began = time.monotonic()
            for number, signal in enumerate(seeded_signals(self._seed, WITHOUT_END)):
                await self._until(began + number / self._rate)
                if self._stop.is_set():
                    break
                await self._drive_price(simulator, signal)
                await self._publish(line, signal)
                await self._meddle(line, number)
            await line.send(lambda publisher: publisher.publish_control(_gate("end", paused=False)))
            for whale in sorted({plan.whale_id for plan in self._plans}):
                await line.send(lambda publisher, whale=whale: publisher.publish_control(_switch("end", whale, "running")))  # type: ignore[misc]

    async def _until(self, due: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(0.0, due - time.monotonic()))

    async def _drive_price(self, simulator: aiohttp.ClientSession, signal: WhaleSignal) -> None:
        async with simulator.post("/_price", json={"symbol": signal.symbol, "price": str(signal.price)}) as answer:
            answer.raise_for_status()

    async def _publish(self, line: Line, signal: WhaleSignal) -> None:
        current = signal.model_copy(update={"detected_at": datetime.now(UTC)})
        for _ in range(2 if self._random.random() < TWICE else 1):
            where = await line.send(lambda publisher: publisher.publish_signal(current, source=SOURCE))
            self.acked.append((where, signal.signal_id))
        self.published += 1

    async def _meddle(self, line: Line, number: int) -> None:
        """Now and then a follower is changed, the queue is paused for a few signals, or a whale is closed to opens."""
        if number % 20 == 7:
            plan = self._random.choice(self._plans)
            settings = msgspec.structs.replace(plan.settings, paused=number % 3 == 0)
            command = ConfigureFollower(request_id=f"chaos-{number}", follower_id=plan.follower_id, settings=settings, actor="chaos")
            await line.send(lambda publisher: publisher.publish_follower_command(command))
        if number % 30 in (11, 15):
            await line.send(lambda publisher: publisher.publish_control(_gate(str(number), paused=number % 30 == 11)))
        if number % 30 == 13:
            release = ReleaseSignals(request_id=f"chaos-release-{number}", max_signals=2, actor="chaos")
            await line.send(lambda publisher: publisher.publish_control(release))
        if number % 40 in (21, 27):
            state = "close_only" if number % 40 == 21 else "running"
            whale = self._plans[number // 40 % len(self._plans)].whale_id
            await line.send(lambda publisher: publisher.publish_control(_switch(str(number), whale, state)))


class Line:
    """A publisher that outlives its broker: what was not acked is sent again, with the same bytes."""

    def __init__(self, stack: Stack) -> None:
        self._settings = stack.settings
        self._context: Any = None
        self._publisher: Publisher | None = None

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hang_up()

    async def send(self, send: Send) -> Published:
        """Until the broker has acked it."""
        for wait_s in itertools.repeat(RETRY_S):
            try:
                return await send(await self._dial())
            except DependencyUnreachable:
                await self._hang_up()
                await asyncio.sleep(wait_s)
        raise AssertionError("endless")

    async def _dial(self) -> Publisher:
        if self._publisher is None:
            self._context = open_publisher(self._settings, "remora-chaos")
            self._publisher = await self._context.__aenter__()
        return self._publisher

    async def _hang_up(self) -> None:
        if self._publisher is not None:
            self._publisher = None
            await self._context.__aexit__(None, None, None)


def _gate(request: str, *, paused: bool) -> SetGate:
    return SetGate(request_id=f"chaos-gate-{request}", min_priority="low", paused=paused, actor="chaos")


def _switch(request: str, whale: str, state: Any) -> SetSwitch:
    return SetSwitch(request_id=f"chaos-switch-{request}-{whale}", scope="whale", target=whale, state=state, actor="chaos")
