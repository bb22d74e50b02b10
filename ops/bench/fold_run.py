"""A process of its own for `remora bench replay`: fold a log on one core. Argument: JSON; leaves one JSON line."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import uvloop

from engine.config import Settings
from engine.domain.shard import state_digest
from engine.log.consume import end_of, open_consumer
from engine.log.replay import fold_log
from engine.topology import EVENTS


async def main(task: dict[str, Any]) -> dict[str, Any]:
    """All shards from zero, one after the other; then one shard from its snapshot."""
    settings = Settings(kafka=task["kafka"], topic_prefix=task["prefix"], partitions=task["partitions"])
    events, seconds, cpu_s, digest = 0, 0.0, 0.0, ""
    for shard in reversed(range(settings.partitions)):
        started, used = time.perf_counter(), time.process_time()
        async with open_consumer(settings) as consumer:
            end = await end_of(consumer, settings.topic(EVENTS), shard)
            loaded = await fold_log(consumer, settings, shard, end, from_zero=True)
        seconds, cpu_s = seconds + time.perf_counter() - started, cpu_s + time.process_time() - used
        events, digest = events + loaded.events, state_digest(loaded.state)
    started = time.perf_counter()
    async with open_consumer(settings) as consumer:
        quick = await fold_log(consumer, settings, 0, await end_of(consumer, settings.topic(EVENTS), 0))
    snapshot_s = time.perf_counter() - started
    assert quick.snapshot_id > 1, "the snapshot was used"
    assert state_digest(quick.state) == digest, "both ways lead to the same state"
    tail = quick.position.next_id - quick.snapshot_id
    return {"events": events, "seconds": seconds, "cpu_s": cpu_s, "snapshot_s": snapshot_s, "snapshot_tail_events": tail}


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(uvloop.run(main(json.loads(sys.argv[1])))))
