"""The library's own contract for tracking recorders, unmodified, on our table in a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from eventsourcing.persistence import TrackingRecorder
from eventsourcing.postgres import PostgresDatastore
from eventsourcing.tests.persistence import TrackingRecorderTestCase

from projections.recorder import PositionRecorder, datastore
from tests.tables import copy_of


@pytest.fixture(scope="class", autouse=True)
def store(request: pytest.FixtureRequest, postgres: str, empty_tables: str) -> Iterator[None]:
    """A datastore on a fresh database for every case."""
    request.cls.make = lambda: copy_of(postgres, empty_tables)
    yield


class TestPositionRecorder(TrackingRecorderTestCase):
    make: ClassVar[object]
    store: PostgresDatastore

    def setUp(self) -> None:
        database = type(self).make()  # type: ignore[operator]
        self.store = datastore(database.__enter__())
        self.addCleanup(database.__exit__, None, None, None)
        self.addCleanup(self.store.close)

    def create_recorder(self) -> TrackingRecorder:
        return PositionRecorder(self.store)


# The case itself is abstract: only ours is to be collected.
del TrackingRecorderTestCase
