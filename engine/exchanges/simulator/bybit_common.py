"""What Bybit v5 endpoints share: categories, order ids, our refusal reasons as codes and messages, pages."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.model import Account, Market, Order, Refused, plain
from engine.exchanges.simulator.wire import WHOLE, Call, Malformed, VenueError, whole
from engine.exchanges.simulator.world import World

VENUE_OF: Final = {"spot": "bybit", "linear": "bybitlinear"}
_SETTLED_IN: Final = "USDT"
_LONGEST_MS: Final = 7 * 86_400_000
_SPOT: Final = {
    "duplicate_client_id": (170141, "Duplicate clientOrderId"),
    "market_closed": (170210, "New order rejected."),
    "insufficient_balance": (170131, "Insufficient balance."),
    "post_only": (170218, "The LIMIT-MAKER order is rejected due to invalid price."),
    "quantity_zero": (170136, "Order quantity lower than the minimum."),
    "quantity_step": (170137, "Order volume decimal too long"),
    "quantity_low": (170136, "Order quantity lower than the minimum."),
    "quantity_high": (170135, "Order quantity too large."),
    "market_quantity_high": (170135, "Order quantity too large."),
    "price_tick": (170134, "Order price decimal too long."),
    "price_range": (170132, "Order price too high."),
    "notional_low": (170140, "Order value exceeded lower limit."),
    "notional_high": (170124, "Order amount too large."),
    "open_orders": (170005, "Too many new orders. Please reduce your request frequency."),
}
_LINEAR: Final = {
    "duplicate_client_id": (110072, "OrderLinkedID is duplicate"),
    "market_closed": (110003, "Order price exceeds the allowable range."),
    "insufficient_margin": (110007, "ab not enough for new order"),
    "reduce_only": (110017, "current position is zero, cannot fix reduce-only order qty"),
    "position_side": (10001, "position idx not match position mode"),
    "quantity_zero": (10001, "The number of contracts exceeds minimum limit allowed"),
    "quantity_step": (10001, "params error: qty invalid"),
    "quantity_low": (10001, "The number of contracts exceeds minimum limit allowed"),
    "quantity_high": (10001, "The number of contracts exceeds maximum limit allowed: too large"),
    "market_quantity_high": (10001, "The number of contracts exceeds maximum limit allowed: too large"),
    "price_tick": (10001, "params error: price invalid"),
    "price_range": (110003, "Order price exceeds the allowable range."),
    "price_far": (110003, "Order price exceeds the allowable range."),
    "notional_low": (110094, "Order does not meet minimum order value 5USDT"),
    "post_only": (110003, "Order price exceeds the allowable range."),
    "open_orders": (110020, "Not allowed to have more than 500 active orders"),
}
_STATUS: Final = {
    "PENDING": "New",
    "NEW": "New",
    "PARTIALLY_FILLED": "PartiallyFilled",
    "FILLED": "Filled",
    "REJECTED": "Rejected",
    "UNTRIGGERED": "Untriggered",
}


def refuse(code: int, message: str) -> VenueError:
    """A Bybit refusal: HTTP 200 with a retCode."""
    return VenueError(code, message, 200)


def venue_error(category: str, refusal: Refused) -> VenueError:
    """Bybit's code and message for a refusal of the engine."""
    if refusal.reason == "not_permitted":
        return refuse(10005, "Permission denied, please check your API key permissions.")
    if category == "spot" and refusal.reason == "price_far":
        return refuse(170193, "Buy order price too high.") if refusal.detail["above"] else refuse(170194, "Sell order price too low.")
    code, message = (_SPOT if category == "spot" else _LINEAR)[refusal.reason]
    return refuse(code, message)


def category_of(call: Call) -> str:
    """`spot` or `linear`."""
    category = call.params.get("category", "")
    if category not in VENUE_OF:
        raise refuse(10001, f"Illegal category {category}" if category else "params error: category is required")
    return category


def market_of(world: World, category: str, symbol: str) -> Market:
    """The market of a symbol."""
    market = world.markets[VENUE_OF[category]].get(symbol)
    if market is None:
        raise refuse(170121, "Invalid symbol.") if category == "spot" else refuse(10001, "params error: symbol invalid")
    return market


def optional_market(world: World, call: Call, category: str) -> Market | None:
    """The market of an optional symbol."""
    return market_of(world, category, call.params["symbol"]) if call.params.get("symbol") else None


def order_id(order: Order) -> str:
    """Spot orders have long numbers, linear ones UUIDs."""
    return str(order.id) if order.market.is_spot else uuid_text(order.id)


def uuid_text(number: int) -> str:
    """A number in the form of a UUID."""
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def find_order(account: Account, category: str, params: dict[str, Any]) -> Order | None:
    """The order of `orderId` or `orderLinkId` in a category (visible or not); Bybit knows no `clientOrderId`."""
    wanted, link, order = str(params.get("orderId") or ""), str(params.get("orderLinkId") or ""), None
    if wanted:
        try:
            order = account.orders.get(int(wanted.replace("-", ""), 16) if "-" in wanted else whole(wanted, "orderId"))
        except (ValueError, Malformed):
            return None
    elif link:
        order = account.by_client.get(link)
    return order if order is not None and order.market.venue == VENUE_OF[category] else None


def status_of(order: Order) -> str:
    """orderStatus: only spot tells a partly filled order that ended early apart; linear says Cancelled."""
    if order.status in ("CANCELED", "EXPIRED") or order.reject_reason == "post_only":
        return "PartiallyFilledCanceled" if order.filled and order.market.is_spot else "Cancelled"
    return _STATUS[order.status]


def fits(call: Call, market: Market) -> bool:
    """The market is of the coins that a list is asked for by."""
    wanted = call.params.get("baseCoin") or market.base, call.params.get("settleCoin") or _SETTLED_IN
    return wanted == (market.base, _SETTLED_IN)


def filtered(call: Call, order: Order) -> bool:
    """orderFilter: plain orders, or conditional ones (of either kind)."""
    wanted = call.params.get("orderFilter", "")
    return not wanted or (wanted == "Order") == (not order.ask.trigger_price or order.triggered)


def span(call: Call, now: int) -> tuple[int, int]:
    """startTime and endTime of a history call, at most seven days apart; one alone stands for the seven days at its side."""
    start, end = call.integer("startTime", 0), call.integer("endTime", 0)
    if start and end and end - start > _LONGEST_MS:
        raise refuse(10001, "params error: The time range between startTime and endTime cannot exceed 7 days")
    if start:
        return start, end or start + _LONGEST_MS
    return (end or now) - _LONGEST_MS, end or now


def page(call: Call, rows: list[Any], default: int, most: int) -> tuple[list[Any], str]:
    """One page of rows and the cursor of the next (empty: no more)."""
    limit, start = min(max(call.integer("limit", default), 1), most), _cursor(call)
    end = start + limit
    return rows[start:end], f"page%3A{end}" if end < len(rows) else ""


def _cursor(call: Call) -> int:
    number = call.params.get("cursor", "").replace("%3A", ":").rpartition(":")[2]
    if number and not WHOLE.fullmatch(number):
        raise refuse(10001, "params error: cursor invalid")
    return int(number or 0)


def text(value: Decimal, empty: str = "") -> str:
    """Plain decimal text; zero may be shown as an empty string."""
    return plain(value) if value else empty
