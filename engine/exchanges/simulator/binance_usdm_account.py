"""Binance USD-M account endpoints: balances, positions, leverage, margin type, position mode, brackets, commission."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator import binance_market, binance_usdm, margin
from engine.exchanges.simulator.binance_common import market_of, missing, optional_market, required
from engine.exchanges.simulator.model import ZERO, Market, Position, plain
from engine.exchanges.simulator.wire import Call, VenueError
from engine.exchanges.simulator.world import Route, World

_MAINTENANCE: Final = Decimal("0.005")
_EIGHT: Final = Decimal("1e-8")


def _cap(market: Market, leverage: int) -> str:
    return str(margin.most_notional(market, leverage))


def _text(value: Decimal) -> str:
    return format(value.quantize(_EIGHT), "f")


def account(world: World, call: Call) -> dict[str, Any]:
    """GET v3/account (and v2): totals, the USDT asset, open positions."""
    owner, prices = call.owner, world.prices
    wallet, profit = owner.balance(margin.QUOTE).total, margin.total_unrealised(owner, prices)
    position_im, order_im = margin.position_margin(owner, prices), margin.order_margin(owner)
    free, held = max(margin.available(owner, prices), ZERO), [p for p in owner.positions.values() if p.quantity]
    maintenance = sum((margin.notional(p, prices) * _MAINTENANCE for p in held), ZERO)
    asset = {
        "walletBalance": wallet,
        "unrealizedProfit": profit,
        "marginBalance": wallet + profit,
        "maintMargin": maintenance,
        "initialMargin": position_im + order_im,
        "positionInitialMargin": position_im,
        "openOrderInitialMargin": order_im,
        "crossWalletBalance": wallet,
        "crossUnPnl": profit,
        "availableBalance": free,
        "maxWithdrawAmount": free,
    }
    texts = {name: _text(value) for name, value in asset.items()}
    flags = {"feeTier": 0, "canTrade": owner.can_trade, "canDeposit": True, "canWithdraw": owner.can_withdraw, "tradeGroupId": -1}
    now = {"updateTime": world.clock.now_ms()}
    totals = {("" if name in _UNTOTALED else "total") + _title(name): value for name, value in texts.items()}
    return (
        flags
        | {"updateTime": 0, "multiAssetsMargin": owner.multi_assets}
        | totals
        | {
            "assets": [{"asset": "USDT"} | texts | {"marginAvailable": True} | now],
            "positions": [_in_account(world, call, p) for p in held],
        }
    )


_UNTOTALED: Final = frozenset({"availableBalance", "maxWithdrawAmount"})


def _title(name: str) -> str:
    return name if name in _UNTOTALED else name[0].upper() + name[1:]


def _in_account(world: World, call: Call, position: Position) -> dict[str, Any]:
    risk = _risk(world, call, position)
    leverage, mode = call.owner.leverage_of(position.market), call.owner.margin_type.get(position.market.id, "CROSSED")
    kept = ("symbol", "initialMargin", "maintMargin", "positionInitialMargin", "openOrderInitialMargin", "entryPrice", "breakEvenPrice")
    also = ("positionSide", "positionAmt", "notional", "isolatedMargin", "isolatedWallet", "updateTime", "bidNotional", "askNotional")
    extra = {"unrealizedProfit": risk["unRealizedProfit"], "leverage": str(leverage), "isolated": mode == "ISOLATED"}
    return {name: risk[name] for name in kept + also} | extra | {"maxNotional": _cap(position.market, leverage)}


def _risk(world: World, call: Call, position: Position) -> dict[str, Any]:
    market, prices = position.market, world.prices
    value = position.quantity * prices.mid(market)
    initial, upkeep = abs(value) / call.owner.leverage_of(market), abs(value) * _MAINTENANCE
    isolated = call.owner.margin_type.get(market.id) == "ISOLATED"
    return {
        "symbol": market.id,
        "positionSide": position.side,
        "positionAmt": plain(position.quantity),
        "entryPrice": plain(position.entry.quantize(Decimal("1e-10"))) if position.entry else "0.0",
        "breakEvenPrice": plain((position.entry * Decimal("1.0005")).quantize(Decimal("1e-10"))) if position.entry else "0.0",
        "markPrice": _text(prices.mid(market)),
        "unRealizedProfit": _text(margin.unrealised(position, prices)),
        "liquidationPrice": "0",
        "isolatedMargin": _text(initial + position.added + margin.unrealised(position, prices)) if isolated else "0",
        "notional": _text(value),
        "marginAsset": "USDT",
        "isolatedWallet": _text(initial + position.added) if isolated else "0",
        "initialMargin": _text(initial),
        "maintMargin": _text(upkeep),
        "positionInitialMargin": _text(initial),
        "openOrderInitialMargin": "0",
        "adl": 2,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": position.updated_ms,
    }


def positions_v3(world: World, call: Call) -> list[dict[str, Any]]:
    """GET v3/positionRisk: open positions only."""
    market = optional_market(world, call)
    held = [p for p in call.owner.positions.values() if p.quantity and (market is None or p.market is market)]
    return [_risk(world, call, position) for position in held]


def positions_v2(world: World, call: Call) -> list[dict[str, Any]]:
    """GET v2/positionRisk: with leverage and margin type; flat markets too when asked for by symbol."""
    market, owner = optional_market(world, call), call.owner
    held = [p for p in owner.positions.values() if p.quantity and (market is None or p.market is market)]
    if market is not None and not held:
        held = [owner.position(market)]
    return [_risk(world, call, p) | _settings(world, call, p.market) for p in held]


def _settings(world: World, call: Call, market: Market) -> dict[str, Any]:
    mode = "isolated" if call.owner.margin_type.get(market.id) == "ISOLATED" else "cross"
    number = call.owner.leverage_of(market)
    leverage = {"leverage": str(number), "maxNotionalValue": _cap(market, number)}
    return {"marginType": mode, "isAutoAddMargin": "false"} | leverage


def balance(world: World, call: Call) -> list[dict[str, Any]]:
    """GET v3/balance (and v2)."""
    asset = account(world, call)["assets"][0]
    kept = ("asset", "crossWalletBalance", "crossUnPnl", "availableBalance", "maxWithdrawAmount", "marginAvailable", "updateTime")
    return [{"accountAlias": "SgsR", "balance": asset["walletBalance"]} | {name: asset[name] for name in kept}]


def set_leverage(world: World, call: Call) -> dict[str, Any]:
    """POST leverage."""
    market, leverage = market_of(world, call), call.integer("leverage", 0)
    required(call.params, "leverage")
    if not 1 <= leverage <= market.max_leverage:
        raise VenueError(-4028, f"Leverage {leverage} is not valid")
    cap, held = margin.most_notional(market, leverage), (p for p in call.owner.positions.values() if p.market is market)
    if any(margin.notional(position, world.prices) > cap for position in held):
        raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")
    call.owner.leverage[market.id] = leverage
    return {"symbol": market.id, "leverage": leverage, "maxNotionalValue": _cap(market, leverage)}


def set_margin_type(world: World, call: Call) -> dict[str, Any]:
    """POST marginType: changed only while the market is flat and has no orders."""
    market, wanted, owner = market_of(world, call), required(call.params, "marginType"), call.owner
    if wanted not in ("ISOLATED", "CROSSED"):
        raise missing("marginType")
    if owner.margin_type.get(market.id, "CROSSED") == wanted:
        raise VenueError(-4046, "No need to change margin type.")
    if any(order.market is market for order in owner.open_orders.values()):
        raise VenueError(-4047, "Margin type cannot be changed if there exists open orders.")
    if any(p.quantity for p in owner.positions.values() if p.market is market):
        raise VenueError(-4048, "Margin type cannot be changed if there exists position.")
    owner.margin_type[market.id] = wanted
    return {"code": 200, "msg": "success"}


def set_position_mode(world: World, call: Call) -> dict[str, Any]:
    """POST positionSide/dual: one-way or hedge, only while flat."""
    hedge, owner = required(call.params, "dualSidePosition").lower() == "true", call.owner
    if owner.hedge == hedge:
        raise VenueError(-4059, "No need to change position side.")
    if owner.open_orders:
        raise VenueError(-4067, "Position side cannot be changed if there exists open orders.")
    if any(position.quantity for position in owner.positions.values()):
        raise VenueError(-4068, "Position side cannot be changed if there exists position.")
    owner.hedge = hedge
    return {"code": 200, "msg": "success"}


def get_position_mode(world: World, call: Call) -> dict[str, Any]:
    """GET positionSide/dual."""
    return {"dualSidePosition": call.owner.hedge}


def symbol_config(world: World, call: Call) -> list[dict[str, Any]]:
    """GET symbolConfig: leverage and margin type of one market or of all."""
    market, owner = optional_market(world, call), call.owner
    chosen = [market] if market else list(world.markets["binanceusdm"].values())
    return [
        {
            "symbol": m.id,
            "marginType": owner.margin_type.get(m.id, "CROSSED"),
            "isAutoAddMargin": False,
            "leverage": owner.leverage_of(m),
            "maxNotionalValue": _cap(m, owner.leverage_of(m)),
        }
        for m in chosen
    ]


def brackets(world: World, call: Call) -> list[dict[str, Any]]:
    """GET leverageBracket: two brackets a market."""
    market = optional_market(world, call)
    chosen = [market] if market else list(world.markets["binanceusdm"].values())
    return [{"symbol": m.id, "notionalCoef": 1.0, "brackets": [_bracket(m, 1), _bracket(m, 2)]} for m in chosen]


def _bracket(market: Market, number: int) -> dict[str, Any]:
    first = number == 1
    return {
        "bracket": number,
        "initialLeverage": market.max_leverage if first else max(1, market.max_leverage // 2),
        "notionalCap": int(margin.NOTIONAL_CAPS[number - 1]),
        "notionalFloor": 0 if first else int(margin.NOTIONAL_CAPS[0]),
        "maintMarginRatio": 0.005 if first else 0.01,
        "cum": 0.0 if first else 2500.0,
    }


def commission_rate(world: World, call: Call) -> dict[str, Any]:
    """GET commissionRate."""
    market = market_of(world, call)
    rates = {"makerCommissionRate": "0.000200", "takerCommissionRate": "0.000500", "rpiCommissionRate": "0.00005"}
    return {"symbol": market.id} | rates


def account_config(world: World, call: Call) -> dict[str, Any]:
    """GET accountConfig: flags of the account."""
    owner = call.owner
    flags = {"feeTier": 0, "canTrade": owner.can_trade, "canDeposit": True, "canWithdraw": owner.can_withdraw}
    return flags | {"dualSidePosition": owner.hedge, "updateTime": 0, "multiAssetsMargin": owner.multi_assets, "tradeGroupId": -1}


def listen_key(world: World, call: Call) -> dict[str, str]:
    """POST and PUT listenKey: a key for the account's user stream, the same until the account is registered anew."""
    return {"listenKey": hashlib.sha256(call.owner.secret + call.owner.api_key.encode()).hexdigest()}


def close_listen_key(world: World, call: Call) -> dict[str, str]:
    """DELETE listenKey."""
    return {}


ROUTES: Final = (
    binance_market.USDM
    | binance_usdm.ROUTES
    | {
        ("GET", "/fapi/v3/account"): Route(account, "signed", 5),
        ("GET", "/fapi/v2/account"): Route(account, "signed", 5),
        ("GET", "/fapi/v3/balance"): Route(balance, "signed", 5),
        ("GET", "/fapi/v2/balance"): Route(balance, "signed", 5),
        ("GET", "/fapi/v3/positionRisk"): Route(positions_v3, "signed", 5),
        ("GET", "/fapi/v2/positionRisk"): Route(positions_v2, "signed", 5),
        ("POST", "/fapi/v1/leverage"): Route(set_leverage, "signed", 1),
        ("POST", "/fapi/v1/marginType"): Route(set_margin_type, "signed", 1),
        ("POST", "/fapi/v1/positionSide/dual"): Route(set_position_mode, "signed", 1),
        ("GET", "/fapi/v1/positionSide/dual"): Route(get_position_mode, "signed", 30),
        ("GET", "/fapi/v1/symbolConfig"): Route(symbol_config, "signed", 5),
        ("GET", "/fapi/v1/leverageBracket"): Route(brackets, "signed", 1),
        ("GET", "/fapi/v1/accountConfig"): Route(account_config, "signed", 5),
        ("POST", "/fapi/v1/listenKey"): Route(listen_key, "key", 1),
        ("PUT", "/fapi/v1/listenKey"): Route(listen_key, "key", 1),
        ("DELETE", "/fapi/v1/listenKey"): Route(close_listen_key, "key", 1),
        ("GET", "/fapi/v1/commissionRate"): Route(commission_rate, "signed", 20),
    }
)
