"""Binance spot account and trades, and the table of all spot endpoints."""

from __future__ import annotations

from typing import Any, Final

from engine.exchanges.simulator import binance_market, binance_spot
from engine.exchanges.simulator.binance_common import chosen_fills, market_of
from engine.exchanges.simulator.model import fixed8
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import Route, World


def account(world: World, call: Call) -> dict[str, Any]:
    """GET account: fees, flags and balances."""
    owner = call.owner
    held = [(asset, balance) for asset, balance in owner.balances.items() if balance.total or asset == "USDT"]
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": owner.can_trade,
        "canWithdraw": owner.can_withdraw,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": world.clock.now_ms(),
        "accountType": "SPOT",
        "balances": [{"asset": asset, "free": fixed8(b.free), "locked": fixed8(b.locked)} for asset, b in held],
        "permissions": ["SPOT"],
        "uid": owner.uid,
    }


def my_trades(world: World, call: Call) -> list[dict[str, Any]]:
    """GET myTrades of a symbol."""
    return [
        {
            "symbol": fill.order.market.id,
            "id": fill.id,
            "orderId": fill.order.id,
            "orderListId": -1,
            "price": fixed8(fill.price),
            "qty": fixed8(fill.quantity),
            "quoteQty": fixed8(fill.quote),
            "commission": fixed8(fill.fee),
            "commissionAsset": fill.fee_asset,
            "time": fill.at_ms,
            "isBuyer": fill.order.ask.side == "BUY",
            "isMaker": fill.maker,
            "isBestMatch": True,
        }
        for fill in chosen_fills(world, call)
    ]


def commission(world: World, call: Call) -> dict[str, Any]:
    """GET account/commission of a symbol."""
    standard = {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"}
    none = dict.fromkeys(standard, "0.00000000")
    discount = {"enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "BNB", "discount": "0.75000000"}
    rates = {"standardCommission": standard, "specialCommission": none, "taxCommission": none, "discount": discount}
    return {"symbol": market_of(world, call).id} | rates


def order_limits(world: World, call: Call) -> list[dict[str, Any]]:
    """GET rateLimit/order: unfilled orders against their limits."""
    unfilled = sum(1 for order in call.owner.open_orders.values() if not order.filled)
    limits = (("SECOND", 10, 100), ("DAY", 1, 200_000))
    return [
        {"rateLimitType": "ORDERS", "interval": interval, "intervalNum": number, "limit": limit, "count": unfilled}
        for interval, number, limit in limits
    ]


ROUTES: Final = (
    binance_market.SPOT
    | binance_spot.ROUTES
    | {
        ("GET", "/api/v3/myTrades"): Route(my_trades, "signed", 20, "query"),
        ("GET", "/api/v3/account"): Route(account, "signed", 20),
        ("GET", "/api/v3/account/commission"): Route(commission, "signed", 20),
        ("GET", "/api/v3/rateLimit/order"): Route(order_limits, "signed", 40),
    }
)
