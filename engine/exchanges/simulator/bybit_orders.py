"""Bybit v5 order entry: create, amend, cancel, batches. A create answers with an acknowledgement; execution follows it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.bybit_common import (
    VENUE_OF,
    category_of,
    filtered,
    find_order,
    fits,
    market_of,
    order_id,
    refuse,
    venue_error,
)
from engine.exchanges.simulator.filters import check_filters
from engine.exchanges.simulator.model import BOTH, ZERO, Market, NewOrder, Order, Refused
from engine.exchanges.simulator.wire import Call, Malformed, VenueError, as_text, decimal
from engine.exchanges.simulator.world import Route, World

_LINK: Final = re.compile(r"[A-Za-z0-9\-_]{1,36}")
_SIDES: Final = {"Buy": "BUY", "Sell": "SELL"}
_FORCES: Final = {"": "GTC", "GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "PostOnly": "GTC"}
_STOPS: Final = ("takeProfit", "stopLoss")
MOST_IN_BATCH: Final = {"spot": 10, "linear": 20}
_POSITION_SIDES: Final = {"0": BOTH, "1": "LONG", "2": "SHORT"}
_ECHOED: Final = (
    "marketUnit", "orderFilter", "takeProfit", "stopLoss", "tpslMode", "tpLimitPrice", "slLimitPrice", "tpOrderType", "slOrderType",
    "triggerDirection", "triggerBy", "timeInForce",
)  # fmt: skip


def parse_order(world: World, category: str, params: dict[str, str]) -> NewOrder:
    """An order from a create's JSON fields (as text)."""
    market, side, kind = _head(world, category, params)
    link = params.get("orderLinkId", "")
    if link and not _LINK.fullmatch(link):
        raise refuse(10001, "params error: OrderLinkId invalid")
    force = params.get("timeInForce", "")
    if force not in _FORCES:
        raise refuse(170115, "Invalid timeInForce.") if category == "spot" else refuse(10001, "params error: TimeInForce invalid")
    price = decimal(params.get("price", ""), "price") if kind == "Limit" else ZERO
    if kind == "Limit" and not price:
        raise refuse(10001, "params error: price invalid")
    quantity = decimal(params.get("qty", ""), "qty")
    in_quote = market.is_spot and kind == "Market" and params.get("marketUnit", "quoteCoin" if side == "BUY" else "baseCoin") == "quoteCoin"
    trigger, rises = _trigger(world, market, params)
    for name in _STOPS:
        decimal(params.get(name, ""), name)
    return NewOrder(
        market=market,
        side=side,
        type=kind,
        quantity=ZERO if in_quote else quantity,
        client_id=link or f"sim{world.engine.next_order_id()}",
        price=price,
        quote_quantity=quantity if in_quote else ZERO,
        time_in_force="IOC" if kind == "Market" else _FORCES[force],
        reduce_only=params.get("reduceOnly") == "true" and not market.is_spot,
        position_side=_POSITION_SIDES.get(params.get("positionIdx", "0"), BOTH),
        trigger_price=trigger,
        trigger_rises=rises,
        post_only=force == "PostOnly",
        echo={name: params[name] for name in _ECHOED if name in params} | ({} if link else {"unnamed": "1"}),
    )


def _head(world: World, category: str, params: dict[str, str]) -> tuple[Market, str, str]:
    market = market_of(world, category, params.get("symbol", ""))
    side, kind = _SIDES.get(params.get("side", "")), params.get("orderType", "")
    if side is None:
        raise refuse(10001, "params error: side invalid")
    if kind not in ("Market", "Limit"):
        raise refuse(10001, "params error: orderType invalid")
    return market, side, kind


def _trigger(world: World, market: Market, params: dict[str, str]) -> tuple[Decimal, bool]:
    """Trigger price and whether it waits for a rise: said by triggerDirection on linear, by the current price on spot."""
    price, direction = decimal(params.get("triggerPrice", ""), "triggerPrice"), params.get("triggerDirection", "0")
    if direction not in ("0", "1", "2") or (direction == "0" and price and not market.is_spot):
        raise refuse(10001, "params error: TriggerDirection invalid")
    if not price:
        return ZERO, True
    return price, price >= world.prices.mid(market) if market.is_spot else direction == "1"


def _place(world: World, call: Call, category: str, params: dict[str, str]) -> Order:
    ask = parse_order(world, category, params)
    if ask.reduce_only and ask.is_market and params.get("qty") == "0":
        # Bybit's way to close all of a position.
        held = abs(call.owner.position(ask.market, ask.position_side).quantity)
        ask.quantity = min(held, ask.market.max_market_qty) or ask.market.min_qty
    if ask.position_side != BOTH:
        ask.reduce_only = ask.reduce_only or (ask.side == "SELL") == (ask.position_side == "LONG")
    try:
        order = world.place(call, ask, lambda: check_filters(ask, world.prices))
    except Refused as refusal:
        raise venue_error(category, refusal) from None
    world.execute_after_ack(call, order)
    return order


def create(world: World, call: Call) -> dict[str, str]:
    """POST order/create."""
    return _ids(_place(world, call, category_of(call), call.params))


def _ids(order: Order) -> dict[str, str]:
    """The ids of an acknowledgement; linear shows an empty link for orders without one, spot a generated one."""
    named = "unnamed" not in order.ask.echo or order.market.is_spot
    return {"orderId": order_id(order), "orderLinkId": order.ask.client_id.removeprefix("sim") if named else ""}


def _open_order(world: World, call: Call, category: str, params: dict[str, Any]) -> Order:
    market_of(world, category, str(params.get("symbol", "")))
    if not (params.get("orderId") or params.get("orderLinkId")):
        raise refuse(10001, "params error: orderId or orderLinkId is required")
    order = find_order(call.owner, category, params)
    if order is not None and order.is_open and world.visible(order):
        return order
    if category == "linear":
        raise refuse(110001, "order not exists or too late to cancel")
    if order is not None and order.status == "FILLED":
        raise refuse(170139, "Order has been filled.")
    if order is not None and order.status == "CANCELED":
        raise refuse(170142, "Order has been canceled.")
    raise refuse(170213, "Order does not exist.")


def cancel(world: World, call: Call) -> dict[str, str]:
    """POST order/cancel."""
    order = _open_order(world, call, category_of(call), call.params)
    world.engine.cancel(order)
    return _ids(order)


def cancel_all(world: World, call: Call) -> dict[str, Any]:
    """POST order/cancel-all: a symbol's, or all of a category; stop orders when asked by orderFilter."""
    category = category_of(call)
    market = market_of(world, category, call.params["symbol"]) if call.params.get("symbol") else None
    if category == "spot":
        call.params.setdefault("orderFilter", "Order")
    if category == "linear" and market is None and not (call.params.get("settleCoin") or call.params.get("baseCoin")):
        raise refuse(10001, "params error: symbol, settleCoin or baseCoin is required")
    chosen = [
        order
        for order in world.open_orders(call.owner, market)
        if order.market.venue == VENUE_OF[category] and fits(call, order.market) and filtered(call, order)
    ]
    for order in chosen:
        world.engine.cancel(order)
    return {"list": [_ids(order) for order in chosen], "success": "1"}


def amend(world: World, call: Call) -> dict[str, str]:
    """POST order/amend."""
    return _ids(_amend(world, call, category_of(call), call.params))


def _amend(world: World, call: Call, category: str, params: dict[str, str]) -> Order:
    """Give an open order what the parameters name of size, limit, trigger, take profit and stop loss."""
    order = _open_order(world, call, category, params)
    numbers = {name: decimal(params.get(name, ""), name) for name in ("qty", "price", "triggerPrice")}
    stops = {name: params[name] for name in _STOPS if params.get(name)}
    ask = order.ask
    wanted = (numbers["qty"] or order.quantity, numbers["price"] or ask.price, numbers["triggerPrice"] or ask.trigger_price)
    if wanted == (order.quantity, ask.price, ask.trigger_price) and all(ask.echo.get(name) == value for name, value in stops.items()):
        raise refuse(10001, "The order remains unchanged as the parameters entered match the existing ones.")
    for name, value in stops.items():
        decimal(value, name)
    try:
        world.engine.amend(order, *wanted)
    except Refused as refusal:
        raise venue_error(category, refusal) from None
    order.ask.echo |= stops
    return order


def _batch(call: Call) -> list[dict[str, str]]:
    items = call.document.get("request")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise refuse(10001, "params error: request is required")
    if len(items) > MOST_IN_BATCH[category_of(call)]:
        raise refuse(10001, "params error: too many orders in one request")
    return [{str(name): as_text(value) for name, value in item.items()} for item in items]


def _each(call: Call, act: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run one action for each item of a batch; the reply has a result and a code for each."""
    rows, codes = [], []
    for item in _batch(call):
        try:
            rows.append(act(item))
            codes.append({"code": 0, "msg": "OK"})
            continue
        except Malformed as wrong:
            error = refuse(10001, f"params error: {wrong} invalid")
        except VenueError as refused:
            error = refused
        rows.append({name: item.get(name, "") for name in ("category", "symbol", "orderLinkId")} | {"orderId": "", "createAt": ""})
        codes.append({"code": error.code, "msg": error.message})
    return {"list": rows}, {"list": codes}


def create_batch(world: World, call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """POST order/create-batch."""
    category = category_of(call)

    def place(item: dict[str, str]) -> dict[str, str]:
        order = _place(world, call, category, item)
        return {"category": category, "symbol": order.market.id, "createAt": str(order.created_ms)} | _ids(order)

    return _each(call, place)


def cancel_batch(world: World, call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """POST order/cancel-batch."""
    category = category_of(call)

    def end(item: dict[str, str]) -> dict[str, str]:
        order = _open_order(world, call, category, item)
        world.engine.cancel(order)
        return {"category": category, "symbol": order.market.id} | _ids(order)

    return _each(call, end)


def amend_batch(world: World, call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """POST order/amend-batch."""
    category = category_of(call)

    def change(item: dict[str, str]) -> dict[str, str]:
        order = _amend(world, call, category, item)
        return {"category": category, "symbol": order.market.id} | _ids(order)

    return _each(call, change)


ROUTES: Final = {
    ("POST", "/v5/order/create"): Route(create, "signed", 1, "create", "create"),
    ("POST", "/v5/order/create-batch"): Route(create_batch, "signed", 1, "create", "create"),
    ("POST", "/v5/order/amend"): Route(amend, "signed", 1, "other", "create"),
    ("POST", "/v5/order/amend-batch"): Route(amend_batch, "signed", 1, "other", "create"),
    ("POST", "/v5/order/cancel"): Route(cancel, "signed", 1, "cancel", "create"),
    ("POST", "/v5/order/cancel-batch"): Route(cancel_batch, "signed", 1, "cancel", "create"),
    ("POST", "/v5/order/cancel-all"): Route(cancel_all, "signed", 1, "cancel", "create"),
}
