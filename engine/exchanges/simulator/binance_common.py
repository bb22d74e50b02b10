"""What both Binance venues share: parameters into a `NewOrder`, our refusal reasons into codes and messages, lookups, candles."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.model import Account, Fill, Market, Order, Refused, fixed8, plain
from engine.exchanges.simulator.wire import Call, Malformed, VenueError, decimal, whole
from engine.exchanges.simulator.world import DAY_MS, World

_CLIENT_ID: Final = {"binance": re.compile(r"[a-zA-Z0-9\-_]{1,36}"), "binanceusdm": re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")}
_SYMBOL: Final = re.compile(r"[A-Z0-9\-_.]{1,20}")
_PRECISION: Final = (-1111, "Precision is over the maximum defined for this asset.")
_DECIMALS: Final = 8
"""What spot keeps of any amount."""
_SPOT: Final = {
    "duplicate_client_id": (-2010, "Duplicate order sent."),
    "insufficient_balance": (-2010, "Account has insufficient balance for requested action."),
    "post_only": (-2010, "Order would immediately match and take."),
    "trigger_now": (-2010, "Stop price would trigger immediately."),
    "not_permitted": (-2010, "This action is disabled on this account."),
    "market_closed": (-1013, "Market is closed."),
    "quantity_zero": (-1013, "Invalid quantity."),
    "quantity_step": (-1013, "Filter failure: LOT_SIZE"),
    "quantity_low": (-1013, "Filter failure: LOT_SIZE"),
    "quantity_high": (-1013, "Filter failure: LOT_SIZE"),
    "market_quantity_high": (-1013, "Filter failure: MARKET_LOT_SIZE"),
    "price_tick": (-1013, "Filter failure: PRICE_FILTER"),
    "price_range": (-1013, "Filter failure: PRICE_FILTER"),
    "price_far": (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    "notional_low": (-1013, "Filter failure: NOTIONAL"),
    "notional_high": (-1013, "Filter failure: NOTIONAL"),
    "open_orders": (-1013, "Filter failure: MAX_NUM_ORDERS"),
    "waiting_orders": (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS"),
}
_USDM: Final = {
    "duplicate_client_id": (-4116, "ClientOrderId is duplicated."),
    "insufficient_margin": (-2019, "Margin is insufficient."),
    "reduce_only": (-2022, "ReduceOnly Order is rejected."),
    "position_side": (-4061, "Order's position side does not match user's setting."),
    "post_only": (-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."),
    "trigger_now": (-2021, "Order would immediately trigger."),
    "not_permitted": (-2015, "Invalid API-key, IP, or permissions for action."),
    "market_closed": (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    "quantity_zero": (-4003, "Quantity less than or equal to zero."),
    "quantity_step": _PRECISION,
    "quantity_low": (-4003, "Quantity less than or equal to zero."),
    "quantity_high": (-4005, "Quantity greater than max quantity."),
    "market_quantity_high": (-4005, "Quantity greater than max quantity."),
    "open_orders": (-2025, "Reach max open order limit."),
    "waiting_orders": (-4045, "Reach max stop order limit."),
    "position_high": (-2027, "Exceeded the maximum allowable position at current leverage."),
    "price_tick": (-4014, "Price not increased by tick size."),
    "price_range": (-4016, "Limit price can't be higher than {high}."),
}


def venue_error(exchange: str, refusal: Refused) -> VenueError:
    """Binance's code and message for a refusal of the engine."""
    reason, detail = refusal.reason, refusal.detail
    if exchange == "binance":
        return VenueError(*_SPOT[reason])
    if reason == "notional_low":
        least = Decimal(str(detail["limit"]))
        return VenueError(-4164, f"Order's notional must be no smaller than {float(least)} (unless you choose reduce only)")
    if reason == "price_far":
        if detail["above"]:
            return VenueError(-4016, f"Limit price can't be higher than {detail['high']}.")
        return VenueError(-4024, f"Limit price can't be lower than {detail['low']}.")
    code, message = _USDM[reason]
    return VenueError(code, message.format(**detail), 401 if code == -2015 else 400)


def missing(name: str) -> VenueError:
    """A mandatory parameter is absent."""
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def malformed(error: Malformed) -> VenueError:
    """A parameter's text is not what its name says."""
    return illegal(str(error), error.legal) if error.legal else missing(str(error))


def illegal(name: str, legal: str) -> VenueError:
    """A parameter holds characters that it may not hold."""
    return VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^{legal}$'.")


def not_required(name: str) -> VenueError:
    """A parameter that does not go with the others."""
    return VenueError(-1106, f"Parameter '{name}' sent when not required.")


def invalid(name: str) -> VenueError:
    """A parameter's value is none of those that there are."""
    return VenueError(-1130, f"Data sent for parameter '{name}' is not valid.")


def refuse_empty(params: dict[str, str]) -> None:
    """No parameter of an order may be sent without a value."""
    for name, value in params.items():
        if not value:
            raise VenueError(-1105, f"Parameter '{name}' was empty.")


def amount_of(params: dict[str, str], name: str) -> Decimal:
    """An amount of a spot order, with no more decimals than spot keeps."""
    value = decimal(params.get(name, ""), name)
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_DECIMALS:
        raise VenueError(-1111, f"Parameter '{name}' has too much precision.")
    return value


def limit_of(call: Call, default: int, most: int) -> int:
    """How many rows are wanted; no more than the venue gives at once."""
    limit = call.integer("limit", default)
    if not limit:
        raise invalid("limit")
    return min(limit, most)


def required(params: dict[str, str], name: str) -> str:
    """A mandatory parameter."""
    value = params.get(name, "")
    if not value:
        raise missing(name)
    return value


def market_of(world: World, call: Call, params: dict[str, str] | None = None) -> Market:
    """The market of the mandatory `symbol`."""
    symbol = required(call.params if params is None else params, "symbol")
    market = world.markets[call.exchange].get(symbol)
    if market is None:
        raise VenueError(-1121, "Invalid symbol.") if _SYMBOL.fullmatch(symbol) else illegal("symbol", _SYMBOL.pattern)
    return market


def optional_market(world: World, call: Call) -> Market | None:
    """The market of an optional `symbol`."""
    return market_of(world, call) if call.params.get("symbol") else None


def client_id_of(world: World, call: Call, params: dict[str, str], name: str = "newClientOrderId") -> str:
    """The client's id, checked against the venue's charset; a generated one when none was sent."""
    given = params.get(name, "")
    if not given:
        return f"sim{world.engine.next_order_id():x}"
    if not _CLIENT_ID[call.exchange].fullmatch(given):
        if call.exchange == "binance":
            raise illegal(name, "[a-zA-Z0-9-_]{1,36}")
        if len(given) > 36:
            raise VenueError(-4015, "Client order id length should not be more than 36 chars")
        raise illegal(name, r"[\.A-Z\:/a-z0-9_-]{1,36}")
    return given


def side_of(params: dict[str, str]) -> str:
    """BUY or SELL."""
    side = required(params, "side")
    if side not in ("BUY", "SELL"):
        raise VenueError(-1117, "Invalid side.")
    return side


def find_order(world: World, account: Account, market: Market, params: dict[str, str], code: int, message: str) -> Order:
    """The visible order of `orderId` or `origClientOrderId` in a market, else the venue's "unknown" refusal."""
    order = None
    if params.get("orderId"):
        order = account.orders.get(whole(params["orderId"], "orderId"))
    elif params.get("origClientOrderId"):
        order = account.by_client.get(params["origClientOrderId"])
    else:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    if order is None or order.market is not market or is_waiting_algo(order) or not world.visible(order):
        raise VenueError(code, message)
    return order


def is_waiting_algo(order: Order) -> bool:
    """A conditional order of USD-M is none of the plain orders before its trigger."""
    return "algo" in order.ask.echo and not order.triggered


_KEPT_MS: Final = {"binance": 90 * DAY_MS, "binanceusdm": 3 * DAY_MS}
"""How long orders that ended without a fill stay in the books."""


def is_archived(world: World, order: Order) -> bool:
    """The order ended without a fill and has left the books."""
    age = world.clock.now_ms() - order.updated_ms
    return not (order.is_open or order.filled) and (order.archived or age > _KEPT_MS[order.account.exchange])


def check_archived(world: World, order: Order) -> None:
    """An archived order is refused: USD-M does not know it any more, spot says that it was there."""
    if is_archived(world, order):
        if order.account.exchange == "binanceusdm":
            raise VenueError(-2013, "Order does not exist.")
        raise VenueError(-2026, "Order was canceled or expired with no executed qty over 90 days ago and has been archived.")


def plain_orders(world: World, call: Call, *, only_open: bool) -> list[Order]:
    """Visible orders of the account (waiting algo orders apart), filtered by symbol, times, orderId and limit."""
    market = optional_market(world, call)
    known = world.open_orders(call.owner, market) if only_open else world.seen(call.owner, market)
    chosen = [order for order in known if not is_waiting_algo(order)]
    if only_open:
        return chosen
    start, end = _span(call)
    from_id = call.integer("orderId", 0)
    chosen = [o for o in chosen if start <= o.created_ms <= end and o.id >= from_id and not is_archived(world, o)]
    limit = limit_of(call, 500, 1000)
    return chosen[:limit] if from_id or "startTime" in call.params else chosen[-limit:]


def _span(call: Call) -> tuple[int, int]:
    """startTime and endTime of a history call; sent together they may lie a day (spot) or a week (USD-M) apart."""
    start, end = call.integer("startTime", 0), call.integer("endTime", 0)
    if start and end and start > end:
        raise VenueError(-1023, "Start time is greater than end time.")
    if start and end and call.exchange == "binance" and end - start > DAY_MS:
        raise VenueError(-1127, "More than 24 hours between startTime and endTime.")
    if start and end and end - start > 7 * DAY_MS:
        raise VenueError(-4165, "Invalid time interval. Maximum time interval is 7 days.")
    return start, end or 1 << 62


def depth_levels(world: World, call: Call, market: Market) -> tuple[list[list[str]], list[list[str]]]:
    """Bids and asks of a depth reply in the venue's number form."""
    book, limit = world.prices.book(market), limit_of(call, 100, 5000)
    form = fixed8 if market.is_spot else text_on(market)
    return [[form(p), form(q)] for p, q in book.bids[:limit]], [[form(p), form(q)] for p, q in book.asks[:limit]]


def text_on(_: Market) -> Any:
    """USD-M's number form: the value's own decimals."""
    return lambda value: format(value, "f")


def candles(world: World, call: Call) -> list[list[Any]]:
    """A flat candle for every interval asked for, newest last (the price path has no memory)."""
    params = call.params if "symbol" in call.params else call.params | {"symbol": call.params.get("pair", "")}
    market = market_of(world, call, params)
    mid, now = plain(world.prices.mid(market)), world.clock.now_ms()
    limit, width = limit_of(call, 500, 1500), 60_000
    return [
        [now - (i + 1) * width, mid, mid, mid, mid, "1.0", now - i * width - 1, mid, 1, "0.5", mid, "0"] for i in reversed(range(limit))
    ]


def chosen_fills(world: World, call: Call) -> list[Fill]:
    """The account's fills in the mandatory symbol, by orderId, fromId, times and limit."""
    market, order_id, from_id = market_of(world, call), call.integer("orderId", 0), call.integer("fromId", 0)
    (start, end), limit = _span(call), limit_of(call, 500, 1000)
    order = call.owner.orders.get(order_id)
    known = (order.fills if order is not None else []) if order_id else call.owner.fills
    fills = [
        fill
        for fill in known
        if fill.order.market is market and fill.id >= from_id and start <= fill.at_ms <= end and world.visible(fill.order)
    ]
    return fills[:limit] if from_id or order_id or start else fills[-limit:]
