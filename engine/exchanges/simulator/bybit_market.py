"""Public market data of Bybit v5: instruments, tickers, books, time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.bybit_common import VENUE_OF, category_of, market_of, optional_market, refuse
from engine.exchanges.simulator.model import Market, plain
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import Route, World


def server_time(world: World, call: Call) -> dict[str, str]:
    """GET market/time."""
    now = world.clock.now_ms()
    return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}


def instruments(world: World, call: Call) -> dict[str, Any]:
    """GET market/instruments-info: categories that are not simulated and pre-launch markets are empty lists."""
    category = call.params.get("category", "")
    if category not in ("spot", "linear", "inverse", "option"):
        raise refuse(10001, "params error: category is required")
    rows: list[dict[str, Any]] = []
    if category in VENUE_OF and call.params.get("status", "Trading") == "Trading":
        market = optional_market(world, call, category)
        chosen = [market] if market else list(world.markets[VENUE_OF[category]].values())
        rows = [m.raw or (_spot if m.is_spot else _linear)(m, number) for number, m in enumerate(chosen, 1)]
    tail = {} if category == "spot" else {"nextPageCursor": ""}
    return {"category": category, "list": rows} | tail


def _spot(m: Market, number: int) -> dict[str, Any]:
    lots = {"minOrderQty": plain(m.min_qty), "maxOrderQty": plain(m.max_qty), "minOrderAmt": plain(m.min_notional)}
    sizes = {"maxLimitOrderQty": plain(m.max_qty), "maxMarketOrderQty": plain(m.max_market_qty)}
    amounts = {"maxOrderAmt": "8000000", "postOnlyMaxLimitOrderSize": plain(m.max_qty * 5)}
    return {
        "symbolId": number,
        "symbol": m.id,
        "baseCoin": m.base,
        "quoteCoin": "USDT",
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {"basePrecision": plain(m.step), "quotePrecision": "0.0000001"} | lots | amounts | sizes,
        "priceFilter": {"tickSize": plain(m.tick)},
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "symbolType": "",
        "xstockMultiplier": "1",
    }


def _linear(m: Market, number: int) -> dict[str, Any]:
    form = format
    quantities = {"maxOrderQty": plain(m.max_qty), "minOrderQty": plain(m.min_qty), "qtyStep": plain(m.step)}
    caps = {"postOnlyMaxOrderQty": plain(m.max_qty), "maxMktOrderQty": plain(m.max_market_qty)}
    exponent = m.tick.as_tuple().exponent
    assert isinstance(exponent, int)
    return {
        "symbol": m.id,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": m.base,
        "quoteCoin": "USDT",
        "launchTime": "1584230400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(max(0, -exponent)),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": f"{m.max_leverage}.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": form(m.min_price, "f"), "maxPrice": form(m.max_price, "f"), "tickSize": form(m.tick, "f")},
        "lotSizeFilter": quantities | caps | {"minNotionalValue": plain(m.min_notional)},
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": "USDT",
        "copyTrading": "both",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "displayName": "",
        "symbolType": "",
        "forbidUplWithdrawal": False,
        "symbolId": number,
    }


def tickers(world: World, call: Call) -> dict[str, Any]:
    """GET market/tickers."""
    category = category_of(call)
    market = optional_market(world, call, category)
    chosen = [market] if market else list(world.markets[VENUE_OF[category]].values())
    return {"category": category, "list": [_ticker(world, m) for m in chosen]}


def _ticker(world: World, m: Market) -> dict[str, Any]:
    book, last = world.prices.book(m), world.prices.mid(m)
    opened = world.prices.opened(m)
    volume = (Decimal(50_000_000) / last).quantize(m.step)
    numbers = {
        "bid1Price": book.bid[0],
        "bid1Size": book.bid[1],
        "ask1Price": book.ask[0],
        "ask1Size": book.ask[1],
        "lastPrice": last,
        "prevPrice24h": opened,
        "highPrice24h": max(last, opened),
        "lowPrice24h": min(last, opened),
        "turnover24h": volume * last,
        "volume24h": volume,
    }
    texts = {"symbol": m.id} | {name: plain(value) for name, value in numbers.items()}
    texts["price24hPcnt"] = format((last - opened) / opened, ".4f")
    return texts | ({"usdIndexPrice": plain(last)} if m.is_spot else _contract(world, last, opened))


def _contract(world: World, last: Decimal, opened: Decimal) -> dict[str, str]:
    eight_hours = 8 * 3_600_000
    following = (world.clock.now_ms() // eight_hours + 1) * eight_hours
    empty = dict.fromkeys(("predictedDeliveryPrice", "basisRate", "deliveryFeeRate", "basis"), "")
    prices = {"indexPrice": plain(last), "markPrice": plain(last), "prevPrice1h": plain(opened)}
    interest = {"openInterest": "1000", "openInterestValue": plain(last * 1000)}
    return prices | interest | empty | {"fundingRate": "0.0001", "nextFundingTime": str(following), "deliveryTime": "0"}


def orderbook(world: World, call: Call) -> dict[str, Any]:
    """GET market/orderbook."""
    category = category_of(call)
    m, limit = market_of(world, category, call.params.get("symbol", "")), call.integer("limit", 1 if category == "spot" else 25)
    book, now = world.prices.book(m), world.clock.now_ms()
    asks, bids = ([[plain(p), plain(q)] for p, q in side[:limit]] for side in (book.asks, book.bids))
    return {"s": m.id, "a": asks, "b": bids, "ts": now, "u": book.version, "seq": now * 10, "cts": now - 1}


def recent_trades(world: World, call: Call) -> dict[str, Any]:
    """GET market/recent-trade: the newest public trades are the touch of the book."""
    category = category_of(call)
    m = market_of(world, category, call.params.get("symbol", ""))
    book, now = world.prices.book(m), world.clock.now_ms()
    rows = [
        {
            "execId": str(now * 10 + i),
            "symbol": m.id,
            "price": plain(price),
            "size": plain(m.min_qty),
            "side": side,
            "time": str(now - i),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(now * 10 + i),
        }
        for i, (price, side) in enumerate([(book.ask[0], "Buy"), (book.bid[0], "Sell")])
    ]
    return {"category": category, "list": rows}


ROUTES: Final = {
    ("GET", "/v5/market/time"): Route(server_time),
    ("GET", "/v5/market/instruments-info"): Route(instruments),
    ("GET", "/v5/market/tickers"): Route(tickers),
    ("GET", "/v5/market/orderbook"): Route(orderbook),
    ("GET", "/v5/market/recent-trade"): Route(recent_trades),
}
