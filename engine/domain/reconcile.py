"""Reconciliation: the venue's positions enter; a first difference is suspected, the same one in a second report is a drift.

Only reports newer than the last outcome count, and only with nothing in flight. Lots shrink pro rata; they never grow. What the account
holds beside our lots is foreign: known, and never traded.
"""

from __future__ import annotations

from decimal import Decimal

from engine.domain.events import AnyEvent, DriftDetected, DriftSuspected, LotAdjustment
from engine.domain.messages import PositionsReported
from engine.domain.sizing import floor_to
from engine.domain.state import ZERO, FollowerState, Lot, ShardState, account_key, is_of_account, market_key
from engine.domain.values import Mode, Venue


def decide_positions(state: ShardState, report: PositionsReported) -> list[AnyEvent]:
    """Compare a report with the lots of the account: those of the mode whose orders it takes."""
    follower = state.followers.get(report.follower_id)
    if follower is None or (mode := report.mode or follower.settings.mode) == "shadow":
        return []
    if report.in_flight or _is_under_way(follower, report) or report.at <= follower.last_outcome_at:
        return []
    differing = _differences(follower, report, mode)
    if not differing:
        return []
    suspects = follower.suspects or {}
    confirmed = {
        symbol: quantity for symbol, quantity in differing.items() if suspects.get(account_key(report.venue, symbol, mode)) == quantity
    }
    if confirmed:
        numbered = enumerate(confirmed.items(), 1)
        return [_drift(state, follower, report.venue, mode, symbol, quantity, number) for number, (symbol, quantity) in numbered]
    return [
        DriftSuspected(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            venue=report.venue,
            reported=differing,
            reported_at=report.at,
            mode=report.mode,
        )
    ]


def _is_under_way(follower: FollowerState, report: PositionsReported) -> bool:
    """Whether an order of the account is not settled; what waits at the account of another mode moves nothing on this one."""
    orders = (follower.orders or {}).values()
    return any(report.mode is None or (order.venue == report.venue and order.mode == report.mode) for order in orders)


def _lots_of(follower: FollowerState, venue: str, mode: Mode, symbol: str) -> list[Lot]:
    return [lot for lot in (follower.lots or {}).values() if lot.venue == venue and lot.symbol == symbol and lot.mode == mode]


def _signed(lot: Lot) -> Decimal:
    return lot.filled if lot.direction == "long" else -lot.filled


def _differences(follower: FollowerState, report: PositionsReported, mode: Mode) -> dict[str, Decimal]:
    reported = {position.symbol: position.quantity for position in report.positions}
    known = {lot.symbol for lot in (follower.lots or {}).values() if lot.venue == report.venue and lot.mode == mode}
    known |= {key.split("|")[1] for key in follower.foreign or {} if is_of_account(key, report.venue, mode)}
    found: dict[str, Decimal] = {}
    for symbol in sorted(known | reported.keys()):
        quantity = reported.get(symbol, ZERO)
        if quantity != _expected(follower, report.venue, mode, symbol):
            found[symbol] = quantity
    return found


def _expected(follower: FollowerState, venue: str, mode: Mode, symbol: str) -> Decimal:
    foreign = (follower.foreign or {}).get(account_key(venue, symbol, mode), ZERO)
    return sum((_signed(lot) for lot in _lots_of(follower, venue, mode, symbol)), foreign)


def _drift(
    state: ShardState, follower: FollowerState, venue: Venue, mode: Mode, symbol: str, quantity: Decimal, number: int
) -> DriftDetected:
    lots = [lot for lot in _lots_of(follower, venue, mode, symbol) if lot.filled]
    own = sum((_signed(lot) for lot in lots), ZERO)
    kept = max(ZERO, min(own, quantity)) if own >= 0 else min(ZERO, max(own, quantity))
    rules = state.rules.get(market_key(venue, symbol))
    return DriftDetected(
        originator_id=follower.follower_id,
        originator_version=follower.version + number,
        at=state.now,
        venue=venue,
        venue_symbol=symbol,
        expected=_expected(follower, venue, mode, symbol),
        reported=quantity,
        foreign=quantity - kept,
        mode=mode,
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
