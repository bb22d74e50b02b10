"""What Faust is to the agents under test: a group's assignment enters, calls of the app's own callbacks and handlers leave.

In the order of `engine.agents.transport`: revoked, assigned, then positions in the background (one by one or all at once), then records
from exactly there, one after the other for each agent. Group offsets are committed and mean nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from engine.config import Settings
from engine.topology import Topic
from tests.chaos.sim.consumers import wake_when_appended
from tests.chaos.sim.groups import follow_notices
from tests.chaos.sim.log import Broker, Record
from tests.chaos.sim.loop import ProcessEnded, die

Handler = Callable[[TP, Any], Awaitable[None]]


class Message:
    """A record as Faust hands it on."""

    __slots__ = ("headers", "key", "offset", "timestamp", "tp", "value")

    def __init__(self, tp: TP, record: Record) -> None:
        self.tp, self.offset, self.key, self.value, self.headers = tp, record.offset, record.key, record.value, record.headers
        self.timestamp = record.timestamp / 1000


class App:
    """Made by `build_app`, fed by `consume`, run by `run_worker`."""

    def __init__(self, settings: Settings, role: str, positions: Any, one_by_one: bool, assigned: Any, revoked: Any) -> None:
        self.settings, self.role, self.one_by_one = settings, role, one_by_one
        self._positions, self._tell_assigned, self._tell_revoked = positions, assigned, revoked
        self._agents: list[tuple[set[str], Handler, asyncio.Event]] = []
        self._flows: dict[TP, int] = {}
        self._full: set[TP] = set()
        self._placing: list[asyncio.Task[None]] = []
        self.consumer = self
        self.stop = asyncio.Event()

    def add(self, topics: Iterable[str], handle: Handler) -> None:
        """One agent."""
        self._agents.append((set(topics), handle, asyncio.Event()))

    def on_buffer_full(self, tp: TP) -> None:
        """Fetch no more of it."""
        self._full.add(tp)

    def on_buffer_drop(self, tp: TP) -> None:
        """Fetch again."""
        self._full.discard(tp)
        self._wake()

    def _wake(self) -> None:
        for _, _, event in self._agents:
            event.set()

    async def run(self, broker: Broker) -> None:
        """Serve until told to stop."""
        self._broker, self._group = broker, broker.groups[self.settings.group(self.role)]
        self._member = self._group.join(f"{self.role}-{self.settings.instance}")
        tasks = [asyncio.create_task(follow_notices(self._member, self._revoked, self._assigned))]
        tasks += [asyncio.create_task(self._read(topics, handle, event)) for topics, handle, event in self._agents]
        await self.stop.wait()
        for task in [*tasks, *self._placing]:
            task.cancel()
        self._flows.clear()
        self._group.leave(self._member)

    async def _revoked(self) -> None:
        tps, self._flows = frozenset(self._flows), {}
        for task in self._placing:
            task.cancel()
        self._placing = []
        await _or_die(self._tell_revoked, tps)

    async def _assigned(self, tps: frozenset[TopicPartition]) -> None:
        mine = frozenset(TP(*tp) for tp in tps)
        await _or_die(self._tell_assigned, mine)
        parts = [frozenset((tp,)) for tp in sorted(mine)] if self.one_by_one else [mine] if mine else []
        self._placing = [asyncio.create_task(self._place(part)) for part in parts]

    async def _place(self, tps: frozenset[TP]) -> None:
        try:
            self._flows.update(await self._positions(tps))
            self._wake()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            die(error)

    async def _read(self, topics: set[str], handle: Handler, event: asyncio.Event) -> None:
        while True:
            found = self._next(topics)
            if found is None:
                event.clear()
                await self._more(topics, event)
                continue
            tp, message = found
            try:
                await handle(tp, message)
            except (asyncio.CancelledError, ProcessEnded):
                raise
            except Exception as error:
                die(error)
            self._group.offsets[tp] = OffsetAndMetadata(message.offset + 1, "")

    def _next(self, topics: set[str]) -> tuple[TP, Message] | None:
        open_flows = [tp for tp in self._flows if tp.topic in topics and tp not in self._full]
        ready = [tp for tp in open_flows if self._broker.at(tp).end > self._flows[tp]]
        if not ready:
            return None
        tp = ready[0] if len(ready) == 1 else self._broker.random.choice(ready)
        record = self._broker.at(tp).records[self._flows[tp]]
        self._flows[tp] += 1
        return tp, Message(tp, record)

    async def _more(self, topics: set[str], event: asyncio.Event) -> None:
        """Until a record arrives, or the assignment changes."""
        broker = self._broker
        flows = [tp for tp in self._flows if tp.topic in topics and tp not in self._full]
        if not flows:
            await event.wait()
            return
        wake_when_appended(broker, flows, event.set)
        await event.wait()


async def _or_die(notice: Any, tps: frozenset[TP]) -> None:
    if notice is None:
        return
    try:
        await notice(tps)
    except Exception as error:
        die(error)


def consume(app: App, settings: Settings, topics: Iterable[Topic], handle: Handler) -> None:
    """Stands in for `engine.agents.app.consume`."""
    app.add([settings.topic(topic) for topic in topics], handle)
