"""Bybit v5 beside trading: fees, other wallets, isolated margin, risk limits, status; what a unified account is not given is refused."""

from __future__ import annotations

from typing import Any, Final

from engine.exchanges.simulator import margin
from engine.exchanges.simulator.bybit_common import VENUE_OF, category_of, market_of, optional_market, refuse
from engine.exchanges.simulator.model import plain
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import Route, World

_RISK_VALUE: Final = "2000000"
_LONGEST_DCP_S: Final = 300


def fee_rate(world: World, call: Call) -> dict[str, Any]:
    """GET account/fee-rate; without a category that of perpetuals."""
    category = category_of(call) if call.params.get("category") else "linear"
    market, venue = optional_market(world, call, category), VENUE_OF[category]
    chosen = [market] if market else list(world.markets[venue].values())
    taker, maker = plain(margin.TAKER_FEE[venue]), plain(margin.MAKER_FEE[venue])
    return {"category": category, "list": [{"symbol": m.id, "takerFeeRate": taker, "makerFeeRate": maker, "baseCoin": ""} for m in chosen]}


def coin_info(world: World, call: Call) -> dict[str, Any]:
    """GET asset/coin/query-info: no transfers here, so no chains."""
    return {"rows": []}


def other_wallets(world: World, call: Call) -> dict[str, Any]:
    """GET asset/transfer/query-account-coins-balance: other wallets than the unified one are empty."""
    kind = call.params.get("accountType", "")
    rows: list[dict[str, str]] = []
    if kind == "UNIFIED":
        held = call.owner.balances.items()
        rows = [{"coin": coin, "walletBalance": plain(b.total), "transferBalance": plain(b.free), "bonus": "0"} for coin, b in held]
    return {"memberId": str(call.owner.uid), "accountType": kind, "balance": rows}


def system_status(world: World, call: Call) -> dict[str, Any]:
    """GET system/status: no maintenance is planned."""
    return {"list": []}


def account_ratio(world: World, call: Call) -> dict[str, Any]:
    """GET market/account-ratio: as many long as short."""
    market = market_of(world, category_of(call), call.params.get("symbol", ""))
    row = {"symbol": market.id, "buyRatio": "0.5", "sellRatio": "0.5", "timestamp": str(world.clock.now_ms())}
    return {"list": [row], "nextPageCursor": ""}


def price_limit(world: World, call: Call) -> dict[str, Any]:
    """GET market/price-limit: highest bid and lowest ask that are taken."""
    category = category_of(call) if call.params.get("category") else "linear"
    market = market_of(world, category, call.params.get("symbol", ""))
    mid, now = world.prices.mid(market), world.clock.now_ms()
    return {"symbol": market.id, "buyLmt": plain(mid * 2), "sellLmt": plain((mid / 2).quantize(market.tick)), "ts": str(now)}


def disconnected_cancel_all(world: World, call: Call) -> dict[str, Any]:
    """POST order/disconnected-cancel-all: the window is taken; it counts from a lost private stream, and none is served here."""
    if not 3 <= call.integer("timeWindow", 0) <= _LONGEST_DCP_S:
        raise refuse(10001, "params error: timeWindow invalid")
    return {}


def add_margin(world: World, call: Call) -> dict[str, Any]:
    """POST position/add-margin: only isolated positions have a margin of their own."""
    if call.owner.account_margin_mode != "ISOLATED_MARGIN":
        raise refuse(10001, "params error: margin can be changed in isolated margin mode only")
    market = market_of(world, category_of(call), call.params.get("symbol", ""))
    position = call.owner.position(market)
    if not position.quantity:
        raise refuse(10001, "position is zero, can not change margin")
    leverage, mark = call.owner.leverage_of(market), plain(world.prices.mid(market))
    head = {"category": "linear", "symbol": market.id, "positionIdx": 0, "riskId": 1, "riskLimitValue": _RISK_VALUE}
    sizes = {"size": plain(abs(position.quantity)), "positionValue": plain(abs(position.quantity) * position.entry)}
    return (
        head
        | sizes
        | {"avgPrice": plain(position.entry), "leverage": str(leverage), "markPrice": mark, "margin": call.params.get("margin", "")}
    )


def auto_add_margin(world: World, call: Call) -> dict[str, Any]:
    """POST position/set-auto-add-margin."""
    market_of(world, category_of(call), call.params.get("symbol", ""))
    if call.integer("autoAddMargin", 2) not in (0, 1):
        raise refuse(10001, "params error: autoAddMargin invalid")
    return {}


def risk_limit(world: World, call: Call) -> dict[str, Any]:
    """POST position/set-risk-limit: there is one tier a market."""
    if call.integer("riskId", 0) != 1:
        raise refuse(10001, "params error: riskId invalid")
    return {"category": category_of(call), "riskId": 1, "riskLimitValue": _RISK_VALUE}


def tpsl_mode(world: World, call: Call) -> dict[str, Any]:
    """POST position/set-tpsl-mode."""
    market_of(world, category_of(call), call.params.get("symbol", ""))
    if call.params.get("tpSlMode") not in ("Full", "Partial"):
        raise refuse(10001, "params error: tpSlMode invalid")
    return {"tpSlMode": call.params["tpSlMode"]}


def not_for_unified(world: World, call: Call) -> dict[str, Any]:
    """What the older account types had."""
    raise refuse(100028, "unified account is forbidden")


ROUTES: Final = {
    ("GET", "/v5/account/fee-rate"): Route(fee_rate, "signed", group="other"),
    ("GET", "/v5/asset/coin/query-info"): Route(coin_info, "signed", group="other"),
    ("GET", "/v5/asset/transfer/query-account-coins-balance"): Route(other_wallets, "signed", group="other"),
    ("GET", "/v5/system/status"): Route(system_status),
    ("GET", "/v5/market/account-ratio"): Route(account_ratio),
    ("GET", "/v5/market/price-limit"): Route(price_limit),
    ("POST", "/v5/order/disconnected-cancel-all"): Route(disconnected_cancel_all, "signed", group="other"),
    ("POST", "/v5/position/add-margin"): Route(add_margin, "signed", group="create"),
    ("POST", "/v5/position/set-auto-add-margin"): Route(auto_add_margin, "signed", group="create"),
    ("POST", "/v5/position/set-risk-limit"): Route(risk_limit, "signed", group="create"),
    ("POST", "/v5/position/set-tpsl-mode"): Route(tpsl_mode, "signed", group="create"),
    ("POST", "/v5/position/switch-isolated"): Route(not_for_unified, "signed", group="create"),
}
