"""Binance USD-M conditional ("algo") orders: they wait for a trigger price, then become plain orders of the engine."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.binance_common import client_id_of, limit_of, market_of, missing, optional_market, required, side_of
from engine.exchanges.simulator.binance_usdm import limit_price
from engine.exchanges.simulator.filters import check_filters
from engine.exchanges.simulator.model import BOTH, ZERO, Market, NewOrder, Order, Refused, plain
from engine.exchanges.simulator.wire import Call, VenueError, decimal
from engine.exchanges.simulator.world import Route, World

_LIMITED: Final = frozenset({"STOP", "TAKE_PROFIT"})
_TYPES: Final = _LIMITED | {"STOP_MARKET", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
_STATUS: Final = {"UNTRIGGERED": "NEW", "CANCELED": "CANCELED", "REJECTED": "REJECTED", "EXPIRED": "EXPIRED"}
_ECHOED: Final = ("priceMatch", "selfTradePreventionMode", "workingType", "timeInForce", "activatePrice", "callbackRate", "closePosition")


def parse_order(world: World, call: Call) -> NewOrder:
    """A conditional order from its parameters."""
    params = call.params
    market, side, kind = market_of(world, call), side_of(params), required(params, "type")
    if required(params, "algoType") != "CONDITIONAL" or kind not in _TYPES:
        raise VenueError(-1116, "Invalid orderType.")
    if not params.get("quantity") and params.get("closePosition") != "true":
        raise missing("quantity")
    trigger, rises = _trigger(world, market, side, kind, params)
    return NewOrder(
        market=market,
        side=side,
        type=kind,
        quantity=decimal(params.get("quantity", ""), "quantity") or abs(call.owner.position(market).quantity),
        client_id=client_id_of(world, call, params, "clientAlgoId"),
        price=limit_price(world, market, side, params) if kind in _LIMITED else ZERO,
        time_in_force=params.get("timeInForce", "GTC"),
        reduce_only="true" in (params.get("reduceOnly", ""), params.get("closePosition", "")),
        position_side=params.get("positionSide", BOTH),
        trigger_price=trigger,
        trigger_rises=rises,
        echo={"algo": "1"} | {name: params[name] for name in _ECHOED if name in params},
    )


def _trigger(world: World, market: Market, side: str, kind: str, params: dict[str, str]) -> tuple[Decimal, bool]:
    """Trigger price and direction; a trailing stop's is counted from the current price."""
    rises = (side == "BUY") != kind.startswith("TAKE_PROFIT")
    if kind != "TRAILING_STOP_MARKET":
        price = decimal(required(params, "triggerPrice"), "triggerPrice")
        return price, rises
    rate = decimal(required(params, "callbackRate"), "callbackRate") / 100
    start = decimal(params.get("activatePrice", ""), "activatePrice") or world.prices.mid(market)
    return start * (1 + rate if rises else 1 - rate), rises


def _check(world: World, ask: NewOrder) -> None:
    check_filters(ask, world.prices)
    mid = world.prices.mid(ask.market)
    if mid >= ask.trigger_price if ask.trigger_rises else mid <= ask.trigger_price:
        raise Refused("trigger_now")


def create(world: World, call: Call) -> dict[str, Any]:
    """POST algoOrder."""
    ask = parse_order(world, call)
    order = world.place(call, ask, lambda: _check(world, ask))
    view = algo_view(order)
    for name in ("actualOrderId", "actualPrice", "tpOrderType"):
        del view[name]
    return view | {name: ask.echo.get(name, "") for name in ("activatePrice", "callbackRate")}


def algo_view(order: Order) -> dict[str, Any]:
    """A conditional order as the query endpoints show it."""
    ask, echo, fired = order.ask, order.ask.echo, order.triggered
    return {
        "algoId": order.id,
        "clientAlgoId": ask.client_id,
        "algoType": "CONDITIONAL",
        "orderType": ask.type,
        "symbol": order.market.id,
        "side": ask.side,
        "positionSide": ask.position_side,
        "timeInForce": echo.get("timeInForce", "GTC"),
        "quantity": plain(order.quantity),
        "algoStatus": "FINISHED" if fired else _STATUS[order.status],
        "actualOrderId": str(order.id) if fired else "",
        "actualPrice": plain(order.average) if fired else "0.00000",
        "triggerPrice": plain(ask.trigger_price),
        "price": plain(ask.price) if ask.price else "0.00",
        "icebergQuantity": None,
        "tpOrderType": "",
        "selfTradePreventionMode": echo.get("selfTradePreventionMode", "EXPIRE_MAKER"),
        "workingType": echo.get("workingType", "CONTRACT_PRICE"),
        "priceMatch": echo.get("priceMatch", "NONE"),
        "closePosition": echo.get("closePosition") == "true",
        "priceProtect": False,
        "reduceOnly": ask.reduce_only,
        "createTime": order.created_ms,
        "updateTime": order.updated_ms,
        "triggerTime": order.updated_ms if fired else 0,
        "goodTillDate": 0,
    }


def _find(world: World, call: Call, code: int, message: str) -> Order:
    params, owner, order = call.params, call.owner, None
    if params.get("algoId"):
        order = owner.orders.get(call.integer("algoId", 0))
    elif params.get("clientAlgoId"):
        order = owner.by_client.get(params["clientAlgoId"])
    else:
        raise VenueError(-1102, "Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!")
    if order is None or "algo" not in order.ask.echo or not world.visible(order):
        raise VenueError(code, message)
    return order


def query(world: World, call: Call) -> dict[str, Any]:
    """GET algoOrder."""
    return algo_view(_find(world, call, -2013, "Order does not exist."))


def cancel(world: World, call: Call) -> dict[str, Any]:
    """DELETE algoOrder."""
    order = _find(world, call, -2011, "Unknown order sent.")
    if order.status != "UNTRIGGERED":
        raise VenueError(-2011, "Unknown order sent.")
    world.engine.cancel(order)
    return {"algoId": order.id, "clientAlgoId": order.ask.client_id, "code": "200", "msg": "success"}


def _algos(world: World, call: Call) -> list[Order]:
    return [order for order in world.seen(call.owner, optional_market(world, call)) if "algo" in order.ask.echo]


def open_algos(world: World, call: Call) -> list[dict[str, Any]]:
    """GET openAlgoOrders."""
    return [algo_view(order) for order in _algos(world, call) if order.status == "UNTRIGGERED"]


def all_algos(world: World, call: Call) -> list[dict[str, Any]]:
    """GET allAlgoOrders of a symbol."""
    market_of(world, call)
    return [algo_view(order) for order in _algos(world, call)][-limit_of(call, 500, 1000) :]


def cancel_all(world: World, call: Call) -> dict[str, Any]:
    """DELETE algoOpenOrders of a symbol."""
    market_of(world, call)
    for order in _algos(world, call):
        if order.status == "UNTRIGGERED":
            world.engine.cancel(order)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


ROUTES: Final = {
    ("POST", "/fapi/v1/algoOrder"): Route(create, "signed", 0, "create", "order"),
    ("GET", "/fapi/v1/algoOrder"): Route(query, "signed", 1, "query"),
    ("DELETE", "/fapi/v1/algoOrder"): Route(cancel, "signed", 1, "cancel"),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(open_algos, "signed", 1, "query"),
    ("GET", "/fapi/v1/allAlgoOrders"): Route(all_algos, "signed", 5, "query"),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route(cancel_all, "signed", 1, "cancel"),
}
