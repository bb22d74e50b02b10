"""Binance spot REST: orders, account and trades of `/api/v3`, permissions of `/sapi/v1`, in Binance's wire format."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.binance_common import (
    amount_of,
    check_archived,
    client_id_of,
    find_order,
    invalid,
    market_of,
    missing,
    not_required,
    plain_orders,
    refuse_empty,
    required,
    side_of,
)
from engine.exchanges.simulator.filters import check_filters
from engine.exchanges.simulator.model import ZERO, Fill, Market, NewOrder, Order, Refused, fixed8
from engine.exchanges.simulator.wire import Call, VenueError, decimal, whole
from engine.exchanges.simulator.world import Route, World

_LIMITED: Final = frozenset({"LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
_STOPS: Final = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
_TYPES: Final = _LIMITED | _STOPS | {"MARKET"}
_ECHOED: Final = ("icebergQty", "trailingDelta", "strategyId", "strategyType", "selfTradePreventionMode")
_FUTURES_ONLY: Final = ("reduceOnly", "positionSide", "closePosition")
_FOREIGN: Final = {
    "MARKET": ("price", "timeInForce", "stopPrice", "trailingDelta", "icebergQty"),
    "LIMIT": ("quoteOrderQty", "stopPrice", "trailingDelta"),
    "LIMIT_MAKER": ("timeInForce", "quoteOrderQty", "stopPrice", "trailingDelta"),
    "STOP_LOSS": ("price", "timeInForce", "quoteOrderQty", "icebergQty"),
    "TAKE_PROFIT": ("price", "timeInForce", "quoteOrderQty", "icebergQty"),
    "STOP_LOSS_LIMIT": ("quoteOrderQty",),
    "TAKE_PROFIT_LIMIT": ("quoteOrderQty",),
}
"""By order type, the parameters that do not go with it."""
_LEAST_STRATEGY_TYPE: Final = 1_000_000
_TRAILING: Final = range(10, 2001)
"""Trailing deltas that the markets allow, in basis points."""


def parse_order(world: World, call: Call, params: dict[str, str]) -> NewOrder:
    """A spot order from its parameters; Binance refuses malformed ones before it looks at filters."""
    market, side, kind = market_of(world, call, params), side_of(params), required(params, "type")
    if kind not in _TYPES:
        raise VenueError(-1116, "Invalid orderType.")
    refuse_empty(params)
    _check_combination(kind, params)
    price, quote = amount_of(params, "price"), amount_of(params, "quoteOrderQty")
    if kind in _LIMITED and not price:
        raise missing("price")
    if not quote and not params.get("quantity"):
        raise missing("quantity")
    quantity = amount_of(params, "quantity")
    _check_extras(params, quantity)
    trigger, rises = _trigger(world, market, side, kind, params)
    return NewOrder(
        market=market,
        side=side,
        type=kind,
        quantity=quantity,
        client_id=client_id_of(world, call, params),
        price=price if kind in _LIMITED else ZERO,
        quote_quantity=quote if kind == "MARKET" else ZERO,
        time_in_force=params.get("timeInForce", "GTC"),
        post_only=kind == "LIMIT_MAKER",
        trigger_price=trigger,
        trigger_rises=rises,
        echo={name: params[name] for name in (*_ECHOED, "stopPrice") if name in params},
    )


def _check_combination(kind: str, params: dict[str, str]) -> None:
    """Parameters that the order type does not know, or that exclude each other."""
    for name in (*_FUTURES_ONLY, *_FOREIGN[kind]):
        if name in params:
            raise not_required(name)
    if kind == "MARKET" and params.get("quantity") and params.get("quoteOrderQty"):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    force = params.get("timeInForce", "GTC" if kind not in _LIMITED or kind == "LIMIT_MAKER" else "")
    if not force:
        raise missing("timeInForce")
    if force not in ("GTC", "IOC", "FOK"):
        raise VenueError(-1115, "Invalid timeInForce.")
    if params.get("newOrderRespType", "FULL") not in ("ACK", "RESULT", "FULL"):
        raise invalid("newOrderRespType")


def _check_extras(params: dict[str, str], quantity: Decimal) -> None:
    """Iceberg, trailing and strategy parameters."""
    if amount_of(params, "icebergQty") > quantity:
        raise VenueError(-2010, "IcebergQty exceeds QTY.")
    if "trailingDelta" in params and whole(params["trailingDelta"], "trailingDelta") not in _TRAILING:
        raise VenueError(-1013, "Filter failure: TRAILING_DELTA")
    if "strategyId" in params:
        whole(params["strategyId"], "strategyId")
    if "strategyType" in params and whole(params["strategyType"], "strategyType") < _LEAST_STRATEGY_TYPE:
        raise VenueError(-1134, "`strategyType` was less than 1000000.")


def _trigger(world: World, market: Market, side: str, kind: str, params: dict[str, str]) -> tuple[Decimal, bool]:
    """Trigger price and direction: stops follow the order's side, take profits go against it; a bare trailing delta counts from now."""
    if kind not in _STOPS:
        return ZERO, True
    rises = (side == "BUY") == kind.startswith("STOP")
    price, delta = amount_of(params, "stopPrice"), decimal(params.get("trailingDelta", ""), "trailingDelta")
    if not price and not delta:
        raise VenueError(-1102, "Param 'stopPrice' or 'trailingDelta' must be sent, but both were empty/null!")
    if price:
        return price, rises
    shift = delta / 10_000
    return world.prices.mid(market) * (1 + shift if rises else 1 - shift), rises


def check_order(world: World, ask: NewOrder) -> None:
    """Filters, then a stop that would fire at once."""
    check_filters(ask, world.prices)
    if ask.trigger_price:
        mid = world.prices.mid(ask.market)
        if mid >= ask.trigger_price if ask.trigger_rises else mid <= ask.trigger_price:
            raise Refused("trigger_now")


def create_order(world: World, call: Call) -> Any:
    """POST order: executed before the answer; FULL carries the fills."""
    order = place(world, call, call.params)
    default = "FULL" if order.ask.type in ("MARKET", "LIMIT") else "ACK"
    return created(order, call.params.get("newOrderRespType", default))


def place(world: World, call: Call, params: dict[str, str]) -> Order:
    ask = parse_order(world, call, params)
    order = world.place(call, ask, lambda: check_order(world, ask))
    world.engine.execute(order)
    return order


def test_order(world: World, call: Call) -> dict[str, Any]:
    """POST order/test: checks only."""
    check_order(world, parse_order(world, call, call.params))
    return {}


def created(order: Order, form: str) -> dict[str, Any]:
    reply = {
        "symbol": order.market.id,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.ask.client_id,
        "transactTime": order.updated_ms,
    }
    if form == "ACK":
        return reply
    reply |= _amounts(order) | {"workingTime": _working(order)} | _extras(order)
    if form == "FULL":
        reply["fills"] = [_fill(fill) for fill in order.fills]
    return reply | {"selfTradePreventionMode": order.ask.echo.get("selfTradePreventionMode", "EXPIRE_MAKER")}


def _amounts(order: Order) -> dict[str, Any]:
    ask = order.ask
    return {
        "price": fixed8(ask.price),
        "origQty": fixed8(order.quantity),
        "executedQty": fixed8(order.filled),
        "origQuoteOrderQty": fixed8(ask.quote_quantity),
        "cummulativeQuoteQty": fixed8(order.quote),
        "status": "NEW" if order.status == "UNTRIGGERED" else order.status,
        "timeInForce": ask.time_in_force,
        "type": ask.type,
        "side": ask.side,
    }


def _working(order: Order) -> int:
    return -1 if order.status == "UNTRIGGERED" else order.created_ms


def _extras(order: Order) -> dict[str, Any]:
    """Fields that only orders with them carry."""
    echo, extras = order.ask.echo, dict[str, Any]()
    if "stopPrice" in echo:
        extras["stopPrice"] = fixed8(Decimal(echo["stopPrice"]))
    if "icebergQty" in echo:
        extras["icebergQty"] = fixed8(Decimal(echo["icebergQty"]))
    if "trailingDelta" in echo:
        extras |= {"trailingDelta": int(echo["trailingDelta"]), "trailingTime": order.created_ms}
    return extras | {name: int(echo[name]) for name in ("strategyId", "strategyType") if name in echo}


def _fill(fill: Fill) -> dict[str, Any]:
    return {
        "price": fixed8(fill.price),
        "qty": fixed8(fill.quantity),
        "commission": fixed8(fill.fee),
        "commissionAsset": fill.fee_asset,
        "tradeId": fill.id,
    }


def order_view(order: Order) -> dict[str, Any]:
    """An order as the query endpoints show it."""
    return (
        {"symbol": order.market.id, "orderId": order.id, "orderListId": -1, "clientOrderId": order.ask.client_id}
        | _amounts(order)
        | {"stopPrice": "0.00000000", "icebergQty": "0.00000000"}
        | _extras(order)
        | {
            "time": order.created_ms,
            "updateTime": order.updated_ms,
            "isWorking": order.status != "UNTRIGGERED",
            "workingTime": _working(order),
            "selfTradePreventionMode": order.ask.echo.get("selfTradePreventionMode", "EXPIRE_MAKER"),
        }
    )


def get_order(world: World, call: Call) -> dict[str, Any]:
    """GET order by orderId or origClientOrderId."""
    order = find_order(world, call.owner, market_of(world, call), call.params, -2013, "Order does not exist.")
    check_archived(world, order)
    return order_view(order)


def open_orders(world: World, call: Call) -> list[dict[str, Any]]:
    """GET openOrders."""
    return [order_view(order) for order in plain_orders(world, call, only_open=True)]


def all_orders(world: World, call: Call) -> list[dict[str, Any]]:
    """GET allOrders of a symbol."""
    market_of(world, call)
    return [order_view(order) for order in plain_orders(world, call, only_open=False)]


def _canceled(order: Order, cancel_id: str) -> dict[str, Any]:
    """A cancel's reply: clientOrderId is the cancel's own id, the order's is origClientOrderId."""
    head = {"symbol": order.market.id, "origClientOrderId": order.ask.client_id, "orderId": order.id, "orderListId": -1}
    mode = order.ask.echo.get("selfTradePreventionMode", "EXPIRE_MAKER")
    return (
        head
        | {"clientOrderId": cancel_id, "transactTime": order.updated_ms}
        | _amounts(order)
        | _extras(order)
        | {"selfTradePreventionMode": mode}
    )


def cancel(world: World, call: Call, params: dict[str, str]) -> dict[str, Any]:
    order = find_order(world, call.owner, market_of(world, call), params, -2011, "Unknown order sent.")
    if not order.is_open:
        raise VenueError(-2011, "Unknown order sent.")
    world.engine.cancel(order)
    return _canceled(order, client_id_of(world, call, params))


def cancel_order(world: World, call: Call) -> dict[str, Any]:
    """DELETE order."""
    return cancel(world, call, call.params)


def cancel_open_orders(world: World, call: Call) -> list[dict[str, Any]]:
    """DELETE openOrders of a symbol."""
    market_of(world, call)
    orders = plain_orders(world, call, only_open=True)
    if not orders:
        raise VenueError(-2011, "Unknown order sent.")
    replies = []
    for order in orders:
        world.engine.cancel(order)
        replies.append(_canceled(order, client_id_of(world, call, {})))
    return replies


ROUTES: Final = {
    ("POST", "/api/v3/order"): Route(create_order, "signed", 1, "create", "order"),
    ("POST", "/api/v3/order/test"): Route(test_order, "signed", 1),
    ("GET", "/api/v3/order"): Route(get_order, "signed", 4, "query"),
    ("DELETE", "/api/v3/order"): Route(cancel_order, "signed", 1, "cancel"),
    ("GET", "/api/v3/openOrders"): Route(open_orders, "signed", 6, "query", weight_all=80),
    ("DELETE", "/api/v3/openOrders"): Route(cancel_open_orders, "signed", 1, "cancel"),
    ("GET", "/api/v3/allOrders"): Route(all_orders, "signed", 20, "query"),
}
