"""Binance USD-M futures REST: orders and trades of `/fapi`, in Binance's wire format. Account, batches and algo orders live beside it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.binance_common import (
    check_archived,
    chosen_fills,
    client_id_of,
    find_order,
    market_of,
    missing,
    not_required,
    plain_orders,
    refuse_empty,
    required,
    side_of,
)
from engine.exchanges.simulator.filters import check_filters
from engine.exchanges.simulator.model import BOTH, ZERO, Market, NewOrder, Order, plain
from engine.exchanges.simulator.wire import Call, VenueError, decimal, whole
from engine.exchanges.simulator.world import Route, World

_CONDITIONAL: Final = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
_ECHOED: Final = ("priceMatch", "selfTradePreventionMode", "workingType", "goodTillDate")


def parse_order(world: World, call: Call, params: dict[str, str]) -> NewOrder:
    """A plain futures order from its parameters; conditional types belong to the algo endpoint."""
    market, side, kind = market_of(world, call, params), side_of(params), required(params, "type")
    if kind in _CONDITIONAL:
        raise VenueError(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.")
    if kind not in ("LIMIT", "MARKET"):
        raise VenueError(-1116, "Invalid orderType.")
    if not params.get("quantity"):
        raise missing("quantity")
    refuse_empty(params)
    if kind == "LIMIT" and not params.get("timeInForce"):
        raise missing("timeInForce")
    force = params.get("timeInForce", "GTC")
    if force not in ("GTC", "IOC", "FOK", "GTX", "GTD"):
        raise VenueError(-1115, "Invalid timeInForce.")
    if kind == "MARKET":
        for name in ("price", "timeInForce"):
            if name in params:
                raise not_required(name.lower())
    if call.owner.hedge and "reduceOnly" in params:
        raise not_required("reduceonly")
    if "goodTillDate" in params or force == "GTD":
        whole(required(params, "goodTillDate"), "goodTillDate")
    return NewOrder(
        market=market,
        side=side,
        type=kind,
        quantity=decimal(params["quantity"], "quantity"),
        client_id=client_id_of(world, call, params),
        price=limit_price(world, market, side, params) if kind == "LIMIT" else ZERO,
        time_in_force=force,
        reduce_only=params.get("reduceOnly", "").lower() == "true",
        position_side=params.get("positionSide", BOTH),
        post_only=force == "GTX",
        echo={name: params[name] for name in _ECHOED if name in params},
    )


def limit_price(world: World, market: Market, side: str, params: dict[str, str]) -> Decimal:
    """The limit: as sent, or the book's best price that `priceMatch` asks for."""
    match = params.get("priceMatch", "NONE")
    if match == "NONE":
        price = decimal(params.get("price", ""), "price")
        if not price:
            raise missing("price")
        return price
    book = world.prices.book(market)
    opponent = match.startswith("OPPONENT") == (side == "BUY")
    return (book.asks if opponent else book.bids)[0][0]


def place(world: World, call: Call, params: dict[str, str]) -> Order:
    ask = parse_order(world, call, params)
    if ask.position_side != BOTH:
        ask.reduce_only = ask.reduce_only or (ask.side == "SELL") == (ask.position_side == "LONG")
    order = world.place(call, ask, lambda: check_filters(ask, world.prices))
    world.engine.execute(order)
    return order


def create_order(world: World, call: Call) -> dict[str, Any]:
    """POST order: RESULT shows the final state of market orders, ACK the state before matching."""
    order = place(world, call, call.params)
    return created(order, call.params.get("newOrderRespType", "ACK"))


def test_order(world: World, call: Call) -> dict[str, Any]:
    """POST order/test: checks only."""
    check_filters(parse_order(world, call, call.params), world.prices)
    return {}


def created(order: Order, form: str) -> dict[str, Any]:
    """A placement's reply."""
    acked = form == "ACK" and order.ask.is_market
    progress = {
        "status": "NEW" if acked else order.status,
        "avgPrice": "0.00" if acked else average(order),
        "executedQty": "0" if acked else amount(order, order.filled),
        "cumQty": "0" if acked else amount(order, order.filled),
        "cumQuote": "0" if acked else plain(order.quote),
    }
    return {"orderId": order.id, "symbol": order.market.id} | progress | _fixed(order) | {"updateTime": order.updated_ms}


def amount(order: Order, value: Decimal) -> str:
    """A quantity with the market's decimals."""
    return format(value.quantize(order.market.step) if value else value, "f")


def average(order: Order) -> str:
    """avgPrice as Binance writes it."""
    return plain(order.average) if order.filled else "0.00"


def _fixed(order: Order) -> dict[str, Any]:
    """What does not change while the order fills."""
    ask, echo = order.ask, order.ask.echo
    return {
        "clientOrderId": ask.client_id,
        "price": plain(ask.price) if ask.price else "0.00",
        "origQty": amount(order, order.quantity),
        "timeInForce": ask.time_in_force,
        "type": _type(order),
        "reduceOnly": ask.reduce_only,
        "closePosition": False,
        "side": ask.side,
        "positionSide": ask.position_side,
        "stopPrice": "0.00",
        "workingType": echo.get("workingType", "CONTRACT_PRICE"),
        "priceProtect": False,
        "origType": ask.type,
        "priceMatch": echo.get("priceMatch", "NONE"),
        "selfTradePreventionMode": echo.get("selfTradePreventionMode", "EXPIRE_MAKER"),
        "goodTillDate": int(echo.get("goodTillDate", "0")),
    }


def _type(order: Order) -> str:
    """A conditional order is a plain one after its trigger."""
    return order.ask.type if "algo" not in order.ask.echo else "MARKET" if order.ask.is_market else "LIMIT"


def order_view(order: Order) -> dict[str, Any]:
    """An order as the query endpoints show it."""
    head = {"orderId": order.id, "symbol": order.market.id, "status": order.status, "avgPrice": average(order)}
    done = {"executedQty": amount(order, order.filled), "cumQuote": plain(order.quote)}
    return head | done | _fixed(order) | {"time": order.created_ms, "updateTime": order.updated_ms}


def get_order(world: World, call: Call) -> dict[str, Any]:
    """GET order."""
    order = find_order(world, call.owner, market_of(world, call), call.params, -2013, "Order does not exist.")
    check_archived(world, order)
    return order_view(order)


def get_open_order(world: World, call: Call) -> dict[str, Any]:
    """GET openOrder: only while it is open."""
    order = find_order(world, call.owner, market_of(world, call), call.params, -2013, "Order does not exist.")
    if not order.is_open:
        raise VenueError(-2013, "Order does not exist.")
    return order_view(order)


def open_orders(world: World, call: Call) -> list[dict[str, Any]]:
    """GET openOrders."""
    return [order_view(order) for order in plain_orders(world, call, only_open=True)]


def all_orders(world: World, call: Call) -> list[dict[str, Any]]:
    """GET allOrders."""
    market_of(world, call)
    return [order_view(order) for order in plain_orders(world, call, only_open=False)]


def cancel(world: World, call: Call, params: dict[str, str]) -> dict[str, Any]:
    order = find_order(world, call.owner, market_of(world, call), params, -2011, "Unknown order sent.")
    if not order.is_open:
        raise VenueError(-2011, "Unknown order sent.")
    world.engine.cancel(order)
    return created(order, "RESULT")


def cancel_order(world: World, call: Call) -> dict[str, Any]:
    """DELETE order."""
    return cancel(world, call, call.params)


def cancel_all(world: World, call: Call) -> dict[str, Any]:
    """DELETE allOpenOrders of a symbol."""
    market_of(world, call)
    for order in plain_orders(world, call, only_open=True):
        world.engine.cancel(order)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def modify_order(world: World, call: Call) -> dict[str, Any]:
    """PUT order: a resting limit order gets a new size and price."""
    return modify(world, call, call.params)


def modify(world: World, call: Call, params: dict[str, str]) -> dict[str, Any]:
    order = find_order(world, call.owner, market_of(world, call, params), params, -2013, "Order does not exist.")
    quantity, price = (decimal(required(params, name), name) for name in ("quantity", "price"))
    if not order.is_open or order.ask.is_market:
        raise VenueError(-5026, "The order has been traded or canceled.")
    if (quantity, price) == (order.quantity, order.ask.price):
        raise VenueError(-5027, "No need to modify the order.")
    world.engine.amend(order, quantity, price)
    return created(order, "RESULT")


def user_trades(world: World, call: Call) -> list[dict[str, Any]]:
    """GET userTrades of a symbol."""
    return [
        {
            "symbol": fill.order.market.id,
            "id": fill.id,
            "orderId": fill.order.id,
            "side": fill.order.ask.side,
            "price": plain(fill.price),
            "qty": amount(fill.order, fill.quantity),
            "realizedPnl": plain(fill.realized),
            "quoteQty": plain(fill.quote),
            "commission": plain(fill.fee),
            "commissionAsset": fill.fee_asset,
            "time": fill.at_ms,
            "positionSide": fill.order.ask.position_side,
            "maker": fill.maker,
            "buyer": fill.order.ask.side == "BUY",
            "marginAsset": "USDT",
        }
        for fill in chosen_fills(world, call)
    ]


ROUTES: Final = {
    ("POST", "/fapi/v1/order"): Route(create_order, "signed", 0, "create", "order"),
    ("POST", "/fapi/v1/order/test"): Route(test_order, "signed", 0),
    ("GET", "/fapi/v1/order"): Route(get_order, "signed", 1, "query"),
    ("PUT", "/fapi/v1/order"): Route(modify_order, "signed", 1, "other", "order"),
    ("DELETE", "/fapi/v1/order"): Route(cancel_order, "signed", 1, "cancel"),
    ("GET", "/fapi/v1/openOrder"): Route(get_open_order, "signed", 1, "query"),
    ("GET", "/fapi/v1/openOrders"): Route(open_orders, "signed", 1, "query", weight_all=40),
    ("GET", "/fapi/v1/allOrders"): Route(all_orders, "signed", 5, "query"),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(cancel_all, "signed", 1, "cancel"),
    ("GET", "/fapi/v1/userTrades"): Route(user_trades, "signed", 5, "query"),
}
