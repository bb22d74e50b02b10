"""The raw side of `remora bench replay`: aiokafka reads a topic, orjson decodes every value. Imports nothing of ours.

Arguments: broker, topic, partitions. Leaves: records and seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition


async def main(broker: str, topic: str, partitions: int) -> None:
    """One partition after the other, to its end."""
    records, seconds = 0, 0.0
    record: Any
    for partition in range(partitions):
        tp = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest", max_partition_fetch_bytes=8 * 1024 * 1024
        )
        await consumer.start()
        consumer.assign([tp])
        consumer.seek(tp, 0)
        end = (await consumer.end_offsets([tp]))[tp]
        position, started = 0, time.perf_counter()
        while position < end:
            for batch in (await consumer.getmany(tp, timeout_ms=1000)).values():
                for record in batch:
                    orjson.loads(record.value)
                records, position = records + len(batch), batch[-1].offset + 1
        seconds += time.perf_counter() - started
        await consumer.stop()
    print(records, seconds)


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
