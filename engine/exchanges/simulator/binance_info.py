"""Exchange information of Binance spot and USD-M: markets with their filters in the wire format."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import orjson

from engine.exchanges.simulator.binance_common import market_of
from engine.exchanges.simulator.model import Market, fixed8, plain
from engine.exchanges.simulator.wire import Call, Malformed, VenueError
from engine.exchanges.simulator.world import World

_SPOT_TYPES: Final = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
_USDM_TYPES: Final = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
_PERPETUAL_DELIVERY_MS: Final = 4133404800000
_ONBOARD_MS: Final = 1569398400000


def spot_info(world: World, call: Call) -> dict[str, Any]:
    """GET api/v3/exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": world.clock.now_ms(),
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, 6000),
            _limit("ORDERS", "SECOND", 10, 100),
            _limit("ORDERS", "DAY", 1, 200000),
            _limit("RAW_REQUESTS", "MINUTE", 5, 61000),
        ],
        "exchangeFilters": [],
        "symbols": [market.raw or _spot_symbol(market) for market in asked(world, call)],
        "sors": [],
    }


def usdm_info(world: World, call: Call) -> dict[str, Any]:
    """GET fapi/v1/exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": world.clock.now_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, 2400),
            _limit("ORDERS", "MINUTE", 1, 1200),
            _limit("ORDERS", "SECOND", 10, 300),
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [market.raw or _usdm_symbol(market) for market in world.markets["binanceusdm"].values()],
    }


def empty_info(world: World, call: Call) -> dict[str, Any]:
    """Exchange information of a venue that we do not simulate (COIN-M): no symbols."""
    return {"timezone": "UTC", "serverTime": world.clock.now_ms(), "rateLimits": [], "exchangeFilters": [], "symbols": []}


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def asked(world: World, call: Call) -> list[Market]:
    """The markets of `symbol` or `symbols`; all when neither was sent."""
    if call.params.get("symbol"):
        return [market_of(world, call)]
    if not call.params.get("symbols"):
        return list(world.markets[call.exchange].values())
    try:
        ids = orjson.loads(call.params["symbols"])
    except orjson.JSONDecodeError:
        raise Malformed("symbols") from None
    listed = world.markets[call.exchange]
    if not isinstance(ids, list):
        raise Malformed("symbols")
    if not all(isinstance(market_id, str) and market_id in listed for market_id in ids):
        raise VenueError(-1121, "Invalid symbol.")
    return [listed[market_id] for market_id in ids]


def _spot_symbol(m: Market) -> dict[str, Any]:
    precision = dict.fromkeys(
        ("baseAssetPrecision", "quotePrecision", "quoteAssetPrecision", "baseCommissionPrecision", "quoteCommissionPrecision"), 8
    )
    allowed = dict.fromkeys(
        (
            "icebergAllowed", "ocoAllowed", "otoAllowed", "opoAllowed", "quoteOrderQtyMarketAllowed", "allowTrailingStop",
            "cancelReplaceAllowed", "amendAllowed", "pegInstructionsAllowed", "isSpotTradingAllowed",
        ),
        True,
    )  # fmt: skip
    return (
        {"symbol": m.id, "status": "TRADING", "baseAsset": m.base, "quoteAsset": "USDT", "orderTypes": _SPOT_TYPES}
        | precision
        | allowed
        | {
            "isMarginTradingAllowed": False,
            "filters": _spot_filters(m),
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
            "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
        }
    )


def _spot_filters(m: Market) -> list[dict[str, Any]]:
    delta = {"minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000, "minTrailingBelowDelta": 10, "maxTrailingBelowDelta": 2000}
    sides = {"bidMultiplierUp": "5", "bidMultiplierDown": "0.2", "askMultiplierUp": "5", "askMultiplierDown": "0.2", "avgPriceMins": 5}
    notional = {"applyMinToMarket": True, "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5}
    price = {"minPrice": fixed8(m.min_price), "maxPrice": fixed8(m.max_price), "tickSize": fixed8(m.tick)}
    return [
        {"filterType": "PRICE_FILTER"} | price,
        {"filterType": "LOT_SIZE", "minQty": fixed8(m.min_qty), "maxQty": fixed8(m.max_qty), "stepSize": fixed8(m.step)},
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": fixed8(m.max_market_qty), "stepSize": "0.00000000"},
        {"filterType": "TRAILING_DELTA"} | delta,
        {"filterType": "PERCENT_PRICE_BY_SIDE"} | sides,
        {"filterType": "NOTIONAL", "minNotional": fixed8(m.min_notional)} | notional,
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]


def _usdm_symbol(m: Market) -> dict[str, Any]:
    return {
        "symbol": m.id,
        "pair": m.id,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_DELIVERY_MS,
        "onboardDate": _ONBOARD_MS,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": m.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": _decimals(m.tick),
        "quantityPrecision": _decimals(m.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["Layer-1"],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": _usdm_filters(m),
        "orderTypes": _USDM_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }


def _usdm_filters(m: Market) -> list[dict[str, Any]]:
    lot = {"minQty": plain(m.min_qty), "stepSize": plain(m.step)}
    price = {"minPrice": plain(m.min_price), "maxPrice": plain(m.max_price), "tickSize": format(m.tick, "f")}
    return [
        {"filterType": "PRICE_FILTER"} | price,
        {"filterType": "LOT_SIZE", "maxQty": plain(m.max_qty)} | lot,
        {"filterType": "MARKET_LOT_SIZE", "maxQty": plain(m.max_market_qty)} | lot,
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
        {"filterType": "MIN_NOTIONAL", "notional": plain(m.min_notional)},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "2.0000", "multiplierDown": "0.5000", "multiplierDecimal": "4"},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]


def _decimals(step: Decimal) -> int:
    exponent = step.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)
