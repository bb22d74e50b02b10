"""Binance `/sapi`: what a key may do, and the lists that ccxt asks for when it loads markets with keys and no options."""

from __future__ import annotations

from typing import Any, Final

from engine.exchanges.simulator.binance_common import market_of
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import Route, World


def restrictions(world: World, call: Call) -> dict[str, Any]:
    """GET account/apiRestrictions: permission flags of the key."""
    owner = call.owner
    off = ("enableMargin", "enableInternalTransfer", "permitsUniversalTransfer", "enableVanillaOptions", "enablePortfolioMarginTrading")
    return {
        "ipRestrict": False,
        "createTime": world.clock.now_ms() - 86_400_000,
        "enableReading": True,
        "enableWithdrawals": owner.can_withdraw,
        "enableFutures": owner.can_trade,
        "enableSpotAndMarginTrading": owner.can_trade,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
    } | dict.fromkeys(off, False)


def nothing(world: World, call: Call) -> list[Any]:
    """Networks, margin pairs, order lists: none here."""
    return []


def no_rows(world: World, call: Call) -> dict[str, Any]:
    """GET margin/forceLiquidationRec: there is no margin trading, so nobody is liquidated."""
    return {"rows": [], "total": 0}


def trade_fee(world: World, call: Call) -> list[dict[str, str]]:
    """GET asset/tradeFee."""
    chosen = [market_of(world, call)] if call.params.get("symbol") else list(world.markets["binance"].values())
    return [{"symbol": m.id, "makerCommission": "0.001", "takerCommission": "0.001"} for m in chosen]


def funding_assets(world: World, call: Call) -> list[Any]:
    """POST asset/get-funding-asset: the funding wallet is empty, all money is in the trading wallets."""
    return []


def system_status(world: World, call: Call) -> dict[str, Any]:
    """GET system/status: it works."""
    return {"status": 0, "msg": "normal"}


def account_status(world: World, call: Call) -> dict[str, str]:
    """GET account/status."""
    return {"data": "Normal"}


def trading_status(world: World, call: Call) -> dict[str, Any]:
    """GET account/apiTradingStatus: nothing is locked."""
    triggers = {"GCR": 150, "IFER": 150, "UFR": 300}
    return {"data": {"isLocked": False, "plannedRecoverTime": 0, "triggerCondition": triggers, "updateTime": world.clock.now_ms()}}


ROUTES: Final = {
    ("GET", "/sapi/v1/account/status"): Route(account_status, "signed"),
    ("GET", "/sapi/v1/account/apiTradingStatus"): Route(trading_status, "signed"),
    ("POST", "/sapi/v1/asset/get-funding-asset"): Route(funding_assets, "signed"),
    ("GET", "/sapi/v1/system/status"): Route(system_status),
    ("GET", "/sapi/v1/account/apiRestrictions"): Route(restrictions, "signed"),
    ("GET", "/sapi/v1/asset/tradeFee"): Route(trade_fee, "signed"),
    ("GET", "/sapi/v1/capital/config/getall"): Route(nothing, "signed", 10),
    ("GET", "/sapi/v1/margin/forceLiquidationRec"): Route(no_rows, "signed"),
    ("GET", "/api/v3/openOrderList"): Route(nothing, "signed", 6),
    ("GET", "/api/v3/allOrderList"): Route(nothing, "signed", 20),
    ("GET", "/api/v3/myPreventedMatches"): Route(nothing, "signed", 20),
    ("GET", "/api/v3/myAllocations"): Route(nothing, "signed", 20),
    ("GET", "/sapi/v1/margin/allPairs"): Route(nothing, "key"),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): Route(nothing, "key"),
}
