"""Live public prices: the venues' own market lists and best prices enter, the simulator's markets and books leave.

Everything is public: no account, no key. While the prices of a venue are not fresh its markets are closed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from engine.config import Settings
from engine.domain.values import VENUES, Venue
from engine.exchanges.port import CallFailed
from engine.exchanges.session import open_net
from engine.exchanges.simulator.listings import market_from
from engine.exchanges.simulator.world import World
from engine.exchanges.venues import ADAPTERS

log = logging.getLogger(__name__)
FRESH_S: Final = 15.0
"""Older prices are no prices."""
RETRY_S: Final = 5.0
Touch = tuple[Decimal, Decimal, Decimal, Decimal]
"""Best bid, its quantity, best ask, its quantity."""


class LiveVenue:
    """One venue's public side, followed into the world."""

    def __init__(self, venue: Venue, adapter: Any, world: World, interval_s: float) -> None:
        self.venue, self._adapter, self._world, self._interval_s = venue, adapter, world, interval_s
        self._read_at = float("-inf")
        world.markets[venue].clear()
        world.engine.closed[venue] = lambda: time.monotonic() - self._read_at > FRESH_S

    async def run(self) -> None:
        """List the markets, then follow their prices for ever."""
        while True:
            try:
                await self._adapter.start()
                while True:
                    self._take(await self._touches())
                    await asyncio.sleep(self._interval_s)
            except CallFailed as error:
                log.warning("public prices of %s not read: %s", self.venue, error)
                await asyncio.sleep(min(RETRY_S, self._interval_s * 5))

    async def _touches(self) -> dict[str, Touch]:
        rack = self._adapter.rack
        if self.venue == "binance":
            return _binance(await rack.read(None, lambda ex: ex.public_get_ticker_bookticker()))
        if self.venue == "binanceusdm":
            return _binance(await rack.read(None, lambda ex: ex.fapipublic_get_ticker_bookticker()))
        return _bybit(await rack.read(None, lambda ex: ex.public_get_v5_market_tickers({"category": self._adapter.category})))

    def _take(self, touches: dict[str, Touch]) -> None:
        world, listed = self._world, self._adapter.rack.prototype.markets
        moved = []
        for symbol in self._adapter.symbols & listed.keys():
            raw = listed[symbol]["info"]
            touch = touches.get(raw["symbol"])
            if touch is None:
                continue
            coin = f"{self.venue} {raw['symbol']}"
            world.prices.follow(coin, *touch)
            moved.append(coin)
            if raw["symbol"] not in world.markets[self.venue]:
                market = replace(market_from(self.venue, raw), coin=coin, price_factor=Decimal(1))
                world.markets[self.venue][market.id] = market
        self._read_at = time.monotonic()
        world.engine.moved(moved)


def _binance(rows: list[dict[str, Any]]) -> dict[str, Touch]:
    found = {row["symbol"]: tuple(Decimal(row[name]) for name in ("bidPrice", "bidQty", "askPrice", "askQty")) for row in rows}
    return {symbol: (bid, bids, ask, asks) for symbol, (bid, bids, ask, asks) in found.items() if bid and ask}


def _bybit(reply: dict[str, Any]) -> dict[str, Touch]:
    names = ("bid1Price", "bid1Size", "ask1Price", "ask1Size")
    found = {row["symbol"]: tuple(Decimal(row[name] or 0) for name in names) for row in reply["result"]["list"]}
    return {symbol: (bid, bids, ask, asks) for symbol, (bid, bids, ask, asks) in found.items() if bid and ask}


async def follow_live(settings: Settings, world: World, interval_s: float) -> None:
    """Follow every venue for ever: the real hosts, or those that `exchange_url` leads to."""
    net = open_net(settings)
    try:
        venues = [LiveVenue(venue, ADAPTERS[venue](net), world, interval_s) for venue in VENUES]
        await asyncio.gather(*(venue.run() for venue in venues))
    finally:
        await net.close()
