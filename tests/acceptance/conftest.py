"""Read models on an empty, migrated Postgres."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from projections.migrate import upgrade
from tests.tables import Tables


@pytest.fixture
def tables(database: str) -> Iterator[Tables]:
    """Two shards."""
    upgrade(database)
    found = Tables(database)
    yield found
    found.close()
