"""A venue that bans our address is left alone, whatever would ask next: parts of the executor against the simulator alone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.config import Settings
from engine.domain.values import Venue
from engine.exchanges.port import Credential, Exchange
from engine.exchanges.session import open_net
from engine.exchanges.simulator import Simulator
from engine.exchanges.venues import ADAPTERS
from engine.exchanges.wire import now_ms
from engine.executor.limits import Limits
from engine.executor.market import Market
from tests.contract.simulator.clients import admin


async def nobody(venue: Venue) -> Credential | None:
    """No account anywhere."""
    return None


@pytest.fixture
async def venue(request: pytest.FixtureRequest, simulator: Simulator) -> AsyncIterator[Exchange]:
    """The adapter of the venue that the test names, not started."""
    net = open_net(Settings(exchange_url=simulator.url))
    exchange = ADAPTERS[request.param](net)
    yield exchange
    exchange.rack.close()
    await net.close()


def ban(kind: str) -> Any:
    """A ban of an hour for the next request that is no order."""
    return {"rules": [{"kind": kind, "on": "other", "seconds": 3600}]}


@pytest.mark.parametrize(
    ("venue", "kind"), [("binance", "http_418"), ("binanceusdm", "http_429"), ("bybit", "http_403")], indirect=["venue"]
)
async def test_markets_and_marks_are_not_asked_for_during_a_ban(simulator: Simulator, venue: Exchange, kind: str) -> None:
    limits = Limits(True, time.monotonic, 600.0)
    market = Market({venue.venue: venue}, None, "unused", lambda: False, nobody, now_ms, limits)  # type: ignore[arg-type]
    await admin(simulator, "/_faults", ban(kind))
    await market.start()
    assert not market.started and limits.ip_delay(venue.venue) > 500, "orders wait for it too"
    before = simulator.dispatcher.requests.total()
    await market._load_all([venue.venue])
    assert simulator.dispatcher.requests.total() == before and not market.started
