"""Bybit v5 history that ccxt can ask for beside orders: candles, funding, risk limits, closed profit and loss."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.bybit_common import VENUE_OF, category_of, market_of, optional_market, order_id, page, refuse, span
from engine.exchanges.simulator.model import Fill, plain
from engine.exchanges.simulator.wire import Call, whole
from engine.exchanges.simulator.world import Route, World

_EIGHT_HOURS_MS: Final = 8 * 3_600_000
_MINUTES: Final = {"D": 1440, "W": 10_080, "M": 43_200}


def candles(world: World, call: Call) -> dict[str, Any]:
    """GET market/kline and its mark and index price twins: flat candles, newest first (the price path has no memory)."""
    category = category_of(call)
    market, limit = market_of(world, category, call.params.get("symbol", "")), min(max(call.integer("limit", 200), 1), 1000)
    interval = call.params.get("interval", "1")
    width = _MINUTES.get(interval) or whole(interval, "interval")
    if not 1 <= width <= _MINUTES["M"]:
        raise refuse(10001, "params error: interval invalid")
    mid, now = plain(world.prices.mid(market)), world.clock.now_ms()
    start = now - now % (width * 60_000)
    volumes = [] if call.path.endswith("price-kline") else ["1", mid]
    rows = [[str(start - number * width * 60_000), mid, mid, mid, mid, *volumes] for number in range(limit)]
    return {"symbol": market.id, "category": category, "list": rows}


def funding(world: World, call: Call) -> dict[str, Any]:
    """GET market/funding/history: the last settlement (positions are charged when an administrator says so)."""
    category = category_of(call)
    market = market_of(world, category, call.params.get("symbol", ""))
    last = world.clock.now_ms() // _EIGHT_HOURS_MS * _EIGHT_HOURS_MS
    return {"category": category, "list": [{"symbol": market.id, "fundingRate": "0.0001", "fundingRateTimestamp": str(last)}]}


def open_interest(world: World, call: Call) -> dict[str, Any]:
    """GET market/open-interest: what the simulated accounts hold long now."""
    category = category_of(call)
    market = market_of(world, category, call.params.get("symbol", ""))
    positions = (p for account in world.registry.by_key.values() for p in account.positions.values())
    held = sum((p.quantity for p in positions if p.market is market and p.quantity > 0), Decimal(0))
    row = {"openInterest": plain(held), "timestamp": str(world.clock.now_ms())}
    return {"symbol": market.id, "category": category, "list": [row], "nextPageCursor": ""}


def risk_limits(world: World, call: Call) -> dict[str, Any]:
    """GET market/risk-limit: one tier a market."""
    category = category_of(call)
    market = optional_market(world, call, category)
    chosen = [market] if market else list(world.markets[VENUE_OF[category]].values())
    tier = {
        "id": 1,
        "riskLimitValue": "2000000",
        "maintenanceMargin": "0.005",
        "initialMargin": "0.01",
        "isLowestRisk": 1,
        "mmDeduction": "",
    }
    rows = [{"symbol": m.id} | tier | {"maxLeverage": f"{m.max_leverage}.00"} for m in chosen]
    return {"category": category, "nextPageCursor": "", "list": rows}


def closed_profit(world: World, call: Call) -> dict[str, Any]:
    """GET position/closed-pnl: fills that closed something, newest first."""
    category = category_of(call)
    market, now = optional_market(world, call, category), world.clock.now_ms()
    start, end = span(call, now)
    fills = [
        fill
        for fill in reversed(call.owner.fills)
        if fill.realized and (market is None or fill.order.market is market) and start <= fill.at_ms <= end
    ]
    chosen, cursor = page(call, fills, 50, 100)
    return {"category": category, "nextPageCursor": cursor, "list": [_closed(fill) for fill in chosen]}


def _closed(fill: Fill) -> dict[str, Any]:
    order, m = fill.order, fill.order.market
    sign = 1 if order.ask.side == "SELL" else -1
    entry = fill.price - sign * fill.realized / fill.quantity
    return {
        "symbol": m.id,
        "orderId": order_id(order),
        "orderType": order.ask.type,
        "side": order.ask.side.title(),
        "qty": plain(order.quantity),
        "orderPrice": plain(order.ask.price),
        "execType": "Trade",
        "closedSize": plain(fill.quantity),
        "cumEntryValue": plain(entry * fill.quantity),
        "avgEntryPrice": plain(entry),
        "cumExitValue": plain(fill.quote),
        "avgExitPrice": plain(fill.price),
        "closedPnl": plain(fill.realized - fill.fee),
        "closeFee": plain(fill.fee),
        "openFee": "0",
        "fillCount": "1",
        "leverage": str(order.account.leverage_of(m)),
        "createdTime": str(order.created_ms),
        "updatedTime": str(fill.at_ms),
    }


ROUTES: Final = {
    ("GET", "/v5/market/kline"): Route(candles),
    ("GET", "/v5/market/mark-price-kline"): Route(candles),
    ("GET", "/v5/market/index-price-kline"): Route(candles),
    ("GET", "/v5/market/premium-index-price-kline"): Route(candles),
    ("GET", "/v5/market/open-interest"): Route(open_interest),
    ("GET", "/v5/market/funding/history"): Route(funding),
    ("GET", "/v5/market/risk-limit"): Route(risk_limits),
    ("GET", "/v5/position/closed-pnl"): Route(closed_profit, "signed", group="query"),
}
