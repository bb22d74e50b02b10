"""An app with rows of two followers and a key of every kind, for tests that ask it everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from api.app import build
from engine.config import Settings
from projections.access import SCOPES, AccessStore, Scope
from tests.logbook import admitted, configured, copied, decided, ended, followed, order, signal
from tests.tables import Tables, copy_of

Route = tuple[str, str]
MINE: list[Scope] = ["read", "follow", "trade"]


@dataclass
class World:
    """`keys`: kind of caller to its secret. `ids`: what stands for a path's parameters."""

    app: FastAPI
    http: httpx.AsyncClient
    keys: dict[str, str]
    ids: dict[str, str]

    async def ask(self, who: str | None, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; `who` is a kind of key, or None."""
        headers = {"Authorization": f"Bearer {self.keys[who]}"} if who else {}
        return await self.http.request(method, path, headers=headers | options.pop("headers", {}), **options)


def fill(tables: Tables) -> dict[str, str]:
    """A copy of one signal by f and one by g."""
    told = signal("s-1")
    orders = {name: order(name, told.signal_id) for name in ("f", "g")}
    for name in orders:
        tables.tell(0, configured(name), followed(name))
    copies = [copied(name, placed, signal_id=told.signal_id) for name, placed in orders.items()]
    ends = [ended(placed) for placed in orders.values()]
    tables.tell(0, admitted(0, told, 0), *copies, decided(0, told.signal_id, followers=2, copied=2), *ends)
    tables.tell(1, admitted(1, told, 0), decided(1, told.signal_id))
    tables.store.note_lag([(f"follower.events.v1[{shard}]", 9, 0.0) for shard in (0, 1)])
    return {"signal_id": "s-1", "follower_id": "f", "whale_id": "whale-a", "command_id": orders["f"].command_id}


@asynccontextmanager
async def opened(settings: Settings, tables: Tables) -> AsyncIterator[World]:
    """The world on these tables."""
    ids = fill(tables)
    app = build(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        world = World(app, http, await make_keys(app.state.guard.store), ids)
        lots = (await world.ask("read", "GET", "/v1/positions", params={"follower": "f"})).json()["items"]
        ids["position_id"] = lots[0]["id"]
        yield world


@asynccontextmanager
async def alone(postgres: str, empty_tables: str, **settings: Any) -> AsyncIterator[World]:
    """The world on tables of its own, without a broker."""
    with copy_of(postgres, empty_tables) as url:
        tables, facts = Tables(url), {"database_url": url, "partitions": 2, "kafka": "127.0.0.1:1"}
        async with opened(Settings(**(facts | settings)), tables) as world:
            yield world
        tables.close()


async def make_keys(store: AccessStore) -> dict[str, str]:
    """A key of every kind."""
    made = {scope: await store.add_key(scope, [scope]) for scope in SCOPES}
    made["own"] = await store.add_key("of f", MINE, "f")
    made["other"] = await store.add_key("of g", MINE, "g")
    made["expired"] = await store.add_key("expired", ["admin"], expires_at=datetime.now(UTC) - timedelta(seconds=1))
    made["revoked"] = await store.add_key("revoked", ["admin"])
    await store.revoke(made["revoked"].row["key_id"])
    keys = {kind: key.secret.get_secret_value() for kind, key in made.items()}
    return keys | {"wrong": keys["admin"][:-1] + ("A" if keys["admin"][-1] != "A" else "B"), "garbage": "x"}


def routes(app: FastAPI) -> Iterator[Route]:
    """Method and path of everything that the app answers."""

    def walk(found: Any) -> Iterator[Route]:
        for route in found:
            if hasattr(route, "original_router"):
                yield from walk(route.original_router.routes)
            elif methods := getattr(route, "methods", None):
                yield from ((method, route.path) for method in methods if method != "HEAD")
            else:
                yield "GET", f"{route.path}/"

    return walk(app.routes)
