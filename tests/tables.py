"""Read models without a broker, for tests: rounds are made here and handed to the projector's own store, on a real Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from engine.domain.events import AnyEvent, RoundCommitted
from engine.log.codec import encode, encode_event
from engine.log.reader import AcceptedRound, Position
from engine.topology import EVENTS, EXECUTIONS
from projections.batch import Poison
from projections.executions import ExecutionLane
from projections.migrate import upgrade
from projections.queries import query
from projections.store import Store, Work, step_of
from tests.logbook import START_MS


@contextmanager
def template(postgres: str) -> Iterator[str]:
    """The name of a migrated database that others are copied from: a tenth of the time of migrating each."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        upgrade(in_database(postgres, name))
        yield name
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def copy_of(postgres: str, source: str) -> Iterator[str]:
    """URL of a fresh copy of a database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source)))
        yield in_database(postgres, name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def in_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


class Record:
    """What a lane needs of a Kafka record."""

    def __init__(self, offset: int, value: bytes) -> None:
        self.offset, self.value, self.key, self.timestamp = offset, value, b"x", START_MS


class Tables:
    """A store with a log of its own in memory. `tell` is one round of one shard, projected at once."""

    def __init__(self, dsn: str, shards: int = 2) -> None:
        self.dsn, self.shards = dsn, shards
        self.store = Store(dsn, shards, EVENTS.name, EXECUTIONS.name)
        self.store.acquire(range(shards))
        self.positions = {shard: Position() for shard in range(shards)}
        self.lanes = {shard: ExecutionLane(shard, Position()) for shard in range(shards)}
        self.buried: list[tuple[str, Poison]] = []
        self.executed = dict.fromkeys(range(shards), 0)

    def close(self) -> None:
        """End the session."""
        self.store.close()

    def round(self, shard: int, *told: AnyEvent, extra: Sequence[bytes] = ()) -> AcceptedRound:
        """The next round of a shard (not projected)."""
        begin = self.positions[shard].next_offset
        keyed = [encode_event(event) for event in told] + [(b"poison", value) for value in extra]
        events = [(begin + number, key, value, START_MS) for number, (key, value) in enumerate(keyed)]
        marker = RoundCommitted(
            epoch=0,
            inbox_from=begin,
            inbox_to=begin + 1,
            sources={"s/0": begin + 1},
            events=len(events),
            first_id=1,
            digest="",
            logic_version=1,
            commands_through=0,
            commands_total=0,
            now=max((event.at for event in told), default=START_MS),
        )
        return AcceptedRound(shard, 0, marker, begin + len(events), events)

    def tell(self, shard: int, *told: AnyEvent, extra: Sequence[bytes] = ()) -> None:
        """One round, projected."""
        self.write(self.round(shard, *told, extra=extra))

    def write(self, round_: AcceptedRound, lanes: Sequence[ExecutionLane] = ()) -> None:
        """Project one round and move the shard's position behind it."""
        batch = self.store.batch()
        batch.add(round_)
        before, after = self.positions[round_.shard], Position(next_offset=round_.marker_offset + 1, epoch=0)
        step = step_of(EVENTS.name, round_.shard, before.next_offset, after, round_)
        self.store.apply(Work(batch, [step], [[round_]]), lanes, self.bury)
        self.positions[round_.shard] = after

    def execute(self, shard: int, *bodies: Any) -> None:
        """Records on the shard's executions, projected as far as their orders are known."""
        lane = self.lanes[shard]
        for body in bodies:
            lane.arrive([Record(self.executed[shard], encode(body))])
            self.executed[shard] += 1
        self.store.apply(Work(self.store.batch(), [], []), [lane], self.bury)

    def bury(self, topic: str, poison: Sequence[Poison]) -> None:
        """Remember what was left out."""
        self.buried += [(topic, each) for each in poison]

    def rows(self, statement: LiteralString, *parameters: Any) -> list[dict[str, Any]]:
        """Rows as dictionaries, read on a connection of their own."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute(statement, parameters or None).fetchall()

    def row(self, statement: LiteralString, *parameters: Any) -> dict[str, Any]:
        """The only row."""
        found = self.rows(statement, *parameters)
        assert len(found) == 1, found
        return found[0]

    def query(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """A named query's rows."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute(query(name), parameters).fetchall()
