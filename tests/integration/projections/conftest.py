"""A world of four shards with nothing in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from engine.log.topics import ensure_topics
from engine.topology import DEAD, EVENTS, EXECUTIONS, MARKET_REPORTS
from tests.conftest import SettingsFactory
from tests.logbook import Logbook
from tests.tables import copy_of, template
from tests.world import World

READ = (EVENTS, EXECUTIONS, MARKET_REPORTS)


@pytest.fixture(scope="session")
def empty_tables(postgres: str) -> Iterator[str]:
    """Name of a migrated database, to be copied."""
    with template(postgres) as name:
        yield name


@pytest.fixture
async def world(settings: SettingsFactory, postgres: str, empty_tables: str) -> AsyncIterator[World]:
    """Four shards, nothing in them."""
    with copy_of(postgres, empty_tables) as url:
        found = settings(database_url=url)
        await ensure_topics(found, (*READ, *(DEAD[topic.name] for topic in READ)))
        async with Logbook(found) as book:
            yield World(found, book)
