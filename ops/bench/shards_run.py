"""A process of its own for `remora bench decisions`: the engine's shards on one core, without Faust, on a real broker.

Enters (argument): JSON with the broker, the topic prefix, followers, signals, a file for the written bytes. Leaves: one JSON line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from engine.agents.shard import Shard
from engine.config import Settings
from engine.domain.messages import InboxRecord
from engine.log.codec import encode
from engine.log.consume import end_of, open_consumer, read_range
from engine.log.topics import ensure_topics
from engine.log.writer import ShardWriter, build_producer
from engine.topology import EVENTS, INBOX
from ops.bench.population import Inbox
from ops.children import rss_mb


class Run:
    """All shards in this process."""

    def __init__(self, settings: Settings, producer: Any) -> None:
        self.settings, self.producer = settings, producer
        self.inbox = Inbox(settings.partitions)
        self.shards = [Shard(settings, number, producer, "bench") for number in range(settings.partitions)]
        self._ends = [0] * settings.partitions
        self.cpu_s = 0.0

    async def begin(self) -> None:
        """Claim and load all shards."""
        for shard in self.shards:
            await shard.load()
            shard.resume()

    async def put(self, records: list[tuple[int, InboxRecord]]) -> None:
        """Append inbox records as the sequencer does."""
        by_shard: dict[int, list[tuple[bytes, bytes]]] = {}
        for shard, record in records:
            by_shard.setdefault(shard, []).append((b"", encode(record)))
        for shard, found in by_shard.items():
            await ShardWriter(self.producer, self.settings, shard)._append(self.settings.topic(INBOX), found)

    async def fetch(self) -> list[list[tuple[int, bytes, int]]]:
        """What the inbox has for each shard that it has not been given yet."""
        found: list[list[tuple[int, bytes, int]]] = []
        async with open_consumer(self.settings) as consumer:
            topic = self.settings.topic(INBOX)
            for number in range(self.settings.partitions):
                end = await end_of(consumer, topic, number)
                items: list[tuple[int, bytes, int]] = []
                async for batch in read_range(consumer, topic, number, self._ends[number], end):
                    items += [(record.offset, record.value or b"", record.timestamp) for record in batch]
                self._ends[number] = end
                found.append(items)
        return found

    async def decide(self, items: list[list[tuple[int, bytes, int]]]) -> float:
        """Hand the records over and wait until everything is decided, written and acked. Returns seconds."""
        started, used = time.perf_counter(), time.process_time()
        for shard, found in zip(self.shards, items, strict=True):
            for item in found:
                shard.put(item)
        for shard, end in zip(self.shards, self._ends, strict=True):
            while shard.position.inbox_position < end:  # noqa: ASYNC110 (a shard has no event for this, and 1 ms is nothing here)
                await asyncio.sleep(0.001)
        self.cpu_s = time.process_time() - used
        return time.perf_counter() - started

    async def take(self, records: list[tuple[int, InboxRecord]]) -> float:
        """Append, read back, decide."""
        await self.put(records)
        return await self.decide(await self.fetch())

    async def signals(self, count: int, first: int = 0) -> float:
        """Seconds from `count` signals in every shard's queue to the last ack."""
        told = list(self.inbox.signals(count, int(time.time() * 1000), first))
        return await self.take([(shard, record) for record in told for shard in range(self.settings.partitions)])


async def written(run: Run, starts: list[int], file: Path) -> dict[str, int]:
    """Save what was written from `starts` on: partition, key and value, each with its length. Returns counts."""
    events = size = 0
    with file.open("wb") as output:
        async with open_consumer(run.settings) as consumer:
            for number, start in enumerate(starts):
                async for batch in read_range(consumer, run.settings.topic(EVENTS), number, start, run.shards[number].position.next_offset):
                    for record in batch:
                        key, value = record.key or b"", record.value or b""
                        output.write(b"".join(len(part).to_bytes(4, "big") + part for part in (bytes([number]), key, value)))
                        events, size = events + 1, size + len(value)
    return {"records": events, "bytes": size}


async def main(task: dict[str, Any]) -> dict[str, Any]:
    """Set up followers, warm up, measure."""
    settings = Settings(kafka=task["kafka"], topic_prefix=task["prefix"], snapshot_events=10**9)
    await ensure_topics(settings)
    producer: Any = build_producer(settings, "bench")
    await producer.start()
    run = Run(settings, producer)
    await run.begin()
    before = rss_mb(os.getpid())
    setup = await run.take(list(run.inbox.followers(task["followers"], int(time.time() * 1000))))
    gc.collect()
    gc.freeze()
    loaded = rss_mb(os.getpid())
    await run.signals(task["warm"])
    starts = [shard.position.next_offset for shard in run.shards]
    seconds = await run.signals(task["signals"], task["warm"])
    result: dict[str, Any] = {
        "seconds": seconds,
        "cpu_s": run.cpu_s,
        "setup_s": setup,
        "rss_before_mb": before,
        "rss_loaded_mb": loaded,
        "rss_mb": rss_mb(os.getpid()),
    }
    if task.get("file"):
        result |= await written(run, starts, Path(task["file"]))
    for shard in run.shards:
        await shard.close()
    await producer.stop()
    return result


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(uvloop.run(main(json.loads(sys.argv[1])))))
