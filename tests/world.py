"""A broker, a migrated database and a log to write, with or without a projector: what tests of the projector stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from engine.config import Settings
from engine.topology import EVENTS
from projections.projector import project
from tests.logbook import Logbook
from tests.support import wait_until


@dataclass
class World:
    """Everything that a test of the projector needs."""

    settings: Settings
    book: Logbook

    @property
    def dsn(self) -> str:
        """The database's URL."""
        return self.settings.database_url.get_secret_value()

    def rows(self, statement: LiteralString, *parameters: Any) -> list[dict[str, Any]]:
        """Rows as dictionaries."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute(statement, parameters or None).fetchall()

    def count(self, table: str) -> int:
        """Rows of the log in a table."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])

    async def caught_up(self, deadline_s: float = 60.0) -> None:
        """Wait until every accepted round that the book wrote is in the tables."""
        await wait_until(self._is_caught_up, deadline_s, "the projector has caught up")

    def _is_caught_up(self) -> bool:
        rows = self.rows("SELECT partition, next_id FROM projection_positions WHERE topic = %s", self.settings.topic(EVENTS))
        stand = {row["partition"]: row["next_id"] for row in rows}
        return all(stand.get(number, 1) == shard.next_id for number, shard in self.book.shards.items())

    @asynccontextmanager
    async def projector(self) -> AsyncIterator[asyncio.Task[None]]:
        """A projector in this process."""
        task = asyncio.create_task(project(self.settings))
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
