"""The topics of the map on a real broker: made once, held against the map afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from engine.errors import ConfigInvalid, DependencyUnreachable
from engine.log.topics import delete_topics, ensure_topics
from engine.topology import EVENTS, SIGNALS, SNAPSHOTS, TOPICS
from tests.conftest import SettingsFactory


async def test_made_once(settings: SettingsFactory) -> None:
    assert await ensure_topics(settings()) == [settings().topic(topic) for topic in TOPICS]
    assert await ensure_topics(settings()) == []


async def test_many_processes_at_once(settings: SettingsFactory) -> None:
    await asyncio.gather(*(ensure_topics(settings()) for _ in range(4)))
    assert await ensure_topics(settings()) == []


async def test_another_partition_count_is_refused(settings: SettingsFactory) -> None:
    await ensure_topics(settings(partitions=4), [EVENTS])
    name = settings().topic(EVENTS)
    with pytest.raises(ConfigInvalid, match=f"^Topic {name}: partitions is 4, expected 8; it is fixed at creation.$"):
        await ensure_topics(settings(partitions=8), [EVENTS])


async def test_detectors_choose_the_partitions_of_their_topic(settings: SettingsFactory) -> None:
    await ensure_topics(settings(), [replace(SIGNALS, partitions=3)])
    assert await ensure_topics(settings(), [SIGNALS]) == []


async def test_another_setting_is_refused(settings: SettingsFactory) -> None:
    await ensure_topics(settings(), [replace(SNAPSHOTS, config={})])
    name = settings().topic(SNAPSHOTS)
    with pytest.raises(ConfigInvalid, match=rf"^Topic {name}: cleanup\.policy is delete, expected compact\.$"):
        await ensure_topics(settings(), [SNAPSHOTS])


async def test_a_topic_that_the_broker_refuses(settings: SettingsFactory) -> None:
    with pytest.raises(ConfigInvalid, match=r"could not be created: .*replication"):
        await ensure_topics(settings(replication_factor=3), [EVENTS])


async def test_deleted_is_gone_when_the_call_returns(settings: SettingsFactory) -> None:
    await ensure_topics(settings(), [EVENTS])
    await delete_topics(settings(), [EVENTS])
    assert await ensure_topics(settings(), [EVENTS]) == [settings().topic(EVENTS)]


async def test_no_broker(settings: SettingsFactory) -> None:
    with pytest.raises(DependencyUnreachable, match=r"^Kafka at 127\.0\.0\.1:1 did not answer: "):
        await ensure_topics(settings(kafka="127.0.0.1:1"))
