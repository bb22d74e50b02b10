"""Public market data of Binance spot and USD-M in their wire formats."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.binance_common import candles, depth_levels, market_of
from engine.exchanges.simulator.binance_info import asked, empty_info, spot_info, usdm_info
from engine.exchanges.simulator.model import Market, fixed8, plain
from engine.exchanges.simulator.wire import Call, VenueError
from engine.exchanges.simulator.world import DAY_MS, Route, World

_OF_THE_BOOK: Final = frozenset({"bidPrice", "bidQty", "askPrice", "askQty", "lastQty", "prevClosePrice"})


def server_time(world: World, call: Call) -> dict[str, int]:
    """GET time."""
    return {"serverTime": world.clock.now_ms()}


def ping(world: World, call: Call) -> dict[str, int]:
    """GET ping."""
    return {}


def depth(world: World, call: Call) -> dict[str, Any]:
    """GET depth (spot and futures)."""
    market = market_of(world, call)
    bids, asks = depth_levels(world, call, market)
    now = world.clock.now_ms()
    times = {} if market.is_spot else {"E": now, "T": now - 2}
    return {"lastUpdateId": now * 10} | times | {"bids": bids, "asks": asks}


def ticker_price(world: World, call: Call) -> Any:
    """GET ticker/price: one market, or all."""
    return _one_or_all(world, call, _price)


def book_ticker(world: World, call: Call) -> Any:
    """GET ticker/bookTicker: one market, or all."""
    return _one_or_all(world, call, _book_ticker)


def ticker_24hr(world: World, call: Call) -> Any:
    """GET ticker/24hr: one market, or all."""
    return _one_or_all(world, call, _day)


def rolling_ticker(world: World, call: Call) -> Any:
    """GET ticker and ticker/tradingDay of the symbols that were named: the day's numbers without a book."""
    if not (call.params.get("symbol") or call.params.get("symbols")):
        raise VenueError(-1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!")
    return _one_or_all(world, call, _window)


def _window(world: World, m: Market) -> dict[str, Any]:
    return {name: value for name, value in _day(world, m).items() if name not in _OF_THE_BOOK}


def _one_or_all(world: World, call: Call, render: Any) -> Any:
    rendered = [render(world, market) for market in asked(world, call)]
    return rendered[0] if call.params.get("symbol") else rendered


def _price(world: World, m: Market) -> dict[str, Any]:
    price = {"symbol": m.id, "price": _form(m, world.prices.mid(m))}
    return price if m.is_spot else price | {"time": world.clock.now_ms()}


def _book_ticker(world: World, m: Market) -> dict[str, Any]:
    (bid, bid_size), (ask, ask_size) = world.prices.book(m).bid, world.prices.book(m).ask
    sizes = {"bidPrice": bid, "bidQty": bid_size, "askPrice": ask, "askQty": ask_size}
    now = {} if m.is_spot else {"time": world.clock.now_ms(), "lastUpdateId": world.clock.now_ms() * 10}
    return {"symbol": m.id} | {key: _form(m, value) for key, value in sizes.items()} | now


def _day(world: World, m: Market) -> dict[str, Any]:
    last, opened = world.prices.mid(m), world.prices.opened(m)
    now, volume = world.clock.now_ms(), (Decimal(50_000_000) / last).quantize(m.step)
    numbers = {
        "priceChange": last - opened,
        "weightedAvgPrice": (last + opened) / 2,
        "lastPrice": last,
        "lastQty": m.step,
        "openPrice": opened,
        "highPrice": max(last, opened),
        "lowPrice": min(last, opened),
        "volume": volume,
        "quoteVolume": volume * last,
    }
    reply: dict[str, Any] = {"symbol": m.id} | {key: _form(m, value) for key, value in numbers.items()}
    if m.is_spot:
        reply |= _book_ticker(world, m) | {"prevClosePrice": _form(m, opened)}
    change = {"priceChangePercent": format((last - opened) / opened * 100, ".3f")}
    return reply | change | {"openTime": now - DAY_MS, "closeTime": now, "firstId": 1, "lastId": 76, "count": 76}


def _form(m: Market, value: Decimal) -> str:
    return fixed8(value) if m.is_spot else plain(value)


def trades(world: World, call: Call) -> list[dict[str, Any]]:
    """GET aggTrades: the newest public trades are the touch of the book."""
    m = market_of(world, call)
    book, now = world.prices.book(m), world.clock.now_ms()
    touches = [(book.bid, True), (book.ask, False)]
    rows = [
        {"a": now + i, "p": _form(m, p), "q": _form(m, m.min_qty), "f": now + i, "l": now + i, "T": now - 1 + i, "m": seller}
        for i, ((p, _), seller) in enumerate(touches)
    ]
    return [row | {"M": True} for row in rows] if m.is_spot else rows


def premium_index(world: World, call: Call) -> Any:
    """GET fapi/v1/premiumIndex: mark price and funding."""
    return _one_or_all(world, call, _premium)


def _premium(world: World, m: Market) -> dict[str, Any]:
    mid, now = plain(world.prices.mid(m)), world.clock.now_ms()
    eight_hours = 8 * 3_600_000
    prices = {
        "markPrice": mid,
        "indexPrice": mid,
        "estimatedSettlePrice": mid,
        "lastFundingRate": "0.00010000",
        "interestRate": "0.00010000",
    }
    return {"symbol": m.id} | prices | {"nextFundingTime": (now // eight_hours + 1) * eight_hours, "time": now}


SPOT: Final = {
    ("GET", "/api/v3/ping"): Route(ping),
    ("GET", "/api/v3/time"): Route(server_time),
    ("GET", "/api/v3/exchangeInfo"): Route(spot_info, weight=20),
    ("GET", "/api/v3/depth"): Route(depth, weight=5),
    ("GET", "/api/v3/aggTrades"): Route(trades, weight=4),
    ("GET", "/api/v3/klines"): Route(candles, weight=2),
    ("GET", "/api/v3/uiKlines"): Route(candles, weight=2),
    ("GET", "/api/v3/ticker/price"): Route(ticker_price, weight=2, weight_all=4),
    ("GET", "/api/v3/ticker/bookTicker"): Route(book_ticker, weight=2, weight_all=4),
    ("GET", "/api/v3/ticker/24hr"): Route(ticker_24hr, weight=2, weight_all=80),
    ("GET", "/api/v3/ticker"): Route(rolling_ticker, weight=4),
    ("GET", "/api/v3/ticker/tradingDay"): Route(rolling_ticker, weight=4),
    ("GET", "/dapi/v1/exchangeInfo"): Route(empty_info),
}
USDM: Final = {
    ("GET", "/fapi/v1/ping"): Route(ping),
    ("GET", "/fapi/v1/time"): Route(server_time),
    ("GET", "/fapi/v1/exchangeInfo"): Route(usdm_info),
    ("GET", "/fapi/v1/depth"): Route(depth, weight=5),
    ("GET", "/fapi/v1/rpiDepth"): Route(depth, weight=20),
    ("GET", "/fapi/v1/aggTrades"): Route(trades, weight=20),
    ("GET", "/fapi/v1/klines"): Route(candles, weight=2),
    ("GET", "/fapi/v1/markPriceKlines"): Route(candles, weight=2),
    ("GET", "/fapi/v1/indexPriceKlines"): Route(candles, weight=2),
    ("GET", "/fapi/v1/premiumIndex"): Route(premium_index),
    ("GET", "/fapi/v1/ticker/price"): Route(ticker_price),
    ("GET", "/fapi/v2/ticker/price"): Route(ticker_price),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(book_ticker, weight=2, weight_all=5),
    ("GET", "/fapi/v1/ticker/24hr"): Route(ticker_24hr, weight_all=40),
}
