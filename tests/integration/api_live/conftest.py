"""The live feed as clients have it: a log written by hand on a real broker, a real Postgres, the API behind a real uvicorn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from api.app import Server, _listen
from engine.config import Settings
from engine.log.topics import ensure_topics
from projections.access import AccessStore, Scope
from projections.reads import ReadModels
from tests.conftest import SettingsFactory
from tests.logbook import Logbook
from tests.support import wait_until
from tests.tables import copy_of, template

SHARDS = 2
DEADLINE_S = 20.0


@dataclass
class Event:
    """One event of a stream. `id` is empty when the frame had none."""

    kind: str
    data: Any
    id: str


class Stream:
    """What a client has received so far. `last_id` is what a browser would come back with."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.events: list[Event] = []
        self.beats = 0
        self.last_id = ""
        self.over = False
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        frame: dict[str, str] = {}
        async for line in self.answer.aiter_lines():
            if line.startswith(":"):
                self.beats += 1
            elif line:
                name, _, value = line.partition(": ")
                frame[name] = value
            else:
                self.last_id = frame.get("id", self.last_id)
                if "event" in frame:
                    self.events.append(Event(frame["event"], json.loads(frame["data"]), frame.get("id", "")))
                frame = {}
        self.over = True

    def of(self, *kinds: str) -> list[Event]:
        """The events of some types."""
        return [event for event in self.events if event.kind in kinds]

    async def until(self, holds: Callable[[Stream], object], what: str = "") -> None:
        """Wait for a condition."""
        await wait_until(lambda: holds(self), DEADLINE_S, what or f"of {[event.kind for event in self.events]}")

    async def close(self) -> None:
        """Go away."""
        self._task.cancel()
        with suppress(asyncio.CancelledError, httpx.HTTPError):
            await self._task


@dataclass
class Api:
    """A running server."""

    server: Server
    port: int
    keys: dict[str, str]

    @property
    def live(self) -> Any:
        """The process's live feed."""
        return self.server.config.app.state.live  # type: ignore[union-attr]

    def headers(self, key: str = "admin") -> dict[str, str]:
        """Who asks."""
        return {"Authorization": f"Bearer {self.keys[key]}"}

    @asynccontextmanager
    async def stream(self, key: str = "admin", last_id: str = "", **query: Any) -> AsyncIterator[Stream]:
        """A client of the feed."""
        headers = self.headers(key) | ({"Last-Event-ID": last_id} if last_id else {})
        url = f"http://127.0.0.1:{self.port}/v1/live"
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("GET", url, headers=headers, params=query) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            stream = Stream(answer)
            try:
                await stream.until(lambda found: found.of("ready"))
                yield stream
            finally:
                await stream.close()

    async def get(self, path: str, key: str = "admin", **query: Any) -> httpx.Response:
        """One answer."""
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.get(f"http://127.0.0.1:{self.port}{path}", headers=self.headers(key), params=query)


@dataclass
class Rig:
    """A log, a database, and servers over them. `keys`: `admin` sees all, `f` and `g` are keys of these followers."""

    settings: Settings
    log: Logbook
    keys: dict[str, str]

    @asynccontextmanager
    async def _serving(self, **changes: Any) -> AsyncIterator[Api]:
        settings = self.settings.model_copy(update=changes)
        listening = _listen(settings)
        server = Server(settings, listening)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        port = listening.getsockname()[1]
        await wait_until(lambda: server.started, DEADLINE_S)
        try:
            yield Api(server, port, self.keys)
        finally:
            server.should_exit = True
            await serving

    def serving(self, **changes: Any) -> AbstractAsyncContextManager[Api]:
        """A server; it stops behind the block."""
        return self._serving(**changes)

    def execute(self, statement: str, *parameters: Any) -> None:
        """Change the database."""
        with psycopg.connect(self.settings.database_url.get_secret_value(), autocommit=True) as conn:
            conn.execute(statement, parameters)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def empty_tables(postgres: str) -> Iterator[str]:
    """Name of a migrated database, to be copied."""
    with template(postgres) as name:
        yield name


@pytest.fixture
async def rig(postgres: str, empty_tables: str, settings: SettingsFactory) -> AsyncIterator[Rig]:
    """Two shards, nothing in them."""
    with copy_of(postgres, empty_tables) as url:
        made = settings(database_url=url, partitions=SHARDS, api_port=0)
        await ensure_topics(made)
        wanted: dict[str, tuple[list[Scope], str | None]] = {"admin": (["admin"], None), "f": (["read"], "f"), "g": (["read"], "g")}
        async with ReadModels(made) as models:
            store = AccessStore(models)
            keys = {name: (await store.add_key(name, scopes, who)).secret.get_secret_value() for name, (scopes, who) in wanted.items()}
        async with Logbook(made) as log:
            yield Rig(made, log, keys)


@pytest.fixture
async def api(rig: Rig) -> AsyncIterator[Api]:
    """A server over the rig."""
    async with rig.serving() as made:
        yield made
