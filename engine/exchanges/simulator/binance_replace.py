"""Binance spot's other ways to place an order: cancel-replace (both results are told) and smart order routing (one venue here, so the same
book)."""

from __future__ import annotations

from typing import Any, Final

from engine.exchanges.simulator import binance_spot
from engine.exchanges.simulator.binance_common import invalid, not_required, required, venue_error
from engine.exchanges.simulator.model import Refused
from engine.exchanges.simulator.wire import Call, VenueError
from engine.exchanges.simulator.world import Route, World

_MODES: Final = ("STOP_ON_FAILURE", "ALLOW_FAILURE")


def cancel_replace(world: World, call: Call) -> dict[str, Any]:
    """POST order/cancelReplace. The new order's form and filters are looked at before anything is cancelled; a failure of one half says
    what became of the other."""
    params = call.params
    mode = required(params, "cancelReplaceMode")
    if mode not in _MODES:
        raise invalid("cancelReplaceMode")
    binance_spot.check_order(world, binance_spot.parse_order(world, call, params))
    canceled, cancel_result = _cancelled(world, call)
    placed: dict[str, Any] | None = None
    new_result = "NOT_ATTEMPTED"
    if cancel_result == "SUCCESS" or mode == "ALLOW_FAILURE":
        placed, new_result = _placed(world, call)
    results = {"cancelResult": cancel_result, "newOrderResult": new_result, "cancelResponse": canceled, "newOrderResponse": placed}
    failed = [result for result in (cancel_result, new_result) if result != "SUCCESS"]
    if len(failed) == 2:
        raise VenueError(-2022, "Order cancel-replace failed.", 400, results)
    if failed:
        raise VenueError(-2021, "Order cancel-replace partially failed.", 409, results)
    return results


def _cancelled(world: World, call: Call) -> tuple[dict[str, Any], str]:
    params = call.params
    target = {"symbol": params.get("symbol", "")}
    target |= {"orderId": params["cancelOrderId"]} if params.get("cancelOrderId") else {}
    target |= {"origClientOrderId": params["cancelOrigClientOrderId"]} if params.get("cancelOrigClientOrderId") else {}
    if len(target) == 1:
        raise VenueError(-1102, "Param 'cancelOrigClientOrderId' or 'cancelOrderId' must be sent, but both were empty/null!")
    target |= {"newClientOrderId": params["cancelNewClientOrderId"]} if params.get("cancelNewClientOrderId") else {}
    try:
        return binance_spot.cancel(world, call, target), "SUCCESS"
    except VenueError as error:
        return {"code": error.code, "msg": error.message}, "FAILURE"


def _placed(world: World, call: Call) -> tuple[dict[str, Any], str]:
    try:
        order = binance_spot.place(world, call, call.params)
    except Refused as refusal:
        error = venue_error(call.exchange, refusal)
        return {"code": error.code, "msg": error.message}, "FAILURE"
    return binance_spot.created(order, call.params.get("newOrderRespType", "FULL")), "SUCCESS"


def sor_order(world: World, call: Call) -> dict[str, Any]:
    """POST sor/order: limit and market orders by quantity."""
    _check_sor(call)
    reply: dict[str, Any] = binance_spot.created(binance_spot.place(world, call, call.params), call.params.get("newOrderRespType", "FULL"))
    match = {"matchType": "ONE_PARTY_TRADE_REPORT", "allocId": 0}
    fills = {"fills": [match | fill for fill in reply["fills"]]} if "fills" in reply else {}
    return reply | fills | {"workingFloor": "SOR", "usedSor": True}


def test_sor_order(world: World, call: Call) -> dict[str, Any]:
    """POST sor/order/test: checks only."""
    _check_sor(call)
    return binance_spot.test_order(world, call)


def _check_sor(call: Call) -> None:
    if required(call.params, "type") not in ("LIMIT", "MARKET"):
        raise VenueError(-1116, "Invalid orderType.")
    if "quoteOrderQty" in call.params:
        raise not_required("quoteOrderQty")


ROUTES: Final = {
    ("POST", "/api/v3/order/cancelReplace"): Route(cancel_replace, "signed", 1, "create", "order"),
    ("POST", "/api/v3/sor/order"): Route(sor_order, "signed", 1, "create", "order"),
    ("POST", "/api/v3/sor/order/test"): Route(test_sor_order, "signed", 1),
}
