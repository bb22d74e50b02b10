"""Read models on an empty, migrated Postgres."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tables import Tables, copy_of, template


@pytest.fixture(scope="session")
def empty_tables(postgres: str) -> Iterator[str]:
    """Name of a migrated database, to be copied."""
    with template(postgres) as name:
        yield name


@pytest.fixture
def tables(postgres: str, empty_tables: str) -> Iterator[Tables]:
    """Two shards."""
    with copy_of(postgres, empty_tables) as url:
        found = Tables(url)
        yield found
        found.close()
