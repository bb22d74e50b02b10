"""Puts a world's stand-ins where the code under test has the real thing, in whatever module it imported it, and takes them out again."""

from __future__ import annotations

import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

import engine
from engine import fate
from engine.agents import app as agents_app
from engine.agents import engine as engine_agent
from engine.config import Settings
from engine.domain.values import VENUES
from engine.exchanges import session, venues, wire
from engine.executor import accounts
from engine.log import consume, fetch, topics
from tests.chaos.sim import app as faust_app
from tests.chaos.sim.accounts import directory
from tests.chaos.sim.consumers import AdminClient, GroupConsumer, PlainConsumer
from tests.chaos.sim.log import Producer
from tests.chaos.sim.loop import PROCESS, VirtualClock, die
from tests.chaos.sim.venue import VirtualVenue
from tests.chaos.sim.world import World

UNDER_TEST = ("engine.agents", "engine.executor", "engine.log")
REAL: dict[str, Any] = {
    "time": time,
    "die": fate.die,
    "now_ms": wire.now_ms,
    "producer": AIOKafkaProducer,
    "consumer": AIOKafkaConsumer,
    "admin": AIOKafkaAdminClient,
    "fetch_range": fetch.fetch_range,
    "open_net": session.open_net,
    "open_venues": venues.open_venues,
    "load_master_key": accounts.load_master_key,
    "directory": accounts.Directory,
    "build_app": agents_app.build_app,
    "consume": agents_app.consume,
    "run_worker": agents_app.run_worker,
    "ensure_topics": topics.ensure_topics,
    "engine": engine_agent.Engine,
}


def _places() -> list[tuple[Any, str, str]]:
    """Every (module, name, what) of the code under test that is one of the real things."""
    for found in pkgutil.walk_packages(engine.__path__, "engine."):
        if found.name.startswith(UNDER_TEST):
            import_module(found.name)
    names = {id(value): what for what, value in REAL.items()}
    return [
        (module, name, names[id(value)])
        for label, module in sorted(sys.modules.items())
        if label.startswith(UNDER_TEST)
        for name, value in list(vars(module).items())
        if id(value) in names
    ]


PLACES = _places()


class _Net:
    async def close(self) -> None:
        """No session."""


def _standins(world: World) -> dict[str, Any]:
    broker = world.broker

    async def run_worker(app: Any, settings: Settings, role: str) -> None:
        process = PROCESS.get()
        assert process is not None
        world.apps[process] = app
        await app.run(broker)

    async def no_topics(settings: Settings) -> None:
        del settings

    def build_app(
        settings: Settings, role: str, positions: Any, *, one_by_one: bool = False, assigned: Any = None, revoked: Any = None
    ) -> faust_app.App:
        return faust_app.App(settings, role, positions, one_by_one, assigned, revoked)

    return {
        "time": VirtualClock(world.loop),
        "die": die,
        "now_ms": world.loop.now_ms,
        "producer": lambda **_: Producer(broker, world.plan.batch),
        "consumer": lambda **options: GroupConsumer(broker, **options) if options.get("group_id") else PlainConsumer(broker),
        "admin": lambda **_: AdminClient(broker),
        # The quick way of reading goes below the consumer; its own tests hold it to the same promise.
        "fetch_range": consume.read_range,
        "open_net": lambda _: _Net(),
        "open_venues": lambda *_: {venue: VirtualVenue(venue, world.book) for venue in VENUES},
        "load_master_key": lambda _: None,
        "directory": directory(world.accounts),
        "build_app": build_app,
        "consume": faust_app.consume,
        "run_worker": run_worker,
        "ensure_topics": no_topics,
        "engine": _noting(world, REAL["engine"]),
    }


def _noting(world: World, made: Callable[..., Any]) -> Callable[..., Any]:
    def make(*args: Any) -> Any:
        process = PROCESS.get()
        assert process is not None
        world.engines[process] = built = made(*args)
        return built

    return make


@contextmanager
def open_world(seed: int) -> Iterator[World]:
    """A world with its stand-ins in place."""
    world = World(seed)
    for (module, name, what), value in _chosen(_standins(world)):
        assert getattr(module, name) is REAL[what], f"{module.__name__}.{name} is not what it was"
        setattr(module, name, value)
    try:
        yield world
    finally:
        world.frozen = True
        world.loop.dispose(world.contexts)
        for module, name, what in PLACES:
            setattr(module, name, REAL[what])


def _chosen(standins: dict[str, Any]) -> Iterator[tuple[tuple[Any, str, str], Any]]:
    return ((place, standins[place[2]]) for place in PLACES)
