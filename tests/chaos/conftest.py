"""Stacks for chaos: the session's broker and Postgres, a simulator, no role yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from ops.chaos.run import QUICK
from tests.support import fresh_database
from tests.system import System

MakeSystem = Callable[..., Awaitable[System]]


@pytest.fixture
def make_system(kafka: str, topic_prefix: str, postgres: str, tmp_path: Path) -> Iterator[MakeSystem]:
    """A stack with these roles on topics and tables of its own, and the simulator told of these faults; ends the one made before."""
    with ExitStack() as exits:
        made_before = count()

        async def make(*roles: str, faults: str = "") -> System:
            await asyncio.to_thread(exits.close)
            options, number = ("--faults", faults) if faults else (), next(made_before)
            database, folder = exits.enter_context(fresh_database(postgres)), tmp_path / str(number)
            prefix = f"{topic_prefix}{number}."
            made = System(kafka, database, folder, roles=roles, simulator_options=options, topic_prefix=prefix, **QUICK)
            return await asyncio.to_thread(exits.enter_context, made)

        yield make
