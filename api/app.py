"""The API process: HTTP requests enter, answers from the read models leave.

`build(settings)` makes the app (tests use it without a server), `run(settings)` serves it until it is told to stop.
"""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from api import (
    accounts,
    audit,
    dashboard,
    decisions,
    errors,
    followers,
    health,
    metrics,
    openapi,
    positions,
    queue,
    signals,
    switches,
    trades,
    whales,
)
from api.bodies import BoundedBodies
from api.control import Control
from api.ends import LogEnds
from api.live import route as live
from api.live.hub import Live
from api.metrics import Metrics, Timed
from api.reading import Reads
from api.security import Guard, login
from api.writing import Writes
from engine.config import Settings
from engine.errors import ConfigInvalid
from engine.lifecycle import announce_ready
from projections.access import AccessStore
from projections.reads import ReadModels

ROUTERS = (
    signals.router,
    decisions.router,
    trades.router,
    positions.router,
    followers.router,
    accounts.router,
    whales.router,
    queue.router,
    switches.router,
    audit.router,
    health.router,
    live.router,
    metrics.router,
    login.router,
)


def build(settings: Settings, models: ReadModels | None = None) -> FastAPI:
    """The app with all routes. Its pool opens and closes with the app's lifespan."""
    models = models or ReadModels(settings)
    feeds = Live(settings, models)
    ends = LogEnds(settings, feeds.tail.settled)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with models:
            app.state.live.start()
            ends.start()
            try:
                yield
            finally:
                await ends.stop()
                await app.state.live.stop()
                await app.state.writes.close()
                await app.state.control.close()

    app = FastAPI(title="Remora", version="1", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None)
    store = AccessStore(models)
    app.state.settings = settings
    app.state.reads = Reads(settings, models)
    app.state.live = feeds
    app.state.metrics = Metrics(settings, feeds, ends)
    app.state.guard = Guard(settings, store)
    app.state.writes = Writes(settings, store)
    app.state.control = Control(settings)
    app.add_middleware(BoundedBodies)
    app.add_middleware(Timed, metrics=app.state.metrics)
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    openapi.install(app)
    dashboard.install(app)
    return app


class Server(uvicorn.Server):
    """Says that it is ready once it serves."""

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        super().__init__(uvicorn.Config(build(settings), log_level="warning", timeout_graceful_shutdown=5, access_log=False))
        self._settings, self._listening = settings, listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the app, then announce the port."""
        await super().startup(sockets)
        announce_ready(self._settings, "api", port=self._listening.getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams first: connections that are never idle would hold up the stop."""
        live: Live = self.config.app.state.live  # type: ignore[union-attr]
        live.close()
        await super().shutdown(sockets)


async def run(settings: Settings) -> None:
    """Serve on the settings' host and port (0: a free one, told by `announce_ready`)."""
    listening = _listen(settings)
    server = Server(settings, listening)
    # Answers are many objects and no cycles, beside a large app that stays: looking through all of it would hold up every request.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await server.serve(sockets=[listening])


def _listen(settings: Settings) -> socket.socket:
    try:
        return socket.create_server((settings.api_host, settings.api_port), backlog=512)
    except OSError as error:
        raise ConfigInvalid(f"The API cannot listen on {settings.api_host}:{settings.api_port}: {error.strerror}.") from error
