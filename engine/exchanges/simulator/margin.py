"""Money rules: what an account can spend, what an order needs, what a fill moves. Decimals in quote unless said otherwise."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.exchanges.simulator.model import BOTH, ZERO, Account, Fill, Market, NewOrder, Order, Position, Refused
from engine.exchanges.simulator.prices import PricePath, floor_to, take, take_quote

QUOTE: Final = "USDT"
_SPOT_FEE: Final = Decimal("0.001")
TAKER_FEE: Final = {
    "binance": _SPOT_FEE,
    "binanceusdm": Decimal("0.0005"),
    "bybit": _SPOT_FEE,
    "bybitlinear": Decimal("0.00055"),
}
MAKER_FEE: Final = {
    "binance": _SPOT_FEE,
    "binanceusdm": Decimal("0.0002"),
    "bybit": _SPOT_FEE,
    "bybitlinear": Decimal("0.0002"),
}
NOTIONAL_CAPS: Final = (Decimal(500_000), Decimal(100_000_000))
_EIGHT: Final = Decimal("1e-8")


def fee_of(market: Market, side: str, quantity: Decimal, quote: Decimal, maker: bool) -> tuple[Decimal, str]:
    """Fee and its asset: spot buys pay in base, all else in USDT; Binance books eight decimals, Bybit all of them."""
    rate = (MAKER_FEE if maker else TAKER_FEE)[market.venue]
    in_base = market.is_spot and side == "BUY"
    fee = (quantity if in_base else quote) * rate
    if market.venue.startswith("binance"):
        fee = fee.quantize(_EIGHT)
    return fee, market.base if in_base else QUOTE


def unrealised(position: Position, prices: PricePath) -> Decimal:
    """Profit of a position at the mark."""
    return (prices.mid(position.market) - position.entry) * position.quantity if position.quantity else ZERO


def notional(position: Position, prices: PricePath) -> Decimal:
    """Absolute value of a position at the mark."""
    return abs(position.quantity) * prices.mid(position.market) if position.quantity else ZERO


def position_margin(account: Account, prices: PricePath) -> Decimal:
    """Initial margin of all positions, and what was put on top."""
    held = (position for position in account.positions.values() if position.quantity)
    return sum((notional(position, prices) / account.leverage_of(position.market) + position.added for position in held), ZERO)


def order_margin(account: Account) -> Decimal:
    """Initial margin of the resting opening orders on perpetuals (not of one that is about to be matched)."""
    resting = (o for o in account.open_orders.values() if o.status in ("NEW", "PARTIALLY_FILLED") and not o.market.is_spot)
    return sum((order_need(account, o.ask, o.remaining) for o in resting), ZERO)


def order_need(account: Account, ask: NewOrder, quantity: Decimal) -> Decimal:
    """Margin of one resting order."""
    return ZERO if ask.reduce_only else quantity * ask.price / account.leverage_of(ask.market)


def total_unrealised(account: Account, prices: PricePath) -> Decimal:
    """Unrealised profit of all positions."""
    return sum((unrealised(p, prices) for p in account.positions.values()), ZERO)


def available(account: Account, prices: PricePath) -> Decimal:
    """What is free for new margin or, on a unified account, for spot buys."""
    wallet = account.balance(QUOTE)
    return wallet.free + total_unrealised(account, prices) - position_margin(account, prices) - order_margin(account)


def closes(position: Position, side: str) -> bool:
    """An order of `side` makes the position smaller."""
    return position.quantity > 0 if side == "SELL" else position.quantity < 0


def check_position_side(account: Account, ask: NewOrder) -> None:
    """One-way accounts take BOTH, hedge accounts LONG or SHORT."""
    if (ask.position_side == BOTH) == account.hedge:
        raise Refused("position_side")


def check_reduce_only(account: Account, ask: NewOrder) -> None:
    """A reduce-only order needs a position on the other side."""
    if ask.reduce_only and not ask.market.is_spot and not closes(account.position(ask.market, ask.position_side), ask.side):
        raise Refused("reduce_only")


def check_funds(account: Account, ask: NewOrder, prices: PricePath) -> None:
    """The account can pay for the order as the book stands now."""
    if ask.market.is_spot:
        _check_spot(account, ask, prices)
    else:
        _check_perpetual(account, ask, prices)


def spot_cost(ask: NewOrder, prices: PricePath) -> Decimal:
    """Quote that a spot buy needs: the limit's value, or what the book asks for."""
    if ask.quote_quantity:
        return ask.quote_quantity
    if ask.price:
        return ask.price * ask.quantity
    return sum((price * part for price, part in take(prices.book(ask.market).asks, ask.quantity, ZERO, "BUY")), ZERO)


def _check_spot(account: Account, ask: NewOrder, prices: PricePath) -> None:
    if ask.side == "SELL":
        needed = ask.quantity or _quantity_for(ask, prices)
        if account.balance(ask.market.base).free < needed:
            raise Refused("insufficient_balance")
        return
    free = account.balance(QUOTE).free
    if account.exchange == "bybit":
        free = min(free, available(account, prices))
    if spot_cost(ask, prices) > free:
        raise Refused("insufficient_balance")


def _quantity_for(ask: NewOrder, prices: PricePath) -> Decimal:
    return sum((part for _, part in take_quote(prices.book(ask.market).bids, ask.quote_quantity, ask.market.step)), ZERO)


def _check_perpetual(account: Account, ask: NewOrder, prices: PricePath) -> None:
    if ask.reduce_only:
        return
    position = account.position(ask.market, ask.position_side)
    opening = ask.quantity - (abs(position.quantity) if closes(position, ask.side) else ZERO)
    if opening <= 0:
        return
    book = prices.book(ask.market)
    price = ask.price or (book.asks if ask.side == "BUY" else book.bids)[0][0]
    need = opening * price * (1 / Decimal(account.leverage_of(ask.market)) + TAKER_FEE[ask.market.venue])
    free = available(account, prices)
    if closes(position, ask.side):
        free += notional(position, prices) / account.leverage_of(ask.market)
    if need > free:
        raise Refused("insufficient_margin")
    held = ZERO if closes(position, ask.side) else abs(position.quantity)
    if account.exchange == "binanceusdm" and (held + opening) * price > most_notional(ask.market, account.leverage_of(ask.market)):
        raise Refused("position_high")


def most_notional(market: Market, leverage: int) -> Decimal:
    """USD-M's two brackets: how large a position may be at a leverage; half of the highest one allows the most."""
    return NOTIONAL_CAPS[0 if leverage > max(1, market.max_leverage // 2) else 1]


def lock(order: Order) -> None:
    """Put aside what a resting spot order may spend."""
    if not order.market.is_spot:
        return
    buys = order.ask.side == "BUY"
    order.lock_asset = QUOTE if buys else order.market.base
    order.locked = order.remaining * order.ask.price if buys else order.remaining
    balance = order.account.balance(order.lock_asset)
    balance.free -= order.locked
    balance.locked += order.locked


def unlock(order: Order) -> None:
    """Give back what an order still holds."""
    if order.locked:
        balance = order.account.balance(order.lock_asset)
        balance.free += order.locked
        balance.locked -= order.locked
        order.locked = ZERO


def settle_spot(account: Account, market: Market, side: str, fill: Fill) -> None:
    """Swap base and quote, less the fee."""
    base, quote = account.balance(market.base), account.balance(QUOTE)
    if side == "BUY":
        quote.free -= fill.quote
        base.free += fill.quantity - fill.fee
    else:
        base.free -= fill.quantity
        quote.free += fill.quote - fill.fee


def settle_perpetual(account: Account, ask: NewOrder, fill: Fill) -> Decimal:
    """Move the position and the wallet; returns the realised profit (fees apart)."""
    position = account.position(ask.market, ask.position_side)
    signed = fill.quantity if ask.side == "BUY" else -fill.quantity
    realized, held = ZERO, position.quantity
    if held * signed < 0:
        closed = min(abs(held), fill.quantity)
        realized = (fill.price - position.entry) * (closed if held > 0 else -closed)
    if held * signed >= 0:
        position.entry = (position.entry * abs(held) + fill.quote) / (abs(held) + fill.quantity)
    elif abs(signed) > abs(held):
        position.entry = fill.price
    position.quantity = held + signed
    if not position.quantity:
        position.entry = position.added = ZERO
    position.created_ms = position.created_ms or fill.at_ms
    position.updated_ms, position.realized = fill.at_ms, position.realized + realized - fill.fee
    account.balance(QUOTE).free += realized - fill.fee
    return realized


def reducible(account: Account, ask: NewOrder, quantity: Decimal) -> Decimal:
    """How much of a reduce-only order can execute."""
    held = abs(account.position(ask.market, ask.position_side).quantity)
    return min(quantity, floor_to(held, ask.market.step))
