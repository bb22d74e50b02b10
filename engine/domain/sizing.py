"""Sizing: what a follow wants of a signal enters, quote amounts and step-true quantities leave. Pure Decimal arithmetic.

A size is notional. Notional becomes quantity at the whale's price (in the venue's units), cut down to the venue's step.
"""

from __future__ import annotations

from decimal import Decimal

from engine.domain.state import ONE, ZERO, units_in
from engine.domain.values import SPOT_VENUES, FollowTerms, MarketRules, Signal

BPS = Decimal(10_000)
DEFAULT_DEVIATION_BPS = Decimal(100)
"""How far an open may go from the whale's price where no limit is set."""
ONCE_AN_ORDER = frozenset({"fixed_quote", "percent_equity"})
"""Modes whose size does not depend on the fill's quantity: later fills of one whale order do not spend it again."""
EQUITY_MODES = frozenset({"percent_equity", "proportional_equity"})
MAX_LEGS = 1000


def open_quantity(signal: Signal) -> Decimal:
    """Base quantity that the whale opened: of a flip only what lies beyond zero."""
    if signal.action == "flip":
        return abs(signal.position_after or ZERO)
    return signal.quantity


def wanted_quote(terms: FollowTerms, whale_notional: Decimal, whale_equity: Decimal | None, equity: Decimal) -> Decimal:
    """The notional that the follow's mode asks for, before carried amounts and caps."""
    if terms.sizing == "fixed_quote":
        return terms.trade_size_usdt or ZERO
    if terms.sizing == "multiplier":
        return whale_notional * (terms.multiplier if terms.multiplier is not None else ONE)
    if terms.sizing == "percent_equity":
        return max(ZERO, equity) * (terms.trade_size_percent or ZERO) / 100
    return max(ZERO, equity) * whale_notional / whale_equity if whale_equity else ZERO


def sizing_inputs(terms: FollowTerms, signal: Signal, price: Decimal) -> dict[str, Decimal]:
    """The numbers of the mode, so that the decision explains itself."""
    inputs = {"price": price}
    if terms.sizing == "fixed_quote":
        inputs["trade_size_usdt"] = terms.trade_size_usdt or ZERO
    elif terms.sizing == "percent_equity":
        inputs["trade_size_percent"] = terms.trade_size_percent or ZERO
    else:
        inputs["whale_quantity"] = open_quantity(signal)
    if terms.sizing == "multiplier":
        inputs["multiplier"] = terms.multiplier if terms.multiplier is not None else ONE
    if terms.sizing == "proportional_equity":
        inputs["whale_equity"] = signal.whale_equity or ZERO
    return inputs


def floor_to(quantity: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `quantity`."""
    return units_in(quantity, step) * step


def ceil_to(quantity: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `quantity`."""
    below = units_in(quantity, step) * step
    return below if below == quantity else below + step


def limit_price(price: Decimal, long: bool, bps: Decimal, tick: Decimal) -> Decimal:
    """Worst price at which an open may fill: the whale's price and `bps`, to the tick that is not beyond it."""
    if long:
        return floor_to(price * (BPS + bps) / BPS, tick)
    return ceil_to(price * (BPS - bps) / BPS, tick)


def smallest_open(rules: MarketRules, price: Decimal, limit: Decimal) -> Decimal:
    """The smallest quantity that the venue takes for an open: its notional counts at the lower of the two prices."""
    by_notional = ceil_to(rules.min_notional / min(price, limit), rules.step)
    return max(by_notional, ceil_to(rules.min_quantity, rules.step), rules.step)


def smallest_exit(rules: MarketRules, price: Decimal) -> Decimal:
    """The smallest quantity that the venue takes for an exit. Perpetuals exempt closing orders from the notional minimum at both venues."""
    least = max(ceil_to(rules.min_quantity, rules.step), rules.step)
    if rules.venue not in SPOT_VENUES or price <= 0:
        return least
    return max(least, ceil_to(rules.min_notional / price, rules.step))


def legs_of(quantity: Decimal, rules: MarketRules) -> list[Decimal]:
    """The quantity in as few orders as the venue's maximum allows, of nearly equal size."""
    most = rules.max_quantity
    if most is None or quantity <= most:
        return [quantity]
    units, most_units = int(units_in(quantity, rules.step)), int(units_in(most, rules.step))
    assert most_units > 0, "a venue's maximum below its step"
    count = min(MAX_LEGS, -(-units // most_units))
    small, larger = divmod(units, count)
    return [(small + (leg < larger)) * rules.step for leg in range(count)]
