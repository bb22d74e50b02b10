"""Bybit v5 account endpoints: wallet, info, permissions, positions, leverage, margin and position mode, fee rates."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator import bybit_market, bybit_orders, bybit_queries, margin
from engine.exchanges.simulator.bybit_common import category_of, fits, market_of, optional_market, page, refuse
from engine.exchanges.simulator.model import BOTH, ZERO, Account, Balance, Position, plain
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import Route, World

_MAINTENANCE: Final = Decimal("0.005")
_INDEX: Final = {BOTH: 0, "LONG": 1, "SHORT": 2}
_YEAR_MS: Final = 365 * 86_400_000


def _value(world: World, asset: str) -> Decimal:
    """USD value of one unit of an asset."""
    market = world.markets["bybit"].get(asset + "USDT")
    return Decimal(1) if asset == margin.QUOTE else world.prices.mid(market) if market else ZERO


def wallet_balance(world: World, call: Call) -> dict[str, Any]:
    """GET account/wallet-balance of the unified account."""
    owner, prices = call.owner, world.prices
    if call.params.get("accountType") != "UNIFIED":
        raise refuse(10001, "accountType only support UNIFIED.")
    owner.balance(margin.QUOTE)
    wallet = sum((held.total * _value(world, asset) for asset, held in owner.balances.items()), ZERO)
    profit = margin.total_unrealised(owner, prices)
    initial, order_im = margin.position_margin(owner, prices), margin.order_margin(owner)
    upkeep = sum((margin.notional(p, prices) for p in owner.positions.values()), ZERO) * _MAINTENANCE
    totals = {
        "totalEquity": wallet + profit,
        "totalMarginBalance": wallet + profit,
        "totalWalletBalance": wallet,
        "totalAvailableBalance": max(margin.available(owner, prices), ZERO),
        "totalPerpUPL": profit,
        "totalInitialMargin": initial + order_im,
        "totalMaintenanceMargin": upkeep,
    }
    rates = {"accountIMRate": _rate(initial, wallet + profit), "accountMMRate": _rate(upkeep, wallet + profit), "accountLTV": "0"}
    asked = call.params.get("coin", "").split(",")
    shown = [(coin, held) for coin, held in owner.balances.items() if (coin in asked if asked != [""] else held.total or coin == "USDT")]
    coins = [_coin(world, owner, coin, held, initial, order_im) for coin, held in shown]
    texts = {name: plain(value.quantize(Decimal("1e-8"))) for name, value in totals.items()}
    return {"list": [texts | rates | {"accountType": "UNIFIED", "coin": coins}]}


def _rate(part: Decimal, whole: Decimal) -> str:
    return format(part / whole, ".4f") if whole > 0 else "0"


def _coin(world: World, owner: Account, asset: str, held: Balance, initial: Decimal, order_im: Decimal) -> dict[str, Any]:
    quote = asset == margin.QUOTE
    profit = margin.total_unrealised(owner, world.prices) if quote else ZERO
    upkeep = sum((margin.notional(p, world.prices) for p in owner.positions.values()), ZERO) * _MAINTENANCE if quote else ZERO
    realized = sum((p.realized for p in owner.positions.values()), ZERO) if quote else ZERO
    return {
        "availableToBorrow": "",
        "bonus": "0",
        "accruedInterest": "0",
        "availableToWithdraw": "",
        "totalOrderIM": plain(order_im if quote else ZERO),
        "equity": plain(held.total + profit),
        "totalPositionMM": plain(upkeep),
        "usdValue": plain(((held.total + profit) * _value(world, asset)).quantize(Decimal("1e-8"))),
        "unrealisedPnl": plain(profit),
        "collateralSwitch": True,
        "spotHedgingQty": "0",
        "borrowAmount": "0.000000000000000000",
        "totalPositionIM": plain(initial if quote else ZERO),
        "walletBalance": plain(held.total),
        "cumRealisedPnl": plain(realized),
        "locked": plain(held.locked),
        "marginCollateral": True,
        "coin": asset,
    }


def account_info(world: World, call: Call) -> dict[str, Any]:
    """GET account/info."""
    return {
        "marginMode": call.owner.account_margin_mode,
        "updatedTime": str(world.clock.now_ms()),
        "unifiedMarginStatus": 6,
        "dcpStatus": "OFF",
        "timeWindow": 0,
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
    }


def query_api(world: World, call: Call) -> dict[str, Any]:
    """GET user/query-api: what the key may do."""
    owner, now = call.owner, world.clock.now_ms()
    trade = owner.can_trade
    permissions = {
        "ContractTrade": ["Order", "Position"] if trade else [],
        "Spot": ["SpotTrade"] if trade else [],
        "Wallet": ["AccountTransfer", "Withdraw"] if owner.can_withdraw else [],
        "Options": ["OptionsTrade"] if trade else [],
        "Derivatives": ["DerivativesTrade"] if trade else [],
    }
    permissions |= {name: [] for name in ("CopyTrading", "BlockTrade", "Exchange", "NFT", "Affiliate", "Earn")}
    ids = {"id": str(owner.uid), "note": owner.label, "apiKey": owner.api_key, "readOnly": int(not trade), "secret": ""}
    times = {"deadlineDay": 90, "expiredAt": _iso(now + _YEAR_MS), "createdAt": _iso(now - _YEAR_MS)}
    numbers = {"unified": 0, "uta": 1, "userID": owner.uid, "inviterID": 0, "affiliateID": 0}
    rest = {"vipLevel": "No VIP", "mktMakerLevel": "0", "rsaPublicKey": "", "isMaster": True, "parentUid": "0"}
    kyc = {"kycLevel": "LEVEL_DEFAULT", "kycRegion": ""}
    return ids | {"permissions": permissions, "ips": ["*"], "type": 1} | times | numbers | rest | kyc


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def positions(world: World, call: Call) -> dict[str, Any]:
    """GET position/list: a symbol's (flat ones too), or all open ones of a settle coin."""
    category, owner = category_of(call), call.owner
    if category != "linear":
        raise refuse(10001, "params error: category invalid")
    market = optional_market(world, call, category)
    if market is not None:
        held = [owner.position(market, side) for side in (("LONG", "SHORT") if owner.hedge else (BOTH,))]
    elif call.params.get("settleCoin") or call.params.get("baseCoin"):
        held = [position for position in owner.positions.values() if position.quantity and fits(call, position.market)]
    else:
        raise refuse(10001, "params error: symbol or settleCoin is required")
    chosen, cursor = page(call, held, 20, 200)
    return {"nextPageCursor": cursor, "category": category, "list": [_position(world, owner, position) for position in chosen]}


def _position(world: World, owner: Account, position: Position) -> dict[str, Any]:
    m, size = position.market, abs(position.quantity)
    leverage, value = owner.leverage_of(m), abs(position.quantity) * position.entry
    initial, upkeep = plain(value / leverage), plain(value * _MAINTENANCE)
    entry = plain(position.entry.quantize(Decimal("1e-10")))
    blank = dict.fromkeys(("liqPrice", "bustPrice", "leverageSysUpdatedTime", "mmrSysUpdatedTime", "sessionAvgPrice"), "")
    margins = {"positionIM": initial, "positionIMByMp": initial, "positionMM": upkeep, "positionMMByMp": upkeep}
    flags = {"isReduceOnly": False, "autoAddMargin": 0, "adlRankIndicator": 2 if size else 0, "tradeMode": 0, "riskId": 1}
    money = {"cumRealisedPnl": plain(position.realized), "curRealisedPnl": plain(position.realized), "positionBalance": "0"}
    stops = {"takeProfit": "", "stopLoss": "", "tpslMode": "Full", "trailingStop": "0"} | position.stops
    return blank | margins | flags | money | stops | {
        "symbol": m.id,
        "leverage": str(leverage),
        "breakEvenPrice": entry if size else "",
        "avgPrice": entry,
        "riskLimitValue": "2000000",
        "positionValue": plain(value) if size else "",
        "unrealisedPnl": plain(margin.unrealised(position, world.prices)) if size else "",
        "markPrice": plain(world.prices.mid(m)),
        "createdTime": str(position.created_ms),
        "updatedTime": str(position.updated_ms),
        "positionIdx": _INDEX[position.side],
        "seq": position.updated_ms,
        "side": ("Buy" if position.quantity > 0 else "Sell") if size else "",
        "size": plain(size),
        "positionStatus": "Normal",
    }  # fmt: skip


def set_leverage(world: World, call: Call) -> dict[str, Any]:
    """POST position/set-leverage: the same for both sides."""
    category = category_of(call)
    market = market_of(world, category, call.params.get("symbol", ""))
    buy, sell = call.number("buyLeverage"), call.number("sellLeverage")
    if buy != sell or not 1 <= buy <= market.max_leverage:
        raise (
            refuse(110013, "cannot set leverage due to risk limit")
            if buy == sell
            else refuse(10001, "buy leverage not equal sell leverage")
        )
    if call.owner.leverage.get(market.id) == int(buy):
        raise refuse(110043, "leverage not modified")
    call.owner.leverage[market.id] = int(buy)
    return {}


def switch_mode(world: World, call: Call) -> dict[str, Any]:
    """POST position/switch-mode: 0 one-way, 3 hedge; only while flat."""
    category_of(call)
    hedge, owner = call.params.get("mode") == "3", call.owner
    if owner.hedge == hedge:
        raise refuse(110025, "Position mode is not modified")
    if any(position.quantity for position in owner.positions.values()):
        raise refuse(110024, "You have an existing position, so the position mode cannot be switched")
    if any(not order.market.is_spot for order in owner.open_orders.values()):
        raise refuse(110028, "You have existing open orders, so the position mode cannot be switched")
    owner.hedge = hedge
    return {}


def set_margin_mode(world: World, call: Call) -> dict[str, Any]:
    """POST account/set-margin-mode for the whole account."""
    wanted = call.params.get("setMarginMode", "")
    if wanted not in ("ISOLATED_MARGIN", "REGULAR_MARGIN", "PORTFOLIO_MARGIN"):
        raise refuse(10001, "params error: setMarginMode invalid")
    if wanted == call.owner.account_margin_mode:
        raise refuse(110026, "Cross/isolated margin mode is not modified")
    call.owner.account_margin_mode = wanted
    return {"reasons": []}


def trading_stop(world: World, call: Call) -> dict[str, Any]:
    """POST position/trading-stop: take profit and stop loss of an open position."""
    market = market_of(world, category_of(call), call.params.get("symbol", ""))
    position = call.owner.position(market)
    if not position.quantity:
        raise refuse(10001, "can not set tp/sl/ts for zero position")
    for name in ("takeProfit", "stopLoss", "trailingStop"):
        call.number(name)
    for name in ("takeProfit", "stopLoss", "tpslMode", "trailingStop"):
        if name in call.params:
            position.stops[name] = call.params[name]
    world.engine.watch_stops(call.owner, position)
    return {}


ROUTES: Final = (
    bybit_market.ROUTES
    | bybit_orders.ROUTES
    | bybit_queries.ROUTES
    | {
        ("GET", "/v5/account/wallet-balance"): Route(wallet_balance, "signed", group="query"),
        ("GET", "/v5/account/info"): Route(account_info, "signed", group="query"),
        ("POST", "/v5/account/set-margin-mode"): Route(set_margin_mode, "signed", group="other"),
        ("GET", "/v5/user/query-api"): Route(query_api, "signed", group="other"),
        ("GET", "/v5/position/list"): Route(positions, "signed", group="query"),
        ("POST", "/v5/position/set-leverage"): Route(set_leverage, "signed", group="create"),
        ("POST", "/v5/position/switch-mode"): Route(switch_mode, "signed", group="create"),
        ("POST", "/v5/position/trading-stop"): Route(trading_stop, "signed", group="create"),
    }
)
