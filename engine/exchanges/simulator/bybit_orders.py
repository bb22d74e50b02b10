"""Bybit v5 order entry: create, amend, cancel, batches. A create answers with an acknowledgement; execution follows it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.bybit_common import VENUE_OF, category_of, find_order, market_of, order_id, refuse, venue_error
from engine.exchanges.simulator.filters import check_filters
from engine.exchanges.simulator.model import BOTH, ZERO, Market, NewOrder, Order, Refused
from engine.exchanges.simulator.wire import Call, VenueError, decimal
from engine.exchanges.simulator.world import Route, World

_LINK: Final = re.compile(r"[A-Za-z0-9\-_]{1,36}")
_SIDES: Final = {"Buy": "BUY", "Sell": "SELL"}
_FORCES: Final = {"": "GTC", "GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "PostOnly": "GTC"}
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
    price = decimal(params.get("triggerPrice", ""), "triggerPrice")
    if not price:
        return ZERO, True
    if market.is_spot:
        return price, price >= world.prices.mid(market)
    if params.get("triggerDirection") not in ("1", "2"):
        raise refuse(10001, "params error: TriggerDirection invalid")
    return price, params["triggerDirection"] == "1"


def _place(world: World, call: Call, category: str, params: dict[str, str]) -> Order:
    ask = parse_order(world, category, params)
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
    stops = call.params.get("orderFilter", "") not in ("", "Order")
    chosen = [
        order
        for order in world.open_orders(call.owner, market)
        if order.market.venue == VENUE_OF[category] and (not stops or order.status == "UNTRIGGERED")
    ]
    for order in chosen:
        world.engine.cancel(order)
    return {"list": [_ids(order) for order in chosen], "success": "1"}


def amend(world: World, call: Call) -> dict[str, str]:
    """POST order/amend."""
    order = _open_order(world, call, category_of(call), call.params)
    world.engine.amend(order, call.number("qty") or order.quantity, call.number("price") or order.ask.price)
    return _ids(order)


def _batch(call: Call) -> list[dict[str, str]]:
    items = call.document.get("request")
    if not isinstance(items, list) or not items:
        raise refuse(10001, "params error: request is required")
    return [{str(k): v if isinstance(v, str) else str(v).lower() for k, v in item.items()} for item in items]


def _each(call: Call, act: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run one action for each item of a batch; the reply has a result and a code for each."""
    rows, codes = [], []
    for item in _batch(call):
        try:
            rows.append(act(item))
            codes.append({"code": 0, "msg": "OK"})
        except VenueError as error:
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
        order = _open_order(world, call, category, item)
        quantity, price = decimal(item.get("qty", ""), "qty"), decimal(item.get("price", ""), "price")
        world.engine.amend(order, quantity or order.quantity, price or order.ask.price)
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
