"""Binance history that ccxt can ask for beside orders: public trades, funding rates, open interest and liquidations of USD-M."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.binance_common import market_of, optional_market
from engine.exchanges.simulator.model import Market, fixed8, plain
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import Route, World

_EIGHT_HOURS_MS: Final = 8 * 3_600_000


def trades(world: World, call: Call) -> list[dict[str, Any]]:
    """GET trades: the newest public trades are the touch of the book."""
    m = market_of(world, call)
    book, now, form = world.prices.book(m), world.clock.now_ms(), fixed8 if m.is_spot else plain
    rows = []
    for number, (price, seller) in enumerate(((book.bid[0], True), (book.ask[0], False))):
        amounts = {"price": form(price), "qty": form(m.min_qty), "quoteQty": form(price * m.min_qty)}
        rows.append(
            {"id": now + number}
            | amounts
            | {"time": now - 1 + number, "isBuyerMaker": seller}
            | ({"isBestMatch": True} if m.is_spot else {})
        )
    return rows


def average_price(world: World, call: Call) -> dict[str, Any]:
    """GET avgPrice of the last five minutes."""
    return {"mins": 5, "price": fixed8(world.prices.mid(market_of(world, call))), "closeTime": world.clock.now_ms()}


def funding_rates(world: World, call: Call) -> list[dict[str, Any]]:
    """GET fundingRate: the last settlement of one market or of all (positions are charged when an administrator says so)."""
    market = optional_market(world, call)
    chosen: list[Market] = [market] if market else list(world.markets["binanceusdm"].values())
    last = world.clock.now_ms() // _EIGHT_HOURS_MS * _EIGHT_HOURS_MS
    return [{"symbol": m.id, "fundingTime": last, "fundingRate": "0.00010000", "markPrice": fixed8(world.prices.mid(m))} for m in chosen]


def funding_info(world: World, call: Call) -> list[dict[str, Any]]:
    """GET fundingInfo: how often and within which bounds each market is settled."""
    bounds = {"adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000"}
    listed = world.markets["binanceusdm"].values()
    return [{"symbol": m.id} | bounds | {"fundingIntervalHours": 8, "disclaimer": False} for m in listed]


def open_interest(world: World, call: Call) -> dict[str, Any]:
    """GET openInterest: what the simulated accounts hold long."""
    market = market_of(world, call)
    positions = (p for account in world.registry.by_key.values() for p in account.positions.values())
    held = sum((p.quantity for p in positions if p.market is market and p.quantity > 0), Decimal(0))
    return {"symbol": market.id, "openInterest": plain(held), "time": world.clock.now_ms()}


def liquidations(world: World, call: Call) -> list[Any]:
    """GET forceOrders: nobody is liquidated here."""
    return []


SPOT: Final = {
    ("GET", "/api/v3/trades"): Route(trades, weight=25),
    ("GET", "/api/v3/historicalTrades"): Route(trades, weight=25),
    ("GET", "/api/v3/avgPrice"): Route(average_price, weight=2),
}
USDM: Final = {
    ("GET", "/fapi/v1/trades"): Route(trades, weight=5),
    ("GET", "/fapi/v1/historicalTrades"): Route(trades, weight=20),
    ("GET", "/fapi/v1/fundingRate"): Route(funding_rates),
    ("GET", "/fapi/v1/fundingInfo"): Route(funding_info, weight=0),
    ("GET", "/fapi/v1/openInterest"): Route(open_interest),
    ("GET", "/fapi/v1/forceOrders"): Route(liquidations, "signed", 20),
}
