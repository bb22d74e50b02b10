"""Limits: a follower's lots, pending orders and profit enter; exposure, room under the caps, and losses leave.

Caps count what was paid at the whale's price (filled, pending and waiting), so that no later mark moves them. Losses count marks.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from engine.domain.messages import PlaceOrder
from engine.domain.state import DAY_MS, ZERO, Follow, FollowerState, ShardState, account_key, market_key
from engine.domain.values import Direction, Limits, Mode, Venue

MARK_FRESH_MS = 150_000
"""Older marks say nothing about the price now."""


class Exposure(msgspec.Struct, kw_only=True, gc=False):
    """What a follower already holds or has ordered, seen from one market, direction and whale. Quote amounts are notional."""

    symbol_quote: Decimal = ZERO
    whale_symbol_quote: Decimal = ZERO
    total_quote: Decimal = ZERO
    whale_total_quote: Decimal = ZERO
    markets: set[tuple[str, str]] = set()
    whale_markets: set[tuple[str, str]] = set()
    opposite: Decimal = ZERO
    leverage: Decimal | None = None
    margin: Decimal = ZERO
    """Margin of orders that are pending or wait."""


NOTHING = Exposure()


class View(NamedTuple):
    """From where an exposure is looked at, and what of it is wanted: `sums` the quote amounts and markets, `margins` the margin.

    With `leaving`, what is the whale's own of the other direction is on its way out and does not count.
    """

    venue: Venue
    symbol: str
    direction: Direction
    mode: Mode
    whale_id: str
    leaving: bool = False
    sums: bool = True
    margins: bool = True


def exposure_of(follower: FollowerState, view: View) -> Exposure:
    """Sum up a follower's lots and what waits."""
    found, opposite = Exposure(), ZERO
    venue, symbol, direction, mode, whale_id, leaving, sums, margins = view
    for lot in (follower.lots or {}).values():
        if lot.mode != mode:
            continue
        here = lot.symbol == symbol and lot.venue == venue
        if here:
            if lot.direction != direction:
                if leaving and lot.whale_id == whale_id:
                    continue
                opposite += lot.filled + lot.pending
            found.leverage = lot.leverage
        if sums:
            _add(found, (lot.venue, lot.symbol), here, lot.whale_id == whale_id, lot.notional + lot.pending_quote)
        if margins and lot.pending_quote:
            found.margin += lot.pending_quote / lot.leverage
    if follower.waiting:
        opposite += _add_waiting(found, follower.waiting, view)
    found.opposite = opposite + _foreign_against(follower, view) if follower.foreign else opposite
    return found


def _add_waiting(found: Exposure, waiting: dict[str, PlaceOrder], view: View) -> Decimal:
    """Add opens that wait; returns what of them is in the other direction, in base units."""
    opposite = ZERO
    for order in waiting.values():
        if order.mode != view.mode:
            continue
        here = order.venue == view.venue and order.symbol == view.symbol
        if here and (order.side == "buy") != (view.direction == "long"):
            if view.leaving and order.whale_id == view.whale_id:
                continue
            opposite += order.quantity
        quote = order.quantity * (order.reference_price or ZERO)
        _add(found, (order.venue, order.symbol), here, order.whale_id == view.whale_id, quote)
        found.margin += quote / order.leverage
    return opposite


def _add(found: Exposure, market: tuple[str, str], here: bool, own_whale: bool, quote: Decimal) -> None:
    found.total_quote += quote
    found.markets.add(market)
    if here:
        found.symbol_quote += quote
    if own_whale:
        found.whale_total_quote += quote
        found.whale_markets.add(market)
        if here:
            found.whale_symbol_quote += quote


def _foreign_against(follower: FollowerState, view: View) -> Decimal:
    foreign = (follower.foreign or {}).get(account_key(view.venue, view.symbol, view.mode), ZERO)
    return abs(foreign) if foreign and (foreign > 0) != (view.direction == "long") else ZERO


def caps_exposure(limits: Limits) -> bool:
    """Whether any limit is set that holds for what a follower has and has ordered."""
    return any(limit is not None for limit in (limits.max_open_positions, limits.max_position_quote, limits.max_exposure_quote))


def caps(settings: Limits, terms: Limits, exposure: Exposure) -> list[tuple[str, Decimal, Decimal]]:
    """The quote caps that are set, as (name, cap, used), in the order of the refusals."""
    found = (
        ("max_position", settings.max_position_quote, exposure.symbol_quote),
        ("follow_max_position", terms.max_position_quote, exposure.whale_symbol_quote),
        ("max_exposure", settings.max_exposure_quote, exposure.total_quote),
        ("follow_max_exposure", terms.max_exposure_quote, exposure.whale_total_quote),
    )
    return [(name, cap, used) for name, cap, used in found if cap is not None]


def mark_of(state: ShardState, venue: str, symbol: str) -> Decimal | None:
    """The venue's price, if it was reported lately."""
    mark = state.marks.get(market_key(venue, symbol))
    return mark.price if mark and state.now - mark.at <= MARK_FRESH_MS else None


def unrealized(state: ShardState, follower: FollowerState, whale_id: str | None = None) -> Decimal:
    """Marked profit of the follower's lots (of one whale) in its present mode; lots without a mark count as even."""
    total, mode = ZERO, follower.settings.mode
    for lot in (follower.lots or {}).values():
        if lot.filled and lot.mode == mode and (whale_id is None or lot.whale_id == whale_id):
            mark = state.marks.get(market_key(lot.venue, lot.symbol))
            if mark:
                worth = lot.filled * mark.price
                total += worth - lot.cost if lot.direction == "long" else lot.cost - worth
    return total


def day_loss(state: ShardState, account: FollowerState | Follow, marked: Decimal) -> Decimal:
    """What was lost this UTC day: realised today and marked now, positive for a loss."""
    today = account.day_pnl if account.day == state.now // DAY_MS else ZERO
    return -(today + marked)


def drawdown_percent(follower: FollowerState, marked: Decimal) -> Decimal:
    """How far equity (capital plus realised and marked profit) is below its peak, in percent of the peak."""
    if follower.capital is None or follower.peak <= 0:
        return ZERO
    return (follower.peak - follower.capital - follower.pnl - marked) * 100 / follower.peak


def follow_drawdown_percent(follower: FollowerState, follow: Follow, marked: Decimal) -> Decimal:
    """How far a follow's profit is below its best, in percent of the account's peak."""
    if follower.peak <= 0:
        return ZERO
    return (follow.peak_pnl - follow.pnl - marked) * 100 / follower.peak
