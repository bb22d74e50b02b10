"""Our events for the `eventsourcing` library: its `Mapper` over msgspec JSON, and the follower as its aggregate.

Enters: events of `engine.domain.events`, or the library's stored events. Leaves: the other of the two. An event's topic is its
JSON tag with the schema version (`CopyDecided.v1`), never a Python path; old versions are brought up to date while they are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

from eventsourcing.application import Repository
from eventsourcing.persistence import AggregateRecorder, EventStore, Mapper, StoredEvent
from eventsourcing.utils import register_topic

from engine.domain.events import AnyEvent, FollowerEvent
from engine.domain.shard import evolve, new_state
from engine.domain.state import FollowerState, ShardState
from engine.log.codec import decode_event, encode
from engine.log.upcasts import UPCASTS, Upcasts

EVENT_TYPES: Final[dict[str, type[Any]]] = {kind.__struct_config__.tag: kind for kind in get_args(AnyEvent)}
"""Every event of the store by its topic."""

for _topic, _kind in EVENT_TYPES.items():
    register_topic(_topic, _kind)


class ShardMapper(Mapper[str]):
    """Stored state is exactly the value of the event's record on the log."""

    def __init__(self, upcasts: Upcasts = UPCASTS) -> None:
        self._upcasts = upcasts

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """An event of ours as the library's stored event."""
        topic = type(domain_event).__struct_config__.tag
        assert topic in EVENT_TYPES
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, topic, encode(domain_event))

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The event, in its newest version."""
        return decode_event(stored_event.state, self._upcasts)


@dataclass(slots=True)
class Follower:
    """One follower at one version, folded from its own events alone."""

    id: str
    version: int = 0
    _shard: ShardState = field(default_factory=lambda: new_state(0, 1), repr=False)

    @property
    def state(self) -> FollowerState:
        """What the domain knows of the follower."""
        return self._shard.followers[self.id]


def project_follower(initial: Follower | None, events: Iterable[FollowerEvent]) -> Follower | None:
    """The library's projector function: fold events with the domain's own `evolve`."""
    follower = initial
    for event in events:
        follower = follower or Follower(event.originator_id)
        follower._shard.now = max(follower._shard.now, event.at)
        evolve(follower._shard, event)
        follower.version = event.originator_version
    return follower


class FollowerRepository(Repository[str]):
    """`get(follower_id, version=n)`: the follower as it was, or as it is without a version."""

    def __init__(self, recorder: AggregateRecorder) -> None:
        super().__init__(EventStore(ShardMapper(), recorder))

    def get(self, aggregate_id: str, **options: Any) -> Follower:  # type: ignore[override]
        """As the library's, with our projector function as the default."""
        return cast(Follower, super().get(aggregate_id, **({"projector_func": project_follower} | options)))
