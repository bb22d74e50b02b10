"""Binance USD-M beside trading: margin of isolated positions, multi-assets mode, the countdown that cancels, order limits, statistics."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator import margin
from engine.exchanges.simulator.binance_common import candles, invalid, limit_of, market_of, optional_market, plain_orders, required
from engine.exchanges.simulator.model import BOTH, ZERO, MarginChange, Position, plain
from engine.exchanges.simulator.wire import Call, VenueError, decimal
from engine.exchanges.simulator.world import Route, World

_DONE: Final = {"code": 200, "msg": "success"}
_ADD, _REDUCE = 1, 2


def change_margin(world: World, call: Call) -> dict[str, Any]:
    """POST positionMargin: put margin on an isolated position (type 1) or take it off again (type 2)."""
    market, kind = market_of(world, call), call.integer("type", 0)
    amount = decimal(required(call.params, "amount"), "amount")
    if kind not in (_ADD, _REDUCE):
        raise invalid("type")
    if not amount:
        raise VenueError(-4055, "Amount must be positive.")
    position = call.owner.position(market, call.params.get("positionSide", BOTH))
    _check_margin(world, call, position, amount if kind == _ADD else -amount)
    position.added += amount if kind == _ADD else -amount
    change = MarginChange(market, position.side, world.clock.now_ms(), amount if kind == _ADD else -amount)
    call.owner.margin_changes.append(change)
    return {"amount": float(amount), "code": 200, "msg": "Successfully modify position margin.", "type": kind}


def _check_margin(world: World, call: Call, position: Position, amount: Decimal) -> None:
    if call.owner.margin_type.get(position.market.id) != "ISOLATED":
        raise VenueError(-4049, "Add margin only support for isolated position.")
    if not position.quantity:
        raise VenueError(-4054, "Cannot add position margin: position is 0.")
    if amount > 0 and amount > margin.available(call.owner, world.prices):
        raise VenueError(-4050, "Cross balance insufficient.")
    if position.added + amount < 0:
        raise VenueError(-4051, "Isolated balance insufficient.")


def margin_changes(world: World, call: Call) -> list[dict[str, Any]]:
    """GET positionMargin/history of a symbol, newest first."""
    market, kind = market_of(world, call), call.integer("type", 0)
    start, end = call.integer("startTime", 0), call.integer("endTime", 1 << 62)
    rows = [
        {
            "symbol": market.id,
            "type": _ADD if change.amount > 0 else _REDUCE,
            "deltaType": "USER_ADJUST",
            "amount": plain(change.amount),
            "asset": margin.QUOTE,
            "time": change.at_ms,
            "positionSide": change.side,
            "clientTranId": "",
        }
        for change in reversed(call.owner.margin_changes)
        if change.market is market and start <= change.at_ms <= end
    ]
    return [row for row in rows if kind in (0, row["type"])][: limit_of(call, 500, 500)]


def multi_assets(world: World, call: Call) -> dict[str, Any]:
    """GET multiAssetsMargin."""
    return {"multiAssetsMargin": call.owner.multi_assets}


def set_multi_assets(world: World, call: Call) -> dict[str, Any]:
    """POST multiAssetsMargin."""
    wanted = required(call.params, "multiAssetsMargin").lower() == "true"
    if wanted == call.owner.multi_assets:
        raise VenueError(-4171, "No need to change multi-assets margin mode.")
    call.owner.multi_assets = wanted
    return dict(_DONE)


def countdown(world: World, call: Call) -> dict[str, Any]:
    """POST countdownCancelAll: cancel the symbol's open orders unless called again in time; 0 stops the clock."""
    market, wait_ms = market_of(world, call), call.integer("countdownTime", 0)
    required(call.params, "countdownTime")
    key = (call.owner.api_key, market.id)
    running = world.countdowns.pop(key, None)
    if running is not None:
        running.cancel()
    if wait_ms:
        world.countdowns[key] = asyncio.get_running_loop().call_later(wait_ms / 1000, _cancel_all, world, call)
    return {"symbol": market.id, "countdownTime": str(wait_ms)}


def _cancel_all(world: World, call: Call) -> None:
    for order in plain_orders(world, call, only_open=True):
        world.engine.cancel(order)


def order_limits(world: World, call: Call) -> list[dict[str, Any]]:
    """GET rateLimit/order."""
    limits = (("SECOND", 10, 300), ("MINUTE", 1, 1200))
    return [{"rateLimitType": "ORDERS", "interval": name, "intervalNum": number, "limit": limit} for name, number, limit in limits]


def fee_burn(world: World, call: Call) -> dict[str, Any]:
    """GET feeBurn: fees are paid in USDT."""
    return {"feeBurn": False}


def adl_quantile(world: World, call: Call) -> list[dict[str, Any]]:
    """GET adlQuantile of the open positions."""
    market = optional_market(world, call)
    held = (p for p in call.owner.positions.values() if p.quantity and market in (None, p.market))
    return [{"symbol": p.market.id, "adlQuantile": {"LONG": 0, "SHORT": 0, "BOTH": 0} | {p.side: 2}} for p in held]


def adl_risk(world: World, call: Call) -> Any:
    """GET symbolAdlRisk: one market, or all."""
    market, now = optional_market(world, call), world.clock.now_ms()
    chosen = [market] if market else list(world.markets["binanceusdm"].values())
    rows = [{"symbol": m.id, "adlRisk": "low", "updateTime": now} for m in chosen]
    return rows[0] if market else rows


def interest_history(world: World, call: Call) -> list[dict[str, Any]]:
    """GET futures/data/openInterestHist: what the simulated accounts hold long now."""
    market, now = market_of(world, call), world.clock.now_ms()
    positions = (p for account in world.registry.by_key.values() for p in account.positions.values())
    held = sum((p.quantity for p in positions if p.market is market and p.quantity > 0), ZERO)
    sums = {"sumOpenInterest": plain(held), "sumOpenInterestValue": plain(held * world.prices.mid(market))}
    return [{"symbol": market.id} | sums | {"timestamp": now}]


def long_short_ratio(world: World, call: Call) -> list[dict[str, Any]]:
    """GET futures/data/globalLongShortAccountRatio and its twins: as many long as short."""
    shares = {"longShortRatio": "1.0000", "longAccount": "0.5000", "shortAccount": "0.5000"}
    return [{"symbol": market_of(world, call).id} | shares | {"timestamp": world.clock.now_ms()}]


ROUTES: Final = {
    ("POST", "/fapi/v1/positionMargin"): Route(change_margin, "signed", 1),
    ("GET", "/fapi/v1/positionMargin/history"): Route(margin_changes, "signed", 1),
    ("GET", "/fapi/v1/multiAssetsMargin"): Route(multi_assets, "signed", 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): Route(set_multi_assets, "signed", 1),
    ("POST", "/fapi/v1/countdownCancelAll"): Route(countdown, "signed", 10),
    ("GET", "/fapi/v1/rateLimit/order"): Route(order_limits, "signed", 1),
    ("GET", "/fapi/v1/feeBurn"): Route(fee_burn, "signed", 30),
    ("GET", "/fapi/v1/adlQuantile"): Route(adl_quantile, "signed", 5),
    ("GET", "/fapi/v1/symbolAdlRisk"): Route(adl_risk),
    ("GET", "/fapi/v1/continuousKlines"): Route(candles, weight=2),
    ("GET", "/fapi/v1/premiumIndexKlines"): Route(candles, weight=2),
    ("GET", "/futures/data/openInterestHist"): Route(interest_history),
    ("GET", "/futures/data/globalLongShortAccountRatio"): Route(long_short_ratio),
    ("GET", "/futures/data/topLongShortAccountRatio"): Route(long_short_ratio),
    ("GET", "/futures/data/topLongShortPositionRatio"): Route(long_short_ratio),
}
