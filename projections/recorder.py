"""How far each partition has been projected: the library's tracking recorder on our `projection_positions`.

A position moves in the transaction of the rows, and only from where its batch was read: whoever finds another value there was
overtaken by another projector, gets `IntegrityError` and rolls back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from eventsourcing.persistence import IntegrityError, Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder

from engine.log.reader import Position
from projections.sql import load
from projections.staging import Curs, when_known

TABLE: Final = "projection_positions"


@dataclass(frozen=True, slots=True)
class Advance:
    """One partition's step: from the offset that was read from, to a position. `event_at` is shard time in ms, 0: no event."""

    topic: str
    partition: int
    read_from: int
    position: Position
    sources: str | None = None
    event_at: int = 0

    @property
    def application_name(self) -> str:
        """What the library calls the source: topic and partition."""
        return application_name(self.topic, self.partition)


def application_name(topic: str, partition: int) -> str:
    """`follower.events.v1[3]`."""
    return f"{topic}[{partition}]"


def datastore(dsn: str, schema: str = "public") -> PostgresDatastore:
    """The library's pool (opened at first use) for a URL."""
    parts = urlsplit(dsn)
    return PostgresDatastore(
        dbname=parts.path.lstrip("/"),
        host=parts.hostname or "",
        port=parts.port or 5432,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=schema,
    )


class PositionRecorder(PostgresTrackingRecorder):
    """The table is made by our migrations; the library's own statements work on it, since its two columns come first."""

    def __init__(self, store: PostgresDatastore, **options: Any) -> None:
        super().__init__(store, tracking_table_name=TABLE, **options)

    def begin(self, cursor: Curs, steps: list[Advance]) -> None:
        """Hold these positions for the rest of the caller's transaction, if they stand where the batch was read from."""
        names = sorted(step.application_name for step in steps)
        cursor.execute(load("merges.sql")["lock_positions"], [names])
        stand: dict[str, int] = dict(cursor.fetchall())
        for step in steps:
            if stand.get(step.application_name) != step.read_from:
                found = stand.get(step.application_name)
                raise IntegrityError(f"{step.application_name} stands at {found}, the batch was read from {step.read_from}")

    def advance(self, cursor: Curs, steps: list[Advance]) -> None:
        """Move positions that were begun, in the caller's transaction."""
        for step in steps:
            self._insert_tracking(cursor, Tracking(step.application_name, step.position.next_offset))  # type: ignore[arg-type]
            cursor.execute(load("merges.sql")["advance_position"], _details(step))


def _details(step: Advance) -> dict[str, object]:
    position = step.position
    return {
        "application_name": step.application_name,
        "notification_id": position.next_offset,
        "topic": step.topic,
        "partition": step.partition,
        "epoch": position.epoch,
        "inbox_position": position.inbox_position,
        "digest": position.digest,
        "next_id": position.next_id,
        "sources": step.sources,
        "event_at": when_known(step.event_at),
    }


def load_stand(cursor: Curs, topics: list[str]) -> dict[str, Position]:
    """The positions of these topics' partitions by application name; partitions that were never projected are missing."""
    cursor.execute(load("merges.sql")["load_positions"], [topics])
    return {
        name: Position(next_offset=offset, epoch=epoch, inbox_position=inbox, digest=digest, next_id=next_id)
        for name, offset, epoch, inbox, digest, next_id in cursor
    }
