"""The raw side of `remora bench latency`: one record a time through a broker, producer to consumer. Imports nothing of ours."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

RECORD = b"x" * 400


async def hops(bootstrap: str, topic: str, every_s: float, count: int = 500) -> list[float]:
    """Milliseconds of `count` hops, one each `every_s`."""
    tp, took = TopicPartition(topic, 0), list[float]()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await asyncio.gather(producer.start(), consumer.start())
    try:
        consumer.assign([tp])
        consumer.seek(tp, (await consumer.end_offsets([tp]))[tp])
        for _ in range(count):
            begin = time.perf_counter()
            await producer.send(topic, RECORD, partition=0)
            await consumer.getone(tp)
            took.append((time.perf_counter() - begin) * 1000)
            await asyncio.sleep(max(every_s - (time.perf_counter() - begin), 0))
    finally:
        await asyncio.gather(producer.stop(), consumer.stop())
    return took
