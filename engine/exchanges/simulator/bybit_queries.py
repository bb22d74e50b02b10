"""Bybit v5 order queries: realtime (open, and closed ones by id), history (closed ones), executions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.bybit_common import (
    VENUE_OF,
    category_of,
    filtered,
    find_order,
    fits,
    optional_market,
    order_id,
    page,
    refuse,
    span,
    status_of,
    text,
    uuid_text,
)
from engine.exchanges.simulator.margin import MAKER_FEE, TAKER_FEE
from engine.exchanges.simulator.model import BOTH, ZERO, Fill, Market, Order, Payment, plain
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import DAY_MS, Route, World

_RECENT_CLOSED: Final = 500
_POSITION_IDX: Final = {BOTH: 0, "LONG": 1, "SHORT": 2}
_REJECTIONS: Final = {
    "liquidity": "EC_NoImmediateQtyToFill",
    "post_only": "EC_PostOnlyWillTakeLiquidity",
    "user": "EC_PerCancelRequest",
    "insufficient_margin": "EC_NoEnoughQtyToFill",
    "reduce_only": "EC_ReduceOnlyWillIncreasePosition",
}


def link_of(order: Order) -> str:
    """orderLinkId: what the client sent; spot shows a generated one."""
    if "unnamed" not in order.ask.echo:
        return order.ask.client_id
    return order.ask.client_id.removeprefix("sim") if order.market.is_spot else ""


def order_view(order: Order) -> dict[str, Any]:
    """One order as realtime and history show it."""
    ask, echo = order.ask, order.ask.echo
    empty = dict.fromkeys(("blockTradeId", "orderIv", "tpTriggerBy", "slTriggerBy", "placeType", "smpOrderId", "extraFees"), "")
    stop = bool(ask.trigger_price)
    return empty | _progress(order) | {
        "symbol": order.market.id,
        "orderType": ask.type,
        "orderLinkId": link_of(order),
        "orderId": order_id(order),
        "isLeverage": "0" if order.market.is_spot else "",
        "stopOrderType": ("Stop" if not order.market.is_spot else echo.get("orderFilter", "Stop")) if stop else "",
        "lastPriceOnCreated": "",
        "createType": "CreateByUser",
        "cancelType": "CancelByUser" if order.reject_reason == "user" else "UNKNOWN",
        "takeProfit": echo.get("takeProfit", ""),
        "stopLoss": echo.get("stopLoss", ""),
        "tpLimitPrice": echo.get("tpLimitPrice", "0" if not order.market.is_spot else ""),
        "slLimitPrice": echo.get("slLimitPrice", "0" if not order.market.is_spot else ""),
        "tpslMode": echo.get("tpslMode", ""),
        "smpType": "None",
        "smpGroup": 0,
        "triggerDirection": int(echo.get("triggerDirection", "0")),
        "triggerPrice": text(ask.trigger_price),
        "triggerBy": echo.get("triggerBy", ""),
        "price": _price(order),
        "positionIdx": _POSITION_IDX[ask.position_side],
        "timeInForce": "PostOnly" if ask.post_only else ask.time_in_force,
        "side": ask.side.title(),
        "closeOnTrigger": False,
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "0",
        "reduceOnly": ask.reduce_only,
        "marketUnit": echo.get("marketUnit", ""),
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }  # fmt: skip


def _progress(order: Order) -> dict[str, Any]:
    fees, left = order.fees(), order.remaining if order.is_open else ZERO
    return {
        "orderStatus": status_of(order),
        "rejectReason": _REJECTIONS.get(order.reject_reason, "EC_Others") if order.reject_reason else "EC_NoError",
        "qty": plain(order.ask.quote_quantity or order.quantity),
        "avgPrice": text(order.average, "" if not order.market.is_spot else "0"),
        "cumExecQty": plain(order.filled),
        "cumExecValue": plain(order.quote),
        "cumExecFee": plain(sum(fees.values(), ZERO)),
        "cumFeeDetail": {asset: plain(amount) for asset, amount in fees.items()},
        "leavesQty": plain(left),
        "leavesValue": plain(left * order.ask.price),
    }


def _price(order: Order) -> str:
    """A market order shows the worst price that it could have had on linear, zero on spot."""
    if not order.ask.is_market:
        return plain(order.ask.price)
    if order.market.is_spot or not order.filled:
        return "0"
    bound = order.average * (Decimal("1.05") if order.ask.side == "BUY" else Decimal("0.95"))
    return plain(bound.quantize(order.market.tick))


def realtime(world: World, call: Call) -> dict[str, Any]:
    """GET order/realtime: open orders; by id also the last 500 closed ones, unless a restart forgot them."""
    category = category_of(call)
    if call.params.get("orderId") or call.params.get("orderLinkId"):
        order = find_order(call.owner, category, call.params)
        found = [order] if order is not None and world.visible(order) and _remembered(order) else []
        return _listed(category, found, "")
    market = optional_market(world, call, category)
    if market is None and category == "linear" and not (call.params.get("settleCoin") or call.params.get("baseCoin")):
        raise refuse(10001, "params error: symbol, settleCoin or baseCoin is required")
    known = world.open_orders(call.owner, market)
    if call.params.get("openOnly") in ("1", "2"):
        known = [order for order in world.seen(call.owner, market) if not order.is_open and _remembered(order)][-_RECENT_CLOSED:]
    rows = [o for o in known if o.market.venue == VENUE_OF[category] and fits(call, o.market) and filtered(call, o)]
    chosen, cursor = page(call, rows[::-1], 20, 50)
    return _listed(category, chosen, cursor)


def _remembered(order: Order) -> bool:
    if order.is_open:
        return True
    account = order.account
    if order.updated_ms < account.realtime_from_ms or order.id in account.forgotten:
        return False
    newer = 0
    for other in reversed(account.orders.values()):
        if other is order or newer >= _RECENT_CLOSED:
            break
        newer += other.market.venue == order.market.venue and not other.is_open
    return newer < _RECENT_CLOSED


def _listed(category: str, orders: list[Order], cursor: str) -> dict[str, Any]:
    return {"nextPageCursor": cursor, "category": category, "list": [order_view(order) for order in orders]}


def history(world: World, call: Call) -> dict[str, Any]:
    """GET order/history: closed orders, newest first; cancelled and rejected ones without a fill for 24 hours only."""
    category = category_of(call)
    if call.params.get("orderId") or call.params.get("orderLinkId"):
        order = find_order(call.owner, category, call.params)
        found = [order] if order is not None and world.visible(order) and _kept(world, order) and _status(call, order) else []
        return _listed(category, found, "")
    market, now = optional_market(world, call, category), world.clock.now_ms()
    start, end = span(call, now)
    rows = [
        order
        for order in reversed(world.seen(call.owner, market))
        if order.market.venue == VENUE_OF[category]
        and fits(call, order.market)
        and filtered(call, order)
        and _kept(world, order)
        and start <= order.created_ms <= end
        and _status(call, order)
    ]
    chosen, cursor = page(call, rows, 20, 50)
    return _listed(category, chosen, cursor)


def _status(call: Call, order: Order) -> bool:
    return call.params.get("orderStatus", "") in ("", status_of(order))


def _kept(world: World, order: Order) -> bool:
    if order.is_open:
        return False
    return bool(order.filled) or not (order.archived or world.clock.now_ms() - order.updated_ms > DAY_MS)


def executions(world: World, call: Call) -> dict[str, Any]:
    """GET execution/list: fills (and funding, unless an order is asked for), newest first, also by orderId or orderLinkId."""
    category, params, now = category_of(call), call.params, world.clock.now_ms()
    market, kind = optional_market(world, call, category), params.get("execType", "")
    start, end = span(call, now)
    fills: list[Fill] = call.owner.fills if kind in ("", "Trade") else []
    payments = call.owner.payments if kind in ("", "Funding") else []
    if params.get("orderId") or params.get("orderLinkId"):
        # Asked for by an id, nothing else that was sent counts.
        order, market, start, end = find_order(call.owner, category, params), None, 0, now
        fills, payments = (order.fills if order is not None else []), []
    rows: list[Fill | Payment] = [fill for fill in fills if fill.order.market.venue == VENUE_OF[category] and world.visible(fill.order)]
    rows += [payment for payment in payments if payment.market.venue == VENUE_OF[category]]
    rows = [row for row in rows if start <= row.at_ms <= end and market in (None, _market(row))]
    chosen, cursor = page(call, sorted(rows, key=lambda row: row.at_ms)[::-1], 50, 100)
    listed = [_funding(row) if isinstance(row, Payment) else _execution(world, row) for row in chosen]
    return {"nextPageCursor": cursor, "category": category, "list": listed}


def _market(row: Fill | Payment) -> Market:
    return row.market if isinstance(row, Payment) else row.order.market


def _funding(payment: Payment) -> dict[str, Any]:
    """A funding settlement as an execution: the fee is positive when it was paid."""
    words = ("underlyingPrice", "tradeIv", "blockTradeId", "markIv", "indexPrice", "extraFees", "feeCurrency", "createType", "marketUnit")
    value = (abs(payment.size) * payment.mark).quantize(Decimal("1e-8"))
    sizes = {"orderQty": "0", "leavesQty": "0", "closedSize": "0", "orderPrice": "0", "execQty": plain(abs(payment.size))}
    prices = {"execPrice": plain(payment.mark), "markPrice": plain(payment.mark), "execValue": plain(value)}
    fees = {"feeRate": plain(payment.rate), "execFee": plain(-payment.amount), "isMaker": False}
    ids = {"orderId": uuid_text(payment.id), "execId": uuid_text(payment.id), "orderLinkId": "", "seq": payment.id * 10}
    kinds = {"orderType": "UNKNOWN", "stopOrderType": "UNKNOWN", "execType": "Funding", "side": "Buy" if payment.size > 0 else "Sell"}
    return dict.fromkeys(words, "") | {"symbol": payment.market.id, "execTime": str(payment.at_ms)} | sizes | prices | fees | ids | kinds


def _execution(world: World, fill: Fill) -> dict[str, Any]:
    order, m = fill.order, fill.order.market
    unknown = ("underlyingPrice", "tradeIv", "blockTradeId", "markIv", "indexPrice", "extraFees")
    empty = dict.fromkeys(unknown, "")
    rate = (MAKER_FEE if fill.maker else TAKER_FEE)[m.venue]
    return empty | {
        "symbol": m.id,
        "orderType": order.ask.type,
        "orderLinkId": link_of(order),
        "orderId": order_id(order),
        "stopOrderType": "" if m.is_spot else "UNKNOWN",
        "execTime": str(fill.at_ms),
        "feeCurrency": fill.fee_asset if m.is_spot else "",
        "createType": "" if m.is_spot else "CreateByUser",
        "feeRate": plain(rate),
        "markPrice": "" if m.is_spot else plain(world.prices.mid(m)),
        "execPrice": plain(fill.price),
        "orderQty": plain(order.quantity),
        "orderPrice": _price(order),
        "execValue": plain(fill.quote),
        "closedSize": "" if m.is_spot else "0",
        "execType": "Trade",
        "seq": fill.id * 10,
        "side": order.ask.side.title(),
        "leavesQty": plain(order.remaining if order.is_open else ZERO),
        "isMaker": fill.maker,
        "execFee": plain(fill.fee),
        "execId": str(fill.id) if m.is_spot else f"{fill.id:08x}-0000-5000-8000-{fill.id:012x}",
        "marketUnit": "",
        "execQty": plain(fill.quantity),
    }  # fmt: skip


ROUTES: Final = {
    ("GET", "/v5/order/realtime"): Route(realtime, "signed", 1, "query", "query"),
    ("GET", "/v5/order/history"): Route(history, "signed", 1, "query", "query"),
    ("GET", "/v5/execution/list"): Route(executions, "signed", 1, "query", "query"),
}
