"""The faults of a run as lanes that go on side by side, so that they overlap: kills, zombies, restarts of the servers.

Enters: a cast and a plan. Leaves: what really happened (`Tally`). Zombies and restarts keep pace with the kills.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from engine.errors import DependencyUnreachable
from ops.chaos.cast import Cast, until
from ops.chaos.plan import Plan, Strike
from ops.embedded.server import EmbeddedServer

KILLERS: Final = 2
"""Kills go on in this many lanes at once."""
PATIENCE_S: Final = 4.0
"""How long a victim may take to come by its point; then any moment will do."""
SUPERSEDED_S: Final = 25.0
STARTS: Final = 3
ATTEMPTS_A_STRIKE: Final = 5
"""A run whose faults do not take (a victim that always dies of something else) ends after this many tries for each of them."""


@dataclass
class Tally:
    """What took place. A kill counts when its victim had worked and died by it, a zombie when it was superseded before it woke."""

    kills: int = 0
    zombies: int = 0
    kafka: int = 0
    postgres: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def restarted(self, server: str) -> None:
        """A server is back."""
        setattr(self, server, getattr(self, server) + 1)


class Lanes:
    """All lanes of one run."""

    def __init__(self, cast: Cast, plan: Plan, tally: Tally, say: Callable[[str], None] = lambda _: None) -> None:
        self._cast, self._plan, self.tally, self._say = cast, plan, tally, say
        self._to_kill = len(plan.kills)

    async def run(self) -> None:
        """Until every fault of the plan has taken place."""
        strikes = _again(self._plan.kills)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(KILLERS, len(self._plan.kills))):
                group.create_task(self._kill(strikes))
            group.create_task(self._haunt())
            group.create_task(self._break_servers())

    async def _kill(self, strikes: Iterator[Strike]) -> None:
        while self._to_kill and (strike := next(strikes, None)):
            self._to_kill -= 1
            await asyncio.sleep(strike.wait_s)
            name = await self._cast.choose(strike.role, strike.instance)
            try:
                if where := await self._cast.kill(name, strike.label, strike.nth, PATIENCE_S):
                    self.tally.kills += 1
                    self.tally.labels[f"{strike.role} {where}"] += 1
                    self._tell()
                else:
                    self._to_kill += 1
            finally:
                self._cast.busy.discard(name)

    def _tell(self) -> None:
        if self.tally.kills % 10 == 0:
            self._say(f"{self.tally.kills} kills, {self.tally.zombies} zombies, {self.tally.kafka + self.tally.postgres} restarts")

    async def _haunt(self) -> None:
        for strike in _again(self._plan.zombies):
            if self.tally.zombies >= len(self._plan.zombies):
                return
            await self._pace(self.tally.zombies, len(self._plan.zombies))
            await self._zombie(strike)

    async def _zombie(self, strike: Strike) -> None:
        name = await self._cast.choose(strike.role, strike.instance)
        try:
            paused = await self._cast.pause(name, strike.label, strike.nth, PATIENCE_S)
            superseded = await self._cast.superseded(name, paused, SUPERSEDED_S)
            await asyncio.sleep(strike.wait_s)
            self.tally.zombies += superseded
        finally:
            self._cast.supervisor.resume(name)
            self._cast.busy.discard(name)

    async def _break_servers(self) -> None:
        for number, outage in enumerate(self._plan.outages):
            await self._pace(number, len(self._plan.outages))
            server = {"kafka": self._cast.stack.kafka, "postgres": self._cast.stack.postgres}[outage.server]
            if outage.hard:
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(outage.down_s)
            await asyncio.to_thread(_bring_back, server)
            self.tally.restarted(outage.server)

    async def _pace(self, number: int, of: int) -> None:
        """Wait until as large a part of the kills has been done as of this lane."""
        kills = len(self._plan.kills)
        await until(lambda: self.tally.kills >= kills or self.tally.kills * of >= kills * (number + 0.5), float("inf"))


def _bring_back(server: EmbeddedServer) -> None:
    """On a busy machine, where everybody who lost the server starts again as well, it may need more than one start."""
    for _ in range(STARTS):
        with contextlib.suppress(DependencyUnreachable):
            return server.restart()
    return server.restart()


def _again(strikes: Sequence[Strike]) -> Iterator[Strike]:
    return itertools.islice(itertools.cycle(strikes), len(strikes) * ATTEMPTS_A_STRIKE)
