"""How other parts read the tables: a pool of connections, named statements, lists by filters.

Enters: names of `queries.sql` and values. Leaves: rows as dictionaries. Errors: DependencyUnreachable when Postgres does not answer
in time, ValueRefused when it cannot take a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from engine.config import Settings
from engine.errors import DependencyUnreachable, RemoraError
from projections.queries import listing, query

Row = dict[str, Any]
WAIT_S: Final = 5.0
"""Longest wait for a connection."""
STATEMENT_MS: Final = 10_000


class ValueRefused(RemoraError):
    """No column can hold a value of the question, for example a text with a NUL."""


class ReadModels:
    """A pool, open within `async with`. Sessions read in UTC and never longer than `STATEMENT_MS`."""

    def __init__(self, settings: Settings, wait_s: float = WAIT_S) -> None:
        self._pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
            settings.database_url.get_secret_value(),
            connection_class=AsyncConnection[DictRow],
            kwargs={"row_factory": dict_row, "autocommit": True, "options": f"-c timezone=UTC -c statement_timeout={STATEMENT_MS}"},
            min_size=2,
            max_size=10,
            timeout=wait_s,
            open=False,
        )

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._pool.close()

    async def rows(self, name: str, **parameters: Any) -> list[Row]:
        """All rows of a named statement."""
        return await self.fetch(query(name), parameters)

    async def row(self, name: str, **parameters: Any) -> Row | None:
        """The first row of a named statement, if there is one."""
        found = await self.rows(name, **parameters)
        return found[0] if found else None

    async def listed(self, name: str, filters: Mapping[str, Any], before: tuple[Any, ...] | None, limit: int) -> list[Row]:
        """The rows of a list that pass its filters, behind the sort values `before`."""
        return await self.fetch(*listing(name, filters, before, limit))

    async def fetch(self, statement: LiteralString, parameters: Mapping[str, Any]) -> list[Row]:
        """All rows of a statement of ours."""
        try:
            async with self._pool.connection() as connection:
                return await (await connection.execute(statement, parameters)).fetchall()
        except psycopg.DataError as error:
            raise ValueRefused(str(error).splitlines()[0]) from error
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise DependencyUnreachable(f"Postgres did not answer: {error}") from error
