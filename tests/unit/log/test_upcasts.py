"""Old versions are brought up to date while they are read, by the codec and by the library's mapper alike."""

from __future__ import annotations

from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import resolve_topic

from engine.domain.events import SignalExpired
from engine.errors import LogCorrupt
from engine.log.codec import decode_event, encode
from engine.log.mapper import EVENT_TYPES, ShardMapper
from tests.unit.log.samples import sample

OLD = b'{"t":"SignalExpired.v-1","o":"shard-0","v":7,"signal":"s1"}'


def _renamed(raw: dict[str, Any]) -> dict[str, Any]:
    return {"t": "SignalExpired.v0", "o": raw["o"], "v": raw["v"], "signal_id": raw["signal"]}


def _newest(raw: dict[str, Any]) -> dict[str, Any]:
    return raw | {"t": "SignalExpired.v1", "at": 5}


STEPS = {"SignalExpired.v-1": _renamed, "SignalExpired.v0": _newest}
EXPECTED = SignalExpired(originator_id="shard-0", originator_version=7, at=5, signal_id="s1")


def test_steps_are_applied_one_after_the_other() -> None:
    assert decode_event(OLD, STEPS) == EXPECTED


def test_the_mapper_applies_them_too() -> None:
    stored = StoredEvent("shard-0", 7, "SignalExpired.v-1", OLD)
    assert ShardMapper(STEPS).to_domain_event(stored) == EXPECTED


def test_an_event_that_nobody_knows_is_a_corrupt_log() -> None:
    with pytest.raises(LogCorrupt, match="cannot be read"):
        decode_event(OLD)


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=lambda kind: kind.__name__)
def test_the_mapper_keeps_events_as_they_are(kind: type[Any]) -> None:
    event, mapper = sample(kind), ShardMapper()
    stored = mapper.to_stored_event(event)
    assert stored.topic == kind.__struct_config__.tag
    assert resolve_topic(stored.topic) is kind
    assert stored.state == encode(event)
    assert mapper.to_domain_event(stored) == event
