"""Stacks for chaos: the session's broker and Postgres, a simulator, no role yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.chaos.run import QUICK
from tests.system import System

MakeSystem = Callable[..., Awaitable[System]]


@pytest.fixture
def make_system(kafka: str, topic_prefix: str, database: str, tmp_path: Path) -> Iterator[MakeSystem]:
    """A stack with these roles, and the simulator told of these faults."""
    with ExitStack() as exits:

        async def make(*roles: str, faults: str = "") -> System:
            options = ("--faults", faults) if faults else ()
            made = System(kafka, database, tmp_path, roles=roles, simulator_options=options, topic_prefix=topic_prefix, **QUICK)
            return await asyncio.to_thread(exits.enter_context, made)

        yield make
