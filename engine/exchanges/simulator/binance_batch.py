"""Batches of Binance USD-M: orders that are placed, changed or cancelled in one request, each taken or refused on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from engine.exchanges.simulator.binance_common import malformed, required, venue_error
from engine.exchanges.simulator.binance_usdm import cancel, created, modify, place
from engine.exchanges.simulator.model import Refused
from engine.exchanges.simulator.wire import Call, Malformed, VenueError, as_text
from engine.exchanges.simulator.world import Route, World

_MOST_PLACED: Final = 5
_MOST_CANCELED: Final = 10


def create_batch(world: World, call: Call) -> list[dict[str, Any]]:
    """POST batchOrders."""

    def act(params: dict[str, str]) -> dict[str, Any]:
        return created(place(world, call, params), params.get("newOrderRespType", "ACK"))

    return [_one(call, item, act) for item in _orders(call)]


def modify_batch(world: World, call: Call) -> list[dict[str, Any]]:
    """PUT batchOrders."""
    return [_one(call, item, lambda params: modify(world, call, params)) for item in _orders(call)]


def cancel_batch(world: World, call: Call) -> list[dict[str, Any]]:
    """DELETE batchOrders by orderIdList or origClientOrderIdList (any case)."""
    lower = {key.lower(): value for key, value in call.params.items()}
    name = "orderId" if "orderidlist" in lower else "origClientOrderId"
    call.params["list"] = lower.get("orderidlist") or lower.get("origclientorderidlist") or ""
    symbol, wanted = call.params.get("symbol", ""), _list(call, "list", _MOST_CANCELED)
    return [_one(call, {"symbol": symbol, name: item}, lambda params: cancel(world, call, params)) for item in wanted]


def _one(call: Call, item: dict[str, Any], act: Callable[[dict[str, str]], dict[str, Any]]) -> dict[str, Any]:
    try:
        return act({str(key): as_text(value) for key, value in item.items()})
    except Refused as refusal:
        error = venue_error(call.exchange, refusal)
    except Malformed as wrong:
        error = malformed(wrong)
    except VenueError as refused:
        error = refused
    return {"code": error.code, "msg": error.message}


def _orders(call: Call) -> list[dict[str, Any]]:
    items = _list(call, "batchOrders", _MOST_PLACED)
    if not all(isinstance(item, dict) for item in items):
        raise Malformed("batchOrders")
    return items


def _list(call: Call, name: str, most: int) -> list[Any]:
    try:
        value = orjson.loads(required(call.params, name))
    except orjson.JSONDecodeError:
        raise Malformed(name) from None
    if not isinstance(value, list) or not value:
        raise Malformed(name)
    if len(value) > most:
        raise VenueError(-4082, "Invalid number of batch place orders.")
    return value


ROUTES: Final = {
    ("POST", "/fapi/v1/batchOrders"): Route(create_batch, "signed", 5, "create", "order"),
    ("PUT", "/fapi/v1/batchOrders"): Route(modify_batch, "signed", 5, "other", "order"),
    ("DELETE", "/fapi/v1/batchOrders"): Route(cancel_batch, "signed", 1, "cancel"),
}
