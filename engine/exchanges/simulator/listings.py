"""Markets as a venue publishes them: raw records of its exchange information enter, `Market`s that are served back verbatim leave."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.domain.symbols import lookup
from engine.exchanges.simulator.markets import REFERENCE
from engine.exchanges.simulator.model import Market


def market_from(venue: str, raw: dict[str, Any]) -> Market:
    """One market from its raw record; its coin is the mapped one, or its own symbol when nobody maps it. ValueError: not a market."""
    try:
        parse = _binance if venue.startswith("binance") else _bybit_spot if venue == "bybit" else _bybit_linear
        base = str(raw["baseAsset" if venue.startswith("binance") else "baseCoin"])
        symbol = f"{base}/USDT" if venue in ("binance", "bybit") else f"{base}/USDT:USDT"
        coin, factor = _driver(venue, symbol)
        return Market(venue, str(raw["symbol"]), symbol, base, coin, factor, *parse(raw), raw=raw)
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"market record of {venue}: {type(error).__name__} {error}") from error


def _driver(venue: str, symbol: str) -> tuple[str, Decimal]:
    """The coin of the price path and the factor from it."""
    for coin in REFERENCE:
        listing = lookup(coin, venue)
        if listing is not None and listing.venue_symbol == symbol:
            return coin, listing.price_factor
    return symbol, Decimal(1)


Filters = tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]
"""Tick, step, smallest, largest and largest market quantity, lowest and highest price, smallest notional, leverage."""


def _binance(raw: dict[str, Any]) -> Filters:
    filters = {item["filterType"]: item for item in raw["filters"]}
    price, lot, whole = filters["PRICE_FILTER"], filters["LOT_SIZE"], filters["MARKET_LOT_SIZE"]
    least = filters["NOTIONAL"]["minNotional"] if "NOTIONAL" in filters else filters["MIN_NOTIONAL"]["notional"]
    sizes = (Decimal(lot["minQty"]), Decimal(lot["maxQty"]), Decimal(whole["maxQty"]))
    prices = (Decimal(price["minPrice"]), Decimal(price["maxPrice"]), Decimal(least))
    return (Decimal(price["tickSize"]), Decimal(lot["stepSize"]), *sizes, *prices, 1 if "NOTIONAL" in filters else 125)


def _bybit_spot(raw: dict[str, Any]) -> Filters:
    lot, tick = raw["lotSizeFilter"], Decimal(raw["priceFilter"]["tickSize"])
    sizes = (Decimal(lot["minOrderQty"]), Decimal(lot["maxOrderQty"]), Decimal(lot["maxMarketOrderQty"]))
    return (tick, Decimal(lot["basePrecision"]), *sizes, tick, Decimal(1_000_000), Decimal(lot["minOrderAmt"]), 1)


def _bybit_linear(raw: dict[str, Any]) -> Filters:
    lot, price = raw["lotSizeFilter"], raw["priceFilter"]
    sizes = (Decimal(lot["minOrderQty"]), Decimal(lot["maxOrderQty"]), Decimal(lot["maxMktOrderQty"]))
    prices = (Decimal(price["minPrice"]), Decimal(price["maxPrice"]), Decimal(lot["minNotionalValue"]))
    return (Decimal(price["tickSize"]), Decimal(lot["qtyStep"]), *sizes, *prices, int(float(raw["leverageFilter"]["maxLeverage"])))
