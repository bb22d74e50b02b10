"""Bringing a system to rest after its faults: everything decided and ended, nothing new ordered, then every role stopped in turn.

Enters: a cast whose load has ended. Leaves: a log that nobody writes to any more. What does not come to rest in time is left as it is:
the checker will say what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from engine.agents.seq_resume import next_offset, shard_marks
from engine.agents.seq_route import Routed, Router, Source
from engine.config import Settings
from engine.contracts.check import RawRecord
from engine.domain.messages import SetSwitch
from engine.errors import DependencyUnreachable, LogCorrupt
from engine.log.consume import bounds, open_consumer, read_range
from engine.topology import EVENTS, SOURCES, Topic
from ops.chaos.cast import Cast
from ops.chaos.load import Line
from ops.chaos.tables_check import projected_digests
from ops.commands.common import query
from ops.demo.play import PROGRESS

POLL_S: Final = 0.25
LOOKED_AT: Final = 400
"""Records at the end of a source partition among which the newest that concerns a shard is looked for."""


async def settle(cast: Cast, published: int, deadline_s: float) -> list[str]:
    """What did not come to rest, in sentences."""
    settings, late = cast.stack.settings, []
    end = time.monotonic() + deadline_s
    if not await _until(lambda: asyncio.to_thread(_all_ended, settings, published), end):
        late.append(f"signals and orders did not end within {deadline_s:.0f} s: {query(settings, PROGRESS)}")
    if not await _halt(cast, deadline_s):
        late.append("the last switch was not acked")
    end = max(end, time.monotonic() + deadline_s / 3)
    for role, rested in ORDER:
        late += await _rest(cast, role)
        if not await _until(partial(rested, settings), end):
            late.append(f"what the last {role} wrote was not worked in")
    return late


async def _halt(cast: Cast, deadline_s: float) -> bool:
    """Nothing is ordered from here on, not even by the clock."""
    halt = SetSwitch(request_id="chaos-end", state="halt_exits", actor="chaos")
    async with Line(cast.stack) as line:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(line.send(lambda publisher: publisher.publish_control(halt)), deadline_s)
            return True
    return False


async def _at_once(_: Settings) -> bool:
    return True


def _all_ended(settings: Settings, published: int) -> bool:
    try:
        counts = query(settings, PROGRESS)[0]
    except DependencyUnreachable:
        return False
    return bool(counts["seen"] == counts["ended"] == published and counts["orders"] == counts["orders_ended"])


async def _rest(cast: Cast, role: str) -> list[str]:
    """Stop the role's children at once; one that cannot stop by itself is said."""
    codes = await asyncio.gather(*(asyncio.to_thread(cast.supervisor.stop, name) for name in cast.of(role)))
    return [f"{name} had to be killed" for name, code in zip(cast.of(role), codes, strict=True) if code == -signal.SIGKILL]


async def _until(holds: Callable[[], Awaitable[bool]], end: float) -> bool:
    with contextlib.suppress(LogCorrupt):
        while time.monotonic() < end:
            if await holds():
                return True
            await asyncio.sleep(POLL_S)
    return False


async def _sequenced(settings: Settings) -> bool:
    """Whether the shards' accepted rounds have come to the newest record of every source that concerns them."""
    router = Router(settings)
    async with open_consumer(settings) as consumer:
        marks = [await shard_marks(consumer, settings, shard) for shard in range(settings.partitions)]
        for code, topic in SOURCES.items():
            for partition in range(topic.partition_count(settings.partitions)):
                if next_offset(marks, code, partition) < await _last(consumer, settings, router, code, topic, partition):
                    return False
    return True


async def _last(consumer: object, settings: Settings, router: Router, code: str, topic: Topic, partition: int) -> int:
    """The offset behind the newest record that goes to a shard."""
    name = settings.topic(topic)
    first, end = await bounds(consumer, name, partition)  # type: ignore[arg-type]
    last = 0
    async for records in read_range(consumer, name, partition, max(first, end - LOOKED_AT), end):  # type: ignore[arg-type]
        for record in records:
            raw = RawRecord(record.value, record.key, record.headers, record.timestamp)
            if isinstance(router.route(Source(code, partition, record.offset, raw)), Routed):
                last = record.offset + 1
    return last


async def _projected(settings: Settings) -> bool:
    """Whether the tables stand at the digests of the log."""
    from engine.log.replay import fold_log

    stand = await asyncio.to_thread(projected_digests, settings)
    async with open_consumer(settings) as consumer:
        for shard in range(settings.partitions):
            _, end = await bounds(consumer, settings.topic(EVENTS), shard)
            loaded = await fold_log(consumer, settings, shard, end)
            if stand.get(shard) != (loaded.position.digest, loaded.position.next_id):
                return False
    return True


ORDER: Final = (("executor", _sequenced), ("sequencer", _at_once), ("engine", _projected), ("projector", _at_once))
"""Who stops when, and what must be so before the next one does."""
