"""One shard of the log as the `eventsourcing` library sees it: `KafkaShardRecorder(ApplicationRecorder)`.

Enters: the library's stored events. Leaves: rounds on the log, and what the log holds as stored events and notifications.
Notification ids count the shard's accepted events from 1. For tools and tests: it keeps the shard's events in memory, and an
insert claims the shard, which ends an engine that owns it. The engine itself goes round it (`engine.agents.shard`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    OperationalError,
    StoredEvent,
)

from engine.config import Settings
from engine.log.store import ShardStore, StoreLoop, from_value, to_value

OWNER = "recorder"


class KafkaAggregateRecorder(AggregateRecorder):
    """Events by originator. Use as a context manager, or `close` it."""

    def __init__(self, settings: Settings, shard: int) -> None:
        self._lock = threading.RLock()
        self._loop = StoreLoop()
        self._closed = False
        self._store: ShardStore = self._loop.run(ShardStore.open(settings, shard))

    def close(self) -> None:
        """Let go of the broker."""
        with self._lock:
            self._closed = True
            self._loop.run(self._store.close())
            self._loop.close()

    def __enter__(self) -> KafkaAggregateRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append the events as one round; a version that is not the next raises `IntegrityError` and nothing is written."""
        self._insert(stored_events)
        return None

    def _insert(self, stored_events: Sequence[StoredEvent]) -> list[int]:
        if not stored_events:
            return []
        with self._lock:
            self._refresh()
            self._check_versions(stored_events)
            # Before the shard is ours others may still write to it.
            self._loop.run(self._store.own(OWNER))
            self._check_versions(stored_events)
            first = len(self._store.values) + 1
            records = [(str(event.originator_id).encode(), to_value(event)) for event in stored_events]
            self._loop.run(self._store.append(records))
            self._refresh()
            return list(range(first, first + len(stored_events)))

    def _check_versions(self, stored_events: Sequence[StoredEvent]) -> None:
        newest: dict[str, int] = {}
        for event in stored_events:
            key = str(event.originator_id)
            last = newest.get(key, self._last_version(key))
            if event.originator_version != last + 1 and not (last < 0 and event.originator_version == 1):
                raise IntegrityError(f"{key}: version {event.originator_version} does not follow {last}")
            newest[key] = event.originator_version

    def _last_version(self, key: str) -> int:
        """Version of the originator's newest event, -1 if there is none: the first may be 0 or 1."""
        numbers = self._store.numbers.get(key.encode())
        return from_value(self._store.values[numbers[-1]]).originator_version if numbers else -1

    def _refresh(self) -> None:
        if self._closed:
            raise OperationalError("this recorder is closed")
        self._loop.run(self._store.refresh())

    def select_events(
        self, originator_id: UUID | str, *, gt: int | None = None, lte: int | None = None, desc: bool = False, limit: int | None = None
    ) -> Sequence[StoredEvent]:
        """The originator's events by version."""
        with self._lock:
            self._refresh()
            numbers = self._store.numbers.get(str(originator_id).encode(), [])
            events = [from_value(self._store.values[number]) for number in numbers]
        found = [
            event for event in events if (gt is None or event.originator_version > gt) and (lte is None or event.originator_version <= lte)
        ]
        return (found[::-1] if desc else found)[:limit]


class KafkaShardRecorder(KafkaAggregateRecorder, ApplicationRecorder):
    """Events by originator and in the shard's one order."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """As above; returns the notification ids."""
        return self._insert(stored_events)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """At most `limit` notifications from `start` to `stop`, both inclusive unless told otherwise."""
        first = 1 if start is None else max(1, start if inclusive_of_start else start + 1)
        found: list[Notification] = []
        with self._lock:
            self._refresh()
            last = len(self._store.values) if stop is None else min(stop, len(self._store.values))
            for number in range(first, last + 1):
                event = from_value(self._store.values[number - 1])
                if not topics or event.topic in topics:
                    found.append(Notification(event.originator_id, event.originator_version, event.topic, event.state, id=number))
                if len(found) == limit:
                    break
        return found

    def max_notification_id(self) -> int | None:
        """How many events the shard has accepted; None if there are none."""
        with self._lock:
            self._refresh()
            return len(self._store.values) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> ShardSubscription:
        """Notifications behind `gt`, and those to come, whoever writes them."""
        return ShardSubscription(self, gt, topics)


class ShardSubscription(ListenNotifySubscription[ApplicationRecorder]):
    """Follows the log."""

    def __init__(self, recorder: KafkaShardRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._shard = recorder
        recorder._loop.run(recorder._store.listen(self._has_been_notified.set))

    def stop(self) -> None:
        """End the iteration."""
        super().stop()
        self._shard._loop.run(self._shard._store.unlisten(self._has_been_notified.set))
