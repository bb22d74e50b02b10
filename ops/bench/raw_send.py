"""The raw side of `remora bench decisions`: the same bytes through `send_batch`. Imports nothing of ours.

Arguments: broker, topic, a file of records (partition, key and value, each with its length). Leaves: seconds to the last ack.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaProducer

BATCH_BYTES = 1_000_000


def load(file: Path) -> dict[int, list[tuple[bytes, bytes]]]:
    """Records by partition."""
    data, at = file.read_bytes(), 0
    parts: list[bytes] = []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for number in range(0, len(parts), 3):
        found.setdefault(parts[number][0], []).append((parts[number + 1], parts[number + 2]))
    return found


async def send(producer: AIOKafkaProducer, topic: str, partition: int, records: list[tuple[bytes, bytes]]) -> None:
    """All records of a partition in as few batches as they fit; every ack awaited."""
    acks = []
    builder = producer.create_batch()
    for key, value in records:
        if builder.append(key=key, value=value, timestamp=None) is None:
            acks.append(await producer.send_batch(builder, topic, partition=partition))
            builder = producer.create_batch()
            builder.append(key=key, value=value, timestamp=None)
    acks.append(await producer.send_batch(builder, topic, partition=partition))
    await asyncio.gather(*acks)


async def main(broker: str, topic: str, file: Path) -> float:
    """Send everything once to warm up, then once more for the clock."""
    records = load(file)
    producer = AIOKafkaProducer(
        bootstrap_servers=broker,
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        max_request_size=4 * BATCH_BYTES,
    )
    await producer.start()
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        await asyncio.gather(*(send(producer, topic, partition, found) for partition, found in records.items()))
        seconds = time.perf_counter() - started
    await producer.stop()
    return seconds


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(uvloop.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
