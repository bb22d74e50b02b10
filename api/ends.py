"""Where the log ends, asked of the broker itself every few seconds: ends enter, how far and how long somebody is behind leaves.

What the projector notes of itself stands still when the projector does. These ends do not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engine.config import Settings
from engine.errors import DependencyUnreachable
from engine.fate import own_cancellations
from engine.log.consume import open_consumer
from engine.topology import DEAD, EVENTS, REJECTED, Topic

log = logging.getLogger(__name__)
SAMPLE_S: Final = 2.0
ANSWER_S: Final = 5.0
KNOWN_S: Final = 10.0
"""Ends that are older than this are not known any more."""
KEPT: Final = 2000
COUNTED: Final = (REJECTED, *DEAD.values())
"""Topics whose ends are counts of what went wrong; what retention removed stays counted."""


class LogEnds:
    """One for the process, within `start` and `stop`. `settle` gives the accepted part of a partition that ends at an offset."""

    def __init__(self, settings: Settings, settle: Callable[[int, int], int]) -> None:
        self._settings, self._settle = settings, settle
        self._seen: defaultdict[int, deque[tuple[float, int]]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._counts: dict[Topic, int] = {}
        self._asked_at = -KNOWN_S
        self._task: asyncio.Task[None] | None = None

    @property
    def partitions(self) -> int:
        """How many the events have."""
        return self._settings.partitions

    @property
    def known(self) -> bool:
        """Whether the broker has answered lately."""
        return time.monotonic() - self._asked_at < KNOWN_S

    def counts(self) -> dict[Topic, int]:
        """Records ever written to the topics that count trouble."""
        return dict(self._counts)

    def behind(self, partition: int, position: int) -> tuple[int, float]:
        """How many records, and for how many seconds, a partition of the events has gone beyond a position."""
        seen = self._seen[partition]
        since = next((at for at, end in seen if end > position), None)
        return (seen[-1][1] - position, time.monotonic() - since) if since is not None else (0, 0.0)

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._run(), name="log-ends")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                with own_cancellations():
                    await self._session()
            except (DependencyUnreachable, KafkaError, OSError, TimeoutError) as error:
                log.info("the ends of the log are not known: %s", error or type(error).__name__)
                await asyncio.sleep(SAMPLE_S)

    async def _session(self) -> None:
        async with open_consumer(self._settings) as consumer:
            while True:
                await self._sample(consumer)
                await asyncio.sleep(SAMPLE_S)

    async def _sample(self, consumer: AIOKafkaConsumer) -> None:
        events = [TopicPartition(self._settings.topic(EVENTS), number) for number in range(self._settings.partitions)]
        counted = {TopicPartition(self._settings.topic(topic), 0): topic for topic in COUNTED}
        async with asyncio.timeout(ANSWER_S):
            ends: dict[TopicPartition, int] = await consumer.end_offsets([*events, *counted])  # type: ignore[no-untyped-call]
        now = time.monotonic()
        for tp in events:
            end, seen = self._settle(tp.partition, ends[tp]), self._seen[tp.partition]
            if not seen or seen[-1][1] != end:
                seen.append((now, end))
        self._counts = {topic: ends[tp] for tp, topic in counted.items()}
        self._asked_at = now
