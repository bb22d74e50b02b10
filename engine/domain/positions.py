"""Lots: orders requested, ended, drifted and dusted enter; the follower's lots, pending orders and profit are what they leave.

A lot is a follower's share of a position that stems from one whale. Every function folds a fact; none decides.
"""

from __future__ import annotations

from decimal import Decimal

from engine.domain.events import DriftDetected, DustRecorded, LotExit, OpenDropped, OrderEnded, OrdersRequested
from engine.domain.messages import CancelOrder, PlaceOrder, TradeCommand
from engine.domain.state import (
    DAY_MS,
    ONE,
    ZERO,
    Follow,
    FollowerState,
    Lot,
    ShardState,
    account_key,
    lot_key,
    market_key,
    order_lot_key,
    part_of,
    remember,
    remove_from_index,
)
from engine.domain.values import Direction, Mode

RETRY_MS = 1000
RETRY_MAX_MS = 60_000


def request_orders(state: ShardState, follower: FollowerState, orders: tuple[PlaceOrder, ...]) -> None:
    """Opens become pending, exits reserve; each goes to the outbox. Shadow orders fill at the whale's price at once."""
    for order in orders:
        lots, quantity = follower.lots, order.quantity
        if lots is None:
            lots = follower.lots = {}
        lot = lots.get(key := order_lot_key(order))
        if lot is None:
            lot = lots[key] = _new_lot(order)
        if order.mode == "shadow":
            _fill(state, follower, lot, order, quantity, quantity, order.reference_price or _entry(lot))
            continue
        if order.kind == "open":
            lot.pending += quantity
            lot.pending_quote += quantity * (order.reference_price or ZERO)
            lot.leverage = order.leverage
        else:
            lot.reserved += quantity
        if follower.orders is None:
            follower.orders = {order.command_id: order}
        else:
            follower.orders[order.command_id] = order
        seq = state.command_seq = state.command_seq + 1
        state.outbox.append(TradeCommand(seq=seq, body=order))


def _new_lot(order: PlaceOrder) -> Lot:
    direction: Direction = "long" if (order.side == "buy") == (order.kind == "open") else "short"
    return Lot(
        whale_id=order.whale_id, venue=order.venue, symbol=order.symbol, direction=direction, mode=order.mode, leverage=order.leverage
    )


def apply_exits(
    state: ShardState, follower: FollowerState, venue: str, symbol: str, whale_id: str, cause: str, exits: tuple[LotExit, ...]
) -> None:
    """What an exit leaves behind in its lots: fractions of pending opens, and quantities that are due without an order."""
    for leaving in exits:
        lot = (follower.lots or {})[key := lot_key(venue, symbol, leaving.direction, leaving.mode, whale_id)]
        lot.due = leaving.due
        lot.exit_cause = cause
        if leaving.due:
            lot.due_from = f"{cause}:due:{state.now}:{key}"  # A cause may leave something due in several lots.
        lot.retry_at = state.now + RETRY_MS if leaving.retry else 0
        if leaving.fraction and follower.orders:
            _leave_when_filled(follower, lot, leaving.fraction)
        refresh_alarm(state, follower)


def _leave_when_filled(follower: FollowerState, lot: Lot, fraction: Decimal) -> None:
    key = lot_key(lot.venue, lot.symbol, lot.direction, lot.mode, lot.whale_id)
    for command_id, order in (follower.orders or {}).items():
        if order.kind == "open" and order_lot_key(order) == key:
            lot.waits = lot.waits or {}
            kept = (ONE - lot.waits.get(command_id, ZERO)) * (ONE - fraction)
            lot.waits[command_id] = ONE - kept


def refresh_alarm(state: ShardState, follower: FollowerState) -> None:
    """Let the clock look at a follower who has something to retry or an open that waits, and at nobody else."""
    times = [lot.retry_at for lot in (follower.lots or {}).values() if lot.retry_at]
    if times or follower.waiting:
        state.alarms[follower.follower_id] = min(times, default=0)
    else:
        state.alarms.pop(follower.follower_id, None)


def orders_requested(state: ShardState, follower: FollowerState, event: OrdersRequested) -> None:
    """Fold orders without a fresh signal; opens that waited are now requested."""
    if event.exits:
        apply_exits(state, follower, event.venue, event.venue_symbol, event.whale_id, event.cause, event.exits)
    if event.request_id:
        remember(state.requests, event.request_id, event.at)
    request_cancels(state, event.cancels)
    request_orders(state, follower, event.orders)
    if follower.waiting:
        _forget_waiting(state, follower, [order.command_id for order in event.orders])
    drop_ended_lots(state, follower)


def request_cancels(state: ShardState, cancels: tuple[CancelOrder, ...]) -> None:
    """Cancels go to the outbox before the orders of their event."""
    for cancel in cancels:
        state.command_seq += 1
        state.outbox.append(TradeCommand(seq=state.command_seq, body=cancel))


def open_dropped(state: ShardState, follower: FollowerState, event: OpenDropped) -> None:
    """Fold that waiting opens will not come."""
    _forget_waiting(state, follower, list(event.command_ids))


def _forget_waiting(state: ShardState, follower: FollowerState, command_ids: list[str]) -> None:
    waiting = follower.waiting or {}
    for command_id in command_ids:
        waiting.pop(command_id, None)
    follower.waiting = waiting or None
    refresh_alarm(state, follower)


def order_ended(state: ShardState, follower: FollowerState, event: OrderEnded) -> None:
    """Fold an order's end state into its lot. What an exit did not fill stays due and is asked for again."""
    orders, lots = follower.orders, follower.lots
    assert orders and lots, "an order ends that was never requested"
    order, quantity = orders.pop(event.command_id), event.quantity
    if not orders:
        follower.orders = None
    follower.suspects = None
    if event.settled_at > follower.last_outcome_at:
        follower.last_outcome_at = event.settled_at
    lot = lots[key := order_lot_key(order)]
    if order.kind == "open":
        lot.pending -= order.quantity
        lot.pending_quote -= order.quantity * (order.reference_price or ZERO)
        if lot.waits:
            lot.due += part_of(quantity, lot.waits.pop(event.command_id, ZERO))
            lot.waits = lot.waits or None
    else:
        lot.reserved -= order.quantity
        _note_failed_exit(state, lot, order.quantity - quantity)
    lot.due_from = event.command_id
    if quantity:
        _fill(state, follower, lot, order, event.filled, quantity, event.average_price or ZERO, event.fee_quote)
    if lot.due:
        lot.due = max(ZERO, min(lot.due, lot.free))
    if lot.retry_at:
        refresh_alarm(state, follower)
    if not lot.filled and lot.empty:
        _drop_lot(state, follower, lots, key)


def _note_failed_exit(state: ShardState, lot: Lot, missing: Decimal) -> None:
    if missing > 0:
        lot.due += missing
        lot.failures += 1
        lot.retry_at = state.now + min(RETRY_MAX_MS, RETRY_MS << min(lot.failures - 1, 6))
    else:
        lot.failures = 0


def _fill(
    state: ShardState,
    follower: FollowerState,
    lot: Lot,
    order: PlaceOrder,
    gross: Decimal,
    net: Decimal,
    price: Decimal,
    fee: Decimal = ZERO,
) -> None:
    if order.kind == "open":
        lot.filled += net
        lot.cost += gross * price
        lot.notional += net * (order.reference_price or price)
        lot.leverage = order.leverage
        book(follower, lot.whale_id, lot.mode, state.now, -fee)
    else:
        realized = realized_pnl(lot, net, price)
        _shrink(lot, lot.filled - net)
        book(follower, lot.whale_id, lot.mode, state.now, realized - fee)


def _entry(lot: Lot) -> Decimal:
    return lot.cost / lot.filled if lot.filled else ZERO


def realized_pnl(lot: Lot, quantity: Decimal, price: Decimal) -> Decimal:
    """Profit in quote of leaving `quantity` of a lot at `price`, against its average entry, before quote fees."""
    if not lot.filled:
        return ZERO
    bought = lot.cost if quantity == lot.filled else lot.cost * quantity / lot.filled
    sold = quantity * price
    return sold - bought if lot.direction == "long" else bought - sold


def _shrink(lot: Lot, after: Decimal) -> None:
    if after <= 0:
        lot.filled = lot.cost = lot.notional = ZERO
        return
    lot.cost = lot.cost * after / lot.filled
    lot.notional = lot.notional * after / lot.filled
    lot.filled = after


def book(follower: FollowerState, whale_id: str, mode: Mode, now: int, amount: Decimal) -> None:
    """Add realised profit (less fees, plus funding) to the totals of follower, follow and UTC day. In another mode it is other money."""
    if not amount or mode != follower.settings.mode:
        return
    day = now // DAY_MS
    _book_one(follower, day, amount)
    if follower.capital is not None:
        note_peak(follower, follower.capital)
    follow = follower.follows.get(whale_id)
    if follow:
        _book_one(follow, day, amount)
        if follow.pnl > follow.peak_pnl:
            follow.peak_pnl = follow.pnl


def _book_one(account: FollowerState | Follow, day: int, amount: Decimal) -> None:
    if account.day == day:
        account.day_pnl += amount
    else:
        account.day, account.day_pnl = day, ZERO + amount
    account.pnl += amount


def note_peak(follower: FollowerState, capital: Decimal) -> None:
    """Raise the high-water mark that the follower's drawdown is measured from."""
    worth = capital + follower.pnl
    if worth > follower.peak:
        follower.peak = worth


def drift_detected(state: ShardState, follower: FollowerState, event: DriftDetected) -> None:
    """Fold lots that shrank at the venue, at the mark as far as one is known, and the share that is not ours."""
    lots = follower.lots or {}
    mark = state.marks.get(market_key(event.venue, event.venue_symbol))
    for change in event.adjustments:
        lot = lots[lot_key(event.venue, event.venue_symbol, change.direction, event.mode, change.whale_id)]
        lost = lot.filled - change.after
        book(follower, lot.whale_id, lot.mode, state.now, realized_pnl(lot, lost, mark.price if mark else _entry(lot)))
        _shrink(lot, change.after)
        lot.due = min(lot.due, lot.filled)
    _set_foreign(follower, account_key(event.venue, event.venue_symbol, event.mode), event.foreign)
    follower.suspects = None
    drop_ended_lots(state, follower)


def dust_recorded(state: ShardState, follower: FollowerState, event: DustRecorded) -> None:
    """Fold the end of a lot whose rest cannot be sold: it is foreign from here on."""
    key = account_key(event.venue, event.venue_symbol, event.mode)
    if event.mode != "shadow":
        signed = event.quantity if event.direction == "long" else -event.quantity
        _set_foreign(follower, key, (follower.foreign or {}).get(key, ZERO) + signed)
    lot = (follower.lots or {})[lot_key(event.venue, event.venue_symbol, event.direction, event.mode, event.whale_id)]
    lot.filled = ZERO
    drop_ended_lots(state, follower)


def _set_foreign(follower: FollowerState, key: str, quantity: Decimal) -> None:
    foreign = follower.foreign or {}
    if quantity:
        foreign[key] = quantity
    else:
        foreign.pop(key, None)
    follower.foreign = foreign or None


def drop_ended_lots(state: ShardState, follower: FollowerState) -> None:
    """Forget lots with nothing filled and nothing under way; an unfollowed whale without a lot reaches the follower no more."""
    lots = follower.lots
    if not lots:
        return
    for key in [key for key, lot in lots.items() if lot.empty]:
        _drop_lot(state, follower, lots, key)


def _drop_lot(state: ShardState, follower: FollowerState, lots: dict[str, Lot], key: str) -> None:
    whale_id = lots.pop(key).whale_id
    follow = follower.follows.get(whale_id)
    if follow and not follow.active and not any(lot.whale_id == whale_id for lot in lots.values()):
        remove_from_index(state, follower, whale_id)
    if not lots:
        follower.lots = None
    if follower.follower_id in state.alarms:
        refresh_alarm(state, follower)
