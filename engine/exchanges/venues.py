"""The venues this build can trade on: venue id to adapter. A new venue is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.domain.values import Venue
from engine.exchanges.binance import BinanceSpot
from engine.exchanges.binance_usdm import BinanceUsdm
from engine.exchanges.bybit import BybitSpot
from engine.exchanges.bybit_linear import BybitLinear
from engine.exchanges.paper import PaperBeside
from engine.exchanges.port import Exchange
from engine.exchanges.session import VenueNet

ADAPTERS: Final[dict[Venue, Callable[[VenueNet], BinanceSpot | BinanceUsdm | BybitSpot | BybitLinear]]] = {
    "binance": BinanceSpot,
    "binanceusdm": BinanceUsdm,
    "bybit": BybitSpot,
    "bybitlinear": BybitLinear,
}


def open_venues(net: VenueNet, paper: VenueNet | None = None) -> dict[Venue, Exchange]:
    """Every adapter on the shared session, not yet started; with a paper venue's net each has its paper twin beside it."""
    if paper is None:
        return {venue: adapter(net) for venue, adapter in ADAPTERS.items()}
    return {venue: PaperBeside(adapter(net), adapter(paper)) for venue, adapter in ADAPTERS.items()}


async def clock_offset_ms(net: VenueNet, venue: Venue) -> int:
    """Our clock less the venue's, by one public call. Raises `CallFailed`."""
    adapter = ADAPTERS[venue](net)
    try:
        await adapter.sync_clock()
        return adapter.rack.offset_ms
    finally:
        adapter.rack.close()
