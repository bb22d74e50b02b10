"""Reconciliation: the venue's positions enter; a first difference is suspected, the same one in a second report is a drift.

Only reports newer than the last outcome count, and only with nothing in flight. Lots shrink pro rata; they never grow. What the account
holds beside our lots is foreign: known, and never traded.
"""

from __future__ import annotations

from decimal import Decimal

from engine.domain.events import AnyEvent, DriftDetected, DriftSuspected, LotAdjustment
from engine.domain.messages import PositionsReported
from engine.domain.sizing import floor_to
from engine.domain.state import ZERO, FollowerState, Lot, ShardState, account_key, market_key


def decide_positions(state: ShardState, report: PositionsReported) -> list[AnyEvent]:
    """Compare a report with the lots."""
    follower = state.followers.get(report.follower_id)
    if follower is None or follower.settings.mode == "shadow":
        return []
    if report.in_flight or follower.orders or report.at <= follower.last_outcome_at:
        return []
    differing = _differences(follower, report)
    if not differing:
        return []
    confirmed = {symbol: quantity for symbol, quantity in differing.items() if (follower.suspects or {}).get(symbol) == quantity}
    if confirmed:
        return [_drift(state, follower, report, symbol, quantity, number) for number, (symbol, quantity) in enumerate(confirmed.items(), 1)]
    return [
        DriftSuspected(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            venue=report.venue,
            reported=differing,
            reported_at=report.at,
        )
    ]


def _lots_of(follower: FollowerState, venue: str, symbol: str) -> list[Lot]:
    mode = follower.settings.mode
    return [lot for lot in (follower.lots or {}).values() if lot.venue == venue and lot.symbol == symbol and lot.mode == mode]


def _signed(lot: Lot) -> Decimal:
    return lot.filled if lot.direction == "long" else -lot.filled


def _differences(follower: FollowerState, report: PositionsReported) -> dict[str, Decimal]:
    mode = follower.settings.mode
    reported = {position.symbol: position.quantity for position in report.positions}
    known = {lot.symbol for lot in (follower.lots or {}).values() if lot.venue == report.venue and lot.mode == mode}
    for key in follower.foreign or {}:
        venue, symbol, of_mode = key.split("|")
        if venue == report.venue and of_mode == mode:
            known.add(symbol)
    found: dict[str, Decimal] = {}
    for symbol in sorted(known | reported.keys()):
        quantity = reported.get(symbol, ZERO)
        if quantity != _expected(follower, report.venue, symbol):
            found[symbol] = quantity
    return found


def _expected(follower: FollowerState, venue: str, symbol: str) -> Decimal:
    foreign = (follower.foreign or {}).get(account_key(venue, symbol, follower.settings.mode), ZERO)
    return sum((_signed(lot) for lot in _lots_of(follower, venue, symbol)), foreign)


def _drift(
    state: ShardState, follower: FollowerState, report: PositionsReported, symbol: str, quantity: Decimal, number: int
) -> DriftDetected:
    lots = [lot for lot in _lots_of(follower, report.venue, symbol) if lot.filled]
    own = sum((_signed(lot) for lot in lots), ZERO)
    kept = max(ZERO, min(own, quantity)) if own >= 0 else min(ZERO, max(own, quantity))
    rules = state.rules.get(market_key(report.venue, symbol))
    return DriftDetected(
        originator_id=follower.follower_id,
        originator_version=follower.version + number,
        at=state.now,
        venue=report.venue,
        venue_symbol=symbol,
        expected=_expected(follower, report.venue, symbol),
        reported=quantity,
        foreign=quantity - kept,
        mode=follower.settings.mode,
        adjustments=_shrunk(lots, own, kept, rules.step if rules else None),
    )


def _shrunk(lots: list[Lot], own: Decimal, kept: Decimal, step: Decimal | None) -> tuple[LotAdjustment, ...]:
    """Pro rata over the lots of the net's direction, to the step; what rounding leaves is taken from the largest."""
    if own == kept:
        return ()
    direction = "long" if own > 0 else "short"
    shrinking = sorted((lot for lot in lots if lot.direction == direction), key=lambda lot: (-lot.filled, lot.whale_id))
    total, lost = sum((lot.filled for lot in shrinking), ZERO), abs(own - kept)
    losses = [lot.filled * lost / total for lot in shrinking]
    losses = [floor_to(loss, step) if step else loss for loss in losses]
    rest = lost - sum(losses, ZERO)
    adjusted: list[LotAdjustment] = []
    for lot, loss in zip(shrinking, losses, strict=True):
        more = max(-loss, min(rest, lot.filled - loss))
        rest -= more
        adjusted.append(LotAdjustment(lot.whale_id, lot.direction, lot.filled, lot.filled - loss - more))
    return tuple(adjusted)
