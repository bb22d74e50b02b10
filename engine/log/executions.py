"""Where the executor's records about orders lie on `trade.executions.v1`: orders enter, offsets leave. For people who look at an order.

It reads the log itself, from when an order was decided on (the broker's clock wrote that, as it does the times of this topic), and a
bounded way only: an order that waited behind very many others has no offsets here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.config import Settings
from engine.domain.messages import ExecutorClaimed, OrderAttempted, OrderSettled, OrderUnknown
from engine.errors import DependencyUnreachable
from engine.log.consume import end_of, open_consumer, read_range
from engine.topology import EXECUTIONS

MOST: Final = 20_000
"""Records of a partition that are looked at."""
MARGIN: Final = timedelta(seconds=2)
"""Clocks of brokers differ by less."""
PATIENCE_S: Final = 5.0


class Sought(NamedTuple):
    """An order: its command id, its shard and when it was decided on."""

    command_id: str
    shard: int
    since: datetime


@dataclass
class Places:
    """Offsets of the newest attempt, of the newest unknown answer and of the end; None where there is no such record."""

    attempted: int | None = None
    unknown: int | None = None
    settled: int | None = None


class _Order(msgspec.Struct):
    command_id: str


class _Told(msgspec.Struct):
    """As much of an execution as is needed here."""

    t: str
    epoch: int = -1
    command_id: str = ""
    order: _Order | None = None


_DECODER: Final = msgspec.json.Decoder(_Told)
_FIELDS: Final = {OrderAttempted.__name__: "attempted", OrderUnknown.__name__: "unknown", OrderSettled.__name__: "settled"}


async def find_executions(settings: Settings, orders: Iterable[Sought]) -> dict[str, Places]:
    """By command id. Empty when Kafka does not answer in time: whoever looks sees the partitions then."""
    try:
        async with asyncio.timeout(PATIENCE_S), open_consumer(settings) as consumer:
            found: dict[str, Places] = {}
            for shard, group in groupby(sorted(orders, key=lambda order: order.shard), key=lambda order: order.shard):
                found |= await _of_shard(consumer, settings.topic(EXECUTIONS), shard, list(group))
            return found
    except (DependencyUnreachable, TimeoutError):
        return {}


async def _of_shard(consumer: AIOKafkaConsumer, topic: str, shard: int, orders: list[Sought]) -> dict[str, Places]:
    tp = TopicPartition(topic, shard)
    since = min(order.since for order in orders) - MARGIN
    begin: Any = (await consumer.offsets_for_times({tp: int(since.timestamp() * 1000)}))[tp]  # type: ignore[no-untyped-call]
    end = await end_of(consumer, topic, shard)
    start = begin.offset if begin else end
    scan = Scan(order.command_id for order in orders)
    async for records in read_range(consumer, topic, shard, start, min(end, start + MOST)):
        for record in records:
            scan.feed(record.offset, record.value or b"")
        if scan.done:
            break
    return scan.found


class Scan:
    """Records of one partition in their order. Those of an executor that another one has followed are void."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.found = {command_id: Places() for command_id in wanted}
        self._left, self._epoch = len(self.found), -1

    @property
    def done(self) -> bool:
        """Whether the end of every order was found."""
        return not self._left

    def feed(self, offset: int, value: bytes) -> None:
        """The next record; one that cannot be read is nobody's."""
        try:
            told = _DECODER.decode(value)
        except msgspec.DecodeError:
            return
        if told.t == ExecutorClaimed.__name__:
            self._epoch = offset
        elif told.epoch >= self._epoch and (field := _FIELDS.get(told.t)):
            places = self.found.get(told.order.command_id if told.order else told.command_id)
            if places is not None:
                self._left -= field == "settled" and places.settled is None
                setattr(places, field, offset)
