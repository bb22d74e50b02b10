"""What follows from an order's end: outcomes enter; the order's end, exits that waited for it, and opens that waited for those leave."""

from __future__ import annotations

from decimal import Decimal

from engine.domain.control import CLOSE_ONLY, HALT, exits_halted, strictest
from engine.domain.events import AnyEvent, OrderEnded, OrdersRequested
from engine.domain.exits import Cause, Dropped, drop_waiting, end_dust, plan_exit, request_exit
from engine.domain.fold import emit
from engine.domain.limits import View, exposure_of
from engine.domain.messages import OrderSettled, PlaceOrder
from engine.domain.positions import realized_pnl
from engine.domain.sizing import BPS
from engine.domain.state import WIDE, ZERO, FollowerState, Lot, ShardState, lot_key, order_lot_key
from engine.domain.values import Direction

HUNDREDTH = Decimal("0.01")


def decide_settled(state: ShardState, outcome: OrderSettled, out: list[AnyEvent]) -> None:
    """Fold an end state once: an unknown or settled command and another executor's epoch say nothing."""
    follower = state.followers.get(outcome.follower_id)
    order = (follower.orders or {}).get(outcome.command_id) if follower else None
    if follower is None or order is None:
        return
    key = order_lot_key(order)
    lot = (follower.lots or {})[key]
    ended = _order_ended(state, follower, lot, order, outcome)
    emit(state, out, ended)
    failed = order.kind == "exit" and ended.quantity < order.quantity
    follow_up(state, out, follower, key, base=order.command_id, ask=not failed)


def _order_ended(state: ShardState, follower: FollowerState, lot: Lot, order: PlaceOrder, outcome: OrderSettled) -> OrderEnded:
    bought, sold = max(ZERO, outcome.filled - outcome.fee_base), min(outcome.filled + outcome.fee_base, lot.filled)
    quantity = bought if order.kind == "open" else sold
    price = outcome.average_price
    gained = realized_pnl(lot, quantity, price) if order.kind == "exit" and price is not None else ZERO
    return OrderEnded(
        originator_id=follower.follower_id,
        originator_version=follower.version + 1,
        at=state.now,
        command_id=order.command_id,
        cause=order.cause,
        whale_id=order.whale_id,
        venue=order.venue,
        venue_symbol=order.symbol,
        direction=lot.direction,
        kind=order.kind,
        status=outcome.status,
        reason=outcome.reason,
        raw_code=outcome.raw_code,
        exchange_order_id=outcome.exchange_order_id,
        filled=outcome.filled,
        quantity=quantity,
        average_price=price,
        fee_base=outcome.fee_base,
        fee_quote=outcome.fee_quote,
        realized_pnl=gained,
        slippage_bps=slippage_bps(order, price),
        attempts=outcome.attempts,
        attempted_at=outcome.attempted_at,
        acknowledged_at=outcome.acknowledged_at,
        settled_at=outcome.settled_at,
    )


def slippage_bps(order: PlaceOrder, price: Decimal | None) -> Decimal | None:
    """How much worse than the whale's price an order filled, in bps; negative is better."""
    if price is None or not order.reference_price:
        return None
    away = (price - order.reference_price) * BPS / order.reference_price
    return (away if order.side == "buy" else -away).quantize(HUNDREDTH, context=WIDE)


def follow_up(state: ShardState, out: list[AnyEvent], follower: FollowerState, key: str, base: str, ask: bool = True) -> None:
    """After a lot moved: ask for what is due, end dust, and let opens go that waited for the lot's end."""
    lot = (follower.lots or {}).get(key)
    if lot and lot.due:
        if ask:
            request_due(state, out, follower, lot, base)
        end_dust(state, out, follower, key)
    if follower.waiting:
        release_waiting(state, out, follower)


def request_due(state: ShardState, out: list[AnyEvent], follower: FollowerState, lot: Lot, base: str) -> None:
    """Ask for an exit of what is due, as far as the venue takes it; halted exits are asked for again later."""
    cause = lot.exit_cause or base
    plan = plan_exit(state, follower, lot, ZERO, Cause(cause, base, detected_at=state.now, received_at=state.now))
    if plan.orders or (lot.retry_at and not plan.halted) or (plan.halted and not lot.retry_at):
        request_exit(state, out, follower, plan, Cause(cause, base))


def decide_alarm(state: ShardState, follower: FollowerState, out: list[AnyEvent]) -> None:
    """The clock looks at one follower: exits to retry, opens that wait for an exit or have waited too long."""
    for key, lot in list((follower.lots or {}).items()):
        if (
            lot.retry_at
            and lot.retry_at <= state.now
            and not exits_halted(state, venue=lot.venue, whale_id=lot.whale_id, follower_id=follower.follower_id)
        ):
            request_due(state, out, follower, lot, lot.due_from)
            end_dust(state, out, follower, key)
    if follower.waiting:
        release_waiting(state, out, follower)


def release_waiting(state: ShardState, out: list[AnyEvent], follower: FollowerState) -> None:
    """Opens of flips: drop what is overdue or not wanted any more, request what has its old lot behind it."""
    by_cause: dict[str, list[PlaceOrder]] = {}
    for order in (follower.waiting or {}).values():
        by_cause.setdefault(order.cause, []).append(order)
    for cause, orders in by_cause.items():
        first = orders[0]
        direction: Direction = "long" if first.side == "buy" else "short"
        other = "short" if direction == "long" else "long"
        if first.expires_at is not None and first.expires_at < state.now:
            drop_waiting(state, out, follower, orders, Dropped("signal_expired", str(first.expires_at), str(state.now)))
        elif lot_key(first.venue, first.symbol, other, first.mode, first.whale_id) in (follower.lots or {}):
            continue
        elif refused := _refused_now(state, follower, first, direction):
            drop_waiting(state, out, follower, orders, refused)
        else:
            _request_waiting(state, out, follower, cause, orders, direction)


def _refused_now(state: ShardState, follower: FollowerState, order: PlaceOrder, direction: Direction) -> Dropped | None:
    level, scope = strictest(state, venue=order.venue, whale_id=order.whale_id, follower_id=follower.follower_id)
    if not follower.settings.copy_trading_enabled:
        return Dropped("copy_trading_disabled")
    if follower.settings.paused:
        return Dropped("paused")
    if level >= CLOSE_ONLY:
        return Dropped("kill_switch" if level >= HALT else "close_only", scope)
    follow = follower.follows.get(order.whale_id)
    if not follow or not follow.active or not follow.terms.auto_copy_enabled:
        return Dropped("auto_copy_disabled")
    against = _opposite_of_others(follower, order, direction)
    return Dropped("opposite_position", value=str(against)) if against else None


def _opposite_of_others(follower: FollowerState, order: PlaceOrder, direction: Direction) -> Decimal:
    return exposure_of(follower, View(order.venue, order.symbol, direction, order.mode, order.whale_id, sums=False, margins=False)).opposite


def _request_waiting(
    state: ShardState, out: list[AnyEvent], follower: FollowerState, cause: str, orders: list[PlaceOrder], direction: Direction
) -> None:
    emit(
        state,
        out,
        OrdersRequested(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            cause=cause,
            whale_id=orders[0].whale_id,
            venue=orders[0].venue,
            venue_symbol=orders[0].symbol,
            direction=direction,
            orders=tuple(orders),
        ),
    )
