"""What the recorder puts in a record: our events as they are, anything else in an envelope."""

from __future__ import annotations

from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent

from engine.domain.events import SignalExpired
from engine.log.mapper import ShardMapper
from engine.log.store import from_value, to_value


def test_an_event_of_ours_is_stored_as_the_engine_stores_it() -> None:
    stored = ShardMapper().to_stored_event(SignalExpired(originator_id="shard-0", originator_version=3, signal_id="s"))
    assert to_value(stored) == stored.state
    assert from_value(stored.state) == stored


@pytest.mark.parametrize("state", [b"state", b"{}", b'{"o":"x","v":1,"t":"other"}'])
def test_anything_else_comes_back_as_it_went_in(state: bytes) -> None:
    for originator_id in (uuid4(), "text"):
        stored = StoredEvent(originator_id, 1, "topic", state)
        assert from_value(to_value(stored)) == stored
