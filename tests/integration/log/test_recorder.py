"""The library's own cases, unmodified, against our recorder on the real broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from eventsourcing.persistence import AggregateRecorder
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
    kafka: str

    @pytest.fixture(autouse=True)
    def _recorders(self, kafka: str) -> Iterator[None]:
        self.kafka, self.made = kafka, []
        yield
        for recorder in self.made:
            recorder.close()

    def open(self, kind: type[KafkaAggregateRecorder]) -> KafkaAggregateRecorder:
        settings = Settings(kafka=self.kafka, topic_prefix=f"recorder-{uuid.uuid4().hex[:8]}.", partitions=1)
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
