"""A market's filters: an order enters, the first rule that it breaks is raised as `Refused`; venues name the rules their way."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.exchanges.simulator.model import NewOrder, Refused
from engine.exchanges.simulator.prices import PricePath

MOST_QUOTE: Final = Decimal(9_000_000)
"""Most that one market order may spend."""


def check_filters(ask: NewOrder, prices: PricePath) -> None:
    """Quantity, price and notional rules in the order in which the venues look at them."""
    _check_quantity(ask)
    _check_price(ask, prices)
    _check_notional(ask, prices)


def _check_quantity(ask: NewOrder) -> None:
    market, quantity = ask.market, ask.quantity
    if ask.quote_quantity:
        if ask.quote_quantity > MOST_QUOTE:
            raise Refused("notional_high")
        return
    if quantity <= 0:
        raise Refused("quantity_zero")
    if quantity > market.max_qty:
        raise Refused("quantity_high", limit=market.max_qty)
    if quantity % market.step:
        raise Refused("quantity_step")
    if quantity < market.min_qty:
        raise Refused("quantity_low")
    if ask.is_market and quantity > market.max_market_qty:
        raise Refused("market_quantity_high", limit=market.max_market_qty)


def _check_price(ask: NewOrder, prices: PricePath) -> None:
    market, price = ask.market, ask.price
    if ask.is_market:
        return
    if price > market.max_price:
        raise Refused("price_range", low=market.min_price, high=market.max_price)
    if price % market.tick:
        raise Refused("price_tick")
    if price < market.min_price:
        raise Refused("price_range", low=market.min_price, high=market.max_price)
    if not ask.trigger_price:
        _check_distance(ask, prices.mid(market))


def _check_distance(ask: NewOrder, mid: Decimal) -> None:
    """How far from the market a limit may be: at Binance spot in both directions, elsewhere only where it would trade badly."""
    both, band = ask.market.venue == "binance", Decimal(5) if ask.market.venue == "binance" else Decimal(2)
    if ask.price > mid * band and (both or ask.side == "BUY"):
        raise Refused("price_far", low=mid / band, high=mid * band, above=True)
    if ask.price < mid / band and (both or ask.side == "SELL"):
        raise Refused("price_far", low=mid / band, high=mid * band, above=False)


def _check_notional(ask: NewOrder, prices: PricePath) -> None:
    market = ask.market
    value = ask.quote_quantity or ask.quantity * (ask.price or prices.mid(market))
    if value < market.min_notional and not ask.reduce_only:
        raise Refused("notional_low", limit=market.min_notional)
