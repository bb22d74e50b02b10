"""A running simulator with one funded account at each exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.exchanges.simulator import Options, Simulator
from tests.contract.simulator.clients import KEY, SECRET


def register(simulator: Simulator, **extra: object) -> None:
    """The test key at every exchange."""
    for venue in ("binance", "binanceusdm", "bybit"):
        simulator.world.registry.register({"venue": venue, "api_key": KEY, "secret": SECRET, "usdt": "1000000"} | extra)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator of this test's own; Bybit executes before it answers, so that tests need not wait."""
    made = Simulator(Options(bybit_async_ms=0))
    register(made)
    await made.start()
    yield made
    await made.stop()
