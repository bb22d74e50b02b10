"""The engine: a Faust app over `engine.inbox.v1` with one `Shard` for every partition that this process is assigned.

Enters: inbox records. Leaves: rounds on `follower.events.v1`, commands on `trade.commands.v1`. Where a partition is read from
is what the shard's own log says; a shard that nobody else has claimed since keeps its state across a rebalance.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Iterator, Mapping
from functools import partial

from aiokafka import AIOKafkaProducer
from faust.types import TP
from faust.types.tuples import Message

from engine.agents import meters
from engine.agents.app import LogApp, build_app, consume, run_loop, run_worker
from engine.agents.shard import Shard
from engine.config import Settings
from engine.log.topics import ensure_topics
from engine.log.writer import start_producer
from engine.meters import Sample
from engine.topology import INBOX

ROLE = "engine"


class Engine:
    """The shards of this process."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._settings, self._producer = settings, producer
        self._owner = f"{socket.gethostname()}-{settings.instance}-{os.getpid()}"
        self.shards: dict[int, Shard] = {}
        self._loads: dict[int, asyncio.Task[None]] = {}
        self.app: LogApp = build_app(settings, ROLE, self.positions, one_by_one=True, assigned=self.assigned, revoked=self.revoked)
        consume(self.app, settings, (INBOX,), self.decide_inbox)

    async def decide_inbox(self, tp: TP, message: Message) -> None:
        """Hand one inbox record to its shard."""
        assert message.value is not None, "the sequencer writes no tombstones"
        self.shards[tp.partition].put((message.offset, message.value, round(message.timestamp * 1000)))

    async def revoked(self, tps: frozenset[TP]) -> None:
        """Finish every round in flight before the partitions can go to somebody else."""
        await asyncio.gather(*(self.shards[tp.partition].pause() for tp in tps if self._is_loaded(tp.partition)))

    async def assigned(self, tps: frozenset[TP]) -> None:
        """Let go of the shards that have gone to somebody else."""
        kept = {tp.partition for tp in tps}
        for number in [number for number in self.shards if number not in kept]:
            await self._drop(number)

    async def positions(self, tps: frozenset[TP]) -> Mapping[TP, int]:
        """Load the shard, or keep it; the inbox is read from behind what it has decided."""
        [tp] = tps
        return {tp: await self._next_inbox(tp)}

    async def _next_inbox(self, tp: TP) -> int:
        number = tp.partition
        if self._is_loaded(number) and not await self.shards[number].still_owned():
            await self._drop(number)
        if number not in self._loads:
            shard = self.shards[number] = Shard(self._settings, number, self._producer, self._owner, partial(self._full, tp))
            self._loads[number] = asyncio.create_task(shard.load(), name=f"load shard {number}")
        # The next assignment may ask again before this is done: it is the same load that both wait for.
        await asyncio.shield(self._loads[number])
        # What was loaded stays for long: the collector need not walk through it again and again.
        gc.freeze()
        return self.shards[number].resume()

    def _is_loaded(self, number: int) -> bool:
        task = self._loads.get(number)
        return task is not None and task.done()

    async def _drop(self, number: int) -> None:
        shard, load = self.shards.pop(number), self._loads.pop(number)
        if load.done():
            await shard.close()
        else:
            load.cancel()

    def _full(self, tp: TP, full: bool) -> None:
        """A shard's queue is full, or has room again: stop and go on fetching its partition, without dropping what was fetched."""
        consumer = self.app.consumer
        (consumer.on_buffer_full if full else consumer.on_buffer_drop)(tp)

    def samples(self) -> Iterator[Sample]:
        """What `/metrics` shows of the shards of this process."""
        loaded = [shard for number, shard in self.shards.items() if self._is_loaded(number)]
        yield meters.SHARDS, (), len(loaded)
        for shard in loaded:
            yield from shard.samples()
            lag = meters.behind(self.app, TP(self._settings.topic(INBOX), shard.shard), shard.next_inbox)
            if lag is not None:
                yield meters.LAG, (str(shard.shard),), lag

    async def close(self) -> None:
        """Finish what is in flight."""
        for number in list(self.shards):
            await self._drop(number)


async def run(settings: Settings) -> None:
    """The engine process, until SIGTERM or an error."""
    await ensure_topics(settings)
    producer = await start_producer(settings, f"remora-{ROLE}-{settings.instance}")
    engine = Engine(settings, producer)
    async with meters.ENGINE.serve(settings, engine.samples):
        await run_worker(engine.app, settings, ROLE)
    await engine.close()
    await producer.stop()  # type: ignore[no-untyped-call]


def main(settings: Settings) -> None:
    """Run the engine in its own event loop."""
    run_loop(run(settings))
