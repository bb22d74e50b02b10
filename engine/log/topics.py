"""The topics of the map on the broker: created when missing, held against the map at each start.

Enters: the settings (prefix, shard count, replication). Leaves: the names that were created now. A topic whose partitions
or settings differ is refused: partitions decide where a follower lives and cannot be changed afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from engine.config import Settings
from engine.errors import ConfigInvalid, DependencyUnreachable
from engine.log.reach import asking
from engine.topology import SIGNALS, TOPICS, Topic

VISIBLE_S: Final = 15.0
PARTITIONS: Final = "partitions"


async def ensure_topics(settings: Settings, topics: Iterable[Topic] = TOPICS) -> list[str]:
    """Create what is missing, then check everything. Any number of processes may call it at the same time."""
    wanted = {settings.topic(topic): topic for topic in topics}
    async with open_admin(settings) as admin:
        found = await _partitions(admin, wanted)
        missing = [name for name in wanted if name not in found]
        if missing:
            await _create(admin, settings, {name: wanted[name] for name in missing})
            found = await _all_visible(admin, wanted)
        for fault in await _faults(admin, settings, wanted, found):
            raise ConfigInvalid(f"Topic {fault.topic}: {fault.setting} is {fault.actual}, expected {fault.expected}{fault.hint}.")
    return missing


@dataclass(frozen=True)
class TopicFault:
    """A topic that is not as the map says. `setting` is `partitions` or one of the broker's; `actual` None: there is no such topic."""

    topic: str
    setting: str
    actual: str | None
    expected: str

    @property
    def hint(self) -> str:
        """What else there is to say."""
        return "; it is fixed at creation" if self.setting == PARTITIONS else ""


async def topic_faults(settings: Settings) -> list[TopicFault]:
    """Everything about topics that is not as it should be; nothing is changed. Errors: DependencyUnreachable."""
    wanted = {settings.topic(topic): topic for topic in TOPICS}
    async with open_admin(settings) as admin:
        found = await _partitions(admin, wanted)
        missing = [
            TopicFault(name, PARTITIONS, None, str(wanted[name].partition_count(settings.partitions))) for name in wanted.keys() - found
        ]
        present = {name: topic for name, topic in wanted.items() if name in found}
        return missing + (await _faults(admin, settings, present, found) if present else [])


async def _faults(admin: AIOKafkaAdminClient, settings: Settings, wanted: dict[str, Topic], found: dict[str, int]) -> list[TopicFault]:
    return [*_wrong_partitions(settings, wanted, found), *_wrong_settings(wanted, await _settings(admin, wanted))]


async def delete_topics(settings: Settings, topics: Iterable[Topic] = TOPICS) -> None:
    """Remove topics with everything in them, if they exist: `demo --reset` and tests."""
    async with open_admin(settings) as admin:
        names = [settings.topic(topic) for topic in topics]
        await admin.delete_topics(names)
        until = time.monotonic() + VISIBLE_S
        while left := await _partitions(admin, names):
            if time.monotonic() > until:
                raise DependencyUnreachable(f"Topic {min(left)} is still there {VISIBLE_S} s after it was deleted.")
            await asyncio.sleep(0.02)


@asynccontextmanager
async def open_admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client for the time of the block. Errors: DependencyUnreachable."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka, request_timeout_ms=15_000)
    try:
        with asking(settings):
            await admin.start()  # type: ignore[no-untyped-call]
            yield admin
    finally:
        await admin.close()  # type: ignore[no-untyped-call]


async def _partitions(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    """Partition counts of those topics that exist and whose every partition has a leader."""
    described = await admin.describe_topics(list(names))
    led = [topic for topic in described if topic["error_code"] == 0 and all(p["error_code"] == 0 for p in topic["partitions"])]
    return {topic["topic"]: len(topic["partitions"]) for topic in led}


async def _all_visible(admin: AIOKafkaAdminClient, wanted: dict[str, Topic]) -> dict[str, int]:
    """A created topic is known to the controller first and to the brokers a moment later."""
    until = time.monotonic() + VISIBLE_S
    while wanted.keys() - (found := await _partitions(admin, wanted)).keys():
        if time.monotonic() > until:
            raise DependencyUnreachable(f"Topic {min(wanted.keys() - found.keys())} was created but has no leader after {VISIBLE_S} s.")
        await asyncio.sleep(0.02)
    return found


async def _create(admin: AIOKafkaAdminClient, settings: Settings, missing: dict[str, Topic]) -> None:
    new = [
        NewTopic(  # type: ignore[no-untyped-call]
            name, topic.partition_count(settings.partitions), settings.replication_factor, topic_configs=topic.settings()
        )
        for name, topic in missing.items()
    ]
    answer: Any = await admin.create_topics(new)
    for name, code, message in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise ConfigInvalid(f"Topic {name} could not be created: {message or for_code(code).__name__}.")


async def _settings(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]  # type: ignore[no-untyped-call]
    answers: list[Any] = await admin.describe_configs(asked)
    resources: list[Any] = [resource for answer in answers for resource in answer.resources]
    for code, message, _, name, _ in resources:
        if code != 0:
            raise DependencyUnreachable(f"Kafka did not tell the settings of topic {name}: {message or for_code(code).__name__}.")
    return {name: {entry[0]: entry[1] for entry in entries} for _, _, _, name, entries in resources}


def _wrong_partitions(settings: Settings, wanted: dict[str, Topic], found: dict[str, int]) -> Iterator[TopicFault]:
    for name, topic in wanted.items():
        expected = topic.partition_count(settings.partitions)
        # Detectors own the signals topic and may have made it with any number of partitions.
        if topic is not SIGNALS and found[name] != expected:
            yield TopicFault(name, PARTITIONS, str(found[name]), str(expected))


def _wrong_settings(wanted: dict[str, Topic], found: dict[str, dict[str, str]]) -> Iterator[TopicFault]:
    for name, topic in wanted.items():
        for setting, expected in topic.settings().items():
            actual = found[name].get(setting)
            if actual != expected:
                yield TopicFault(name, setting, actual or "not set", expected)
