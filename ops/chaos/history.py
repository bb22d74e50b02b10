"""Everything that a run left on the log, read once from offset 0, and the findings that checks make of it.

Enters: settings of a system at rest. Leaves: lines by topic and partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from engine.config import Settings
from engine.log.consume import bounds, open_consumer, read_range
from engine.topology import EVENTS, INBOX, SOURCES, TRADE_COMMANDS, Topic

READ: Final = (*SOURCES.values(), INBOX, EVENTS, TRADE_COMMANDS)
"""Executions are a source."""
SHOWN: Final = 20
"""Findings of one kind that are shown."""


@dataclass(slots=True)
class Line:
    """One record."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any
    timestamp: int


@dataclass
class Findings:
    """What is wrong, in the words of Jepsen's Kafka checks; one sentence each."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {name: len(found) for name, found in vars(self).items()}

    def details(self) -> dict[str, list[str]]:
        """The first of each kind that there is."""
        return {name: found[:SHOWN] for name, found in vars(self).items() if found}

    def add(self, kind: str, sentence: str) -> None:
        """One finding of a kind."""
        getattr(self, kind).append(sentence)


@dataclass
class History:
    """Lines of every topic that matters, by partition."""

    settings: Settings
    topics: dict[str, dict[int, list[Line]]]

    def of(self, topic: Topic) -> dict[int, list[Line]]:
        """A topic's partitions."""
        return self.topics[topic.name]

    def lines(self, topic: Topic) -> Iterator[tuple[int, Line]]:
        """Every line of a topic with its partition."""
        for partition, lines in self.of(topic).items():
            for line in lines:
                yield partition, line


async def read_history(settings: Settings, read: Sequence[Topic] = READ) -> History:
    """Every record of these topics. Errors: DependencyUnreachable, LogCorrupt (an offset is missing)."""
    topics: dict[str, dict[int, list[Line]]] = {}
    async with open_consumer(settings) as consumer:
        for topic in read:
            name = settings.topic(topic)
            parts = topics[topic.name] = {}
            for partition in range(topic.partition_count(settings.partitions)):
                first, end = await bounds(consumer, name, partition)
                lines = parts[partition] = []
                async for records in read_range(consumer, name, partition, first, end):
                    lines += [Line(r.offset, r.key, r.value, r.headers, r.timestamp) for r in records]
    return History(settings, topics)
