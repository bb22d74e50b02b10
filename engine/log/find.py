"""Looks whether a request already stands on a public topic: topic, partition and id enter, its position or None leaves.

For answers that were lost: rare, so it reads plainly, from the time when the request first came.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from engine.config import Settings
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.publish import Published
from engine.topology import SIGNALS, Topic

MARGIN: Final = timedelta(minutes=5)
"""Clocks of the machines that write differ by less."""


class _Asked(msgspec.Struct):
    request_id: str = ""
    signal_id: str = ""


_DECODER: Final = msgspec.json.Decoder(_Asked)


async def find_request(settings: Settings, topic: Topic, partition: int, request_id: str, since: datetime) -> Published | None:
    """The first record with this `request_id` (on the signals topic: `signal_id`). Errors: DependencyUnreachable."""
    tp = TopicPartition(settings.topic(topic), partition)
    async with open_consumer(settings) as consumer:
        since_ms = int((since - MARGIN).timestamp() * 1000)
        found: Any = (await consumer.offsets_for_times({tp: since_ms}))[tp]  # type: ignore[no-untyped-call]
        _, end = await bounds(consumer, tp.topic, partition)
        async for records in read_range(consumer, tp.topic, partition, found.offset if found else end, end):
            for record in records:
                if _id_of(topic, record.value or b"") == request_id:
                    return Published(tp.topic, partition, record.offset, record.timestamp)
    return None


def _id_of(topic: Topic, value: bytes) -> str:
    try:
        asked = _DECODER.decode(value)
    except msgspec.DecodeError:
        return ""
    return asked.signal_id if topic is SIGNALS else asked.request_id
