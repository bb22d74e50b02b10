"""The API on a real Postgres, called in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI

from api.app import build
from engine.config import Settings
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


@pytest.fixture
def app(tables: Tables) -> FastAPI:
    """The app on these tables; there is no broker."""
    return build(Settings(database_url=tables.dsn, partitions=2, kafka="127.0.0.1:1"))  # type: ignore[arg-type]


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


@pytest.fixture
async def http(app: FastAPI, stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client whose key may do everything."""
    made = await app.state.guard.store.add_key("tests", ["admin"])
    stranger.headers["Authorization"] = f"Bearer {made.secret.get_secret_value()}"
    return stranger
