"""The library's own cases, unmodified, against our recorder on the real broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from eventsourcing.persistence import AggregateRecorder, IntegrityError, StoredEvent
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)

from engine.config import Settings
from engine.log.recorder import KafkaAggregateRecorder, KafkaShardRecorder
from engine.log.store import StoreLoop
from engine.log.topics import ensure_topics
from engine.topology import EVENTS


class _OnTheBroker:
    """Gives each case a fresh log of one shard."""

    made: list[KafkaAggregateRecorder]
    settings: Settings
    kafka: str

    @pytest.fixture(autouse=True)
    def _recorders(self, kafka: str) -> Iterator[None]:
        self.kafka, self.made = kafka, []
        yield
        for recorder in self.made:
            recorder.close()

    def open(self, kind: type[KafkaAggregateRecorder]) -> KafkaAggregateRecorder:
        settings = self.settings = Settings(kafka=self.kafka, topic_prefix=f"recorder-{uuid.uuid4().hex[:8]}.", partitions=1)
        loop = StoreLoop()
        loop.run(ensure_topics(settings, [EVENTS]))
        loop.close()
        self.made.append(kind(settings, 0))
        return self.made[-1]


class TestAggregateRecorder(_OnTheBroker, AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return self.open(KafkaAggregateRecorder)


class TestApplicationRecorder(_OnTheBroker, ApplicationRecorderTestCase[KafkaShardRecorder]):
    def create_recorder(self) -> KafkaShardRecorder:
        recorder = self.open(KafkaShardRecorder)
        assert isinstance(recorder, KafkaShardRecorder)
        return recorder

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNotificationIds(_OnTheBroker, NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> KafkaShardRecorder:
        recorder = self.open(KafkaShardRecorder)
        assert isinstance(recorder, KafkaShardRecorder)
        return recorder


class TestTwoRecorders(_OnTheBroker):
    def test_a_version_that_another_wrote_meanwhile_is_a_clash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The other one writes when the first has taken in the log and is about to claim it."""
        first = self.open(KafkaShardRecorder)
        assert isinstance(first, KafkaShardRecorder)
        second = KafkaShardRecorder(self.settings, 0)
        self.made.append(second)
        claim = first._store._writer.claim

        async def late(owner: str) -> int:
            await asyncio.to_thread(second.insert_events, [StoredEvent("anna", 1, "Second", b"{}")])
            return await claim(owner)

        monkeypatch.setattr(first._store._writer, "claim", late)
        with pytest.raises(IntegrityError):
            first.insert_events([StoredEvent("anna", 1, "First", b"{}")])
        assert [event.topic for event in second.select_events("anna")] == ["Second"]
