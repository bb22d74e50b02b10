"""Exits: a lot and the fraction of it that must leave enter; orders, cancels and what stays due leave. Exits never open or reverse.

An exit takes the fraction of what is filled and not yet leaving, at once. What opens that are not settled still bring leaves in the same
fraction when they settle; a full exit cancels them as well. What is below the venue's minimum is due and goes with the next exit; when all
that is left of a lot is due and too small, it is dust and the lot ends. A failed exit is asked for again by the clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from engine.domain.control import exits_halted
from engine.domain.events import AnyEvent, DustRecorded, LotExit, OpenDropped, OrdersRequested
from engine.domain.fold import emit
from engine.domain.ids import command_id
from engine.domain.limits import mark_of
from engine.domain.messages import CancelOrder, PlaceOrder
from engine.domain.sizing import floor_to, legs_of, smallest_exit
from engine.domain.state import ONE, ZERO, FollowerState, Lot, ShardState, lot_key, market_key, order_lot_key, part_of
from engine.domain.values import SIDE_OF_EXIT, Priority


class Cause(NamedTuple):
    """Why an exit happens: signal or request, what its ids are made of, and the times that its orders carry."""

    cause: str
    base: str
    price: Decimal | None = None
    priority: Priority = "high"
    detected_at: int = 0
    published_at: int = 0
    received_at: int = 0
    request_id: str = ""


class LotPlan(NamedTuple):
    """What leaving means for one lot."""

    lot: Lot
    leaving: LotExit
    wanted: Decimal
    quantity: Decimal
    minimum: Decimal
    price: Decimal
    orders: tuple[PlaceOrder, ...]
    cancels: tuple[CancelOrder, ...]
    halted: bool


def key_of(lot: Lot) -> str:
    """The lot's key in its follower."""
    return lot_key(lot.venue, lot.symbol, lot.direction, lot.mode, lot.whale_id)


def price_of(state: ShardState, lot: Lot) -> Decimal:
    """What a lot is worth a unit: the mark, else what it cost."""
    mark = mark_of(state, lot.venue, lot.symbol)
    return mark if mark is not None else (lot.cost / lot.filled if lot.filled else ZERO)


def plan_exit(state: ShardState, follower: FollowerState, lot: Lot, fraction: Decimal, why: Cause, first_leg: int = 0) -> LotPlan:
    """Lay out an exit of `fraction` of a lot (0: only what is due). Changes nothing."""
    free = lot.free
    wanted = max(ZERO, free if fraction == ONE else part_of(free - lot.due, fraction) + lot.due)
    closing = wanted == free
    price = why.price if why.price is not None else price_of(state, lot)
    rules = state.rules.get(market_key(lot.venue, lot.symbol))
    quantity = floor_to(wanted, rules.step) if rules else wanted
    minimum = smallest_exit(rules, price) if rules else ZERO
    halted = exits_halted(state, venue=lot.venue, whale_id=lot.whale_id, follower_id=follower.follower_id)
    orders: tuple[PlaceOrder, ...] = ()
    due = wanted
    if not halted and quantity > 0 and quantity >= minimum:
        legs = legs_of(quantity, rules) if rules else [quantity]
        orders = tuple(_exit_order(state, follower, lot, leg, part, price, why) for leg, part in enumerate(legs, first_leg))
        due = wanted - quantity if closing else ZERO
    leaving = LotExit(lot.direction, lot.mode, fraction, due, halted and due > 0)
    cancels = unsent_opens(follower, lot, why.cause) if fraction == ONE else ()
    return LotPlan(lot, leaving, wanted, quantity, minimum, price, orders, cancels, halted)


def _exit_order(
    state: ShardState, follower: FollowerState, lot: Lot, leg: int, quantity: Decimal, price: Decimal, why: Cause
) -> PlaceOrder:
    return PlaceOrder(
        command_id=command_id(why.base, follower.follower_id, leg),
        follower_id=follower.follower_id,
        venue=lot.venue,
        symbol=lot.symbol,
        side=SIDE_OF_EXIT[lot.direction],
        quantity=quantity,
        kind="exit",
        whale_id=lot.whale_id,
        cause=why.cause,
        leg=leg,
        leverage=lot.leverage,
        reference_price=price or None,
        priority=why.priority,
        mode=lot.mode,
        detected_at=why.detected_at,
        published_at=why.published_at,
        received_at=why.received_at,
        decided_at=state.now,
    )


def unsent_opens(follower: FollowerState, lot: Lot, cause: str) -> tuple[CancelOrder, ...]:
    """Cancels of a lot's opens that are not settled and were not cancelled before (of those, all leaves that is filled)."""
    if not lot.pending or not follower.orders:
        return ()
    key, waits = key_of(lot), lot.waits or {}
    return tuple(
        CancelOrder(command_id=order_id, follower_id=follower.follower_id, cause=cause)
        for order_id, order in follower.orders.items()
        if order.kind == "open" and waits.get(order_id) != ONE and order_lot_key(order) == key
    )


def request_exit(state: ShardState, out: list[AnyEvent], follower: FollowerState, plan: LotPlan, why: Cause) -> None:
    """Emit an exit that no decision carries, and end the lot if all that is left is dust."""
    lot = plan.lot
    emit(
        state,
        out,
        OrdersRequested(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            cause=why.cause,
            whale_id=lot.whale_id,
            venue=lot.venue,
            venue_symbol=lot.symbol,
            direction=lot.direction,
            orders=plan.orders,
            cancels=plan.cancels,
            exits=(plan.leaving,),
            request_id=why.request_id,
        ),
    )
    end_dust(state, out, follower, key_of(lot), plan.price)


def end_dust(state: ShardState, out: list[AnyEvent], follower: FollowerState, key: str, price: Decimal | None = None) -> None:
    """End a lot of which only something too small to sell is left, all of it on its way out."""
    lot = (follower.lots or {}).get(key)
    if not lot or lot.pending or lot.reserved or not lot.due or lot.due != lot.filled:
        return
    rules = state.rules.get(market_key(lot.venue, lot.symbol))
    if not rules or floor_to(lot.due, rules.step) >= smallest_exit(rules, price_of(state, lot) if price is None else price):
        return
    emit(
        state,
        out,
        DustRecorded(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            venue=lot.venue,
            venue_symbol=lot.symbol,
            direction=lot.direction,
            whale_id=lot.whale_id,
            quantity=lot.filled,
            mode=lot.mode,
        ),
    )


def close_lots(state: ShardState, out: list[AnyEvent], follower: FollowerState, lots: Iterable[Lot], request_id: str) -> None:
    """Close lots by hand or by flatten: everything of them leaves, and no open of theirs waits any more."""
    why = Cause(request_id, request_id, received_at=state.now, detected_at=state.now, request_id=request_id)
    leg = 0
    for lot in list(lots):
        plan = plan_exit(state, follower, lot, ONE, why, leg)
        leg += len(plan.orders)
        if plan.orders or plan.cancels or plan.leaving.due != lot.due:
            request_exit(state, out, follower, plan, why)


class Dropped(NamedTuple):
    """Why waiting opens are given up."""

    reason: str
    limit: str = ""
    value: str = ""


def drop_waiting(state: ShardState, out: list[AnyEvent], follower: FollowerState, orders: Iterable[PlaceOrder], why: Dropped) -> None:
    """Give up opens that wait for an exit; one event a cause."""
    by_cause: dict[str, list[PlaceOrder]] = {}
    for order in orders:
        by_cause.setdefault(order.cause, []).append(order)
    for cause, dropped in by_cause.items():
        emit(
            state,
            out,
            OpenDropped(
                originator_id=follower.follower_id,
                originator_version=follower.version + 1,
                at=state.now,
                cause=cause,
                whale_id=dropped[0].whale_id,
                venue=dropped[0].venue,
                venue_symbol=dropped[0].symbol,
                command_ids=tuple(order.command_id for order in dropped),
                reason=why.reason,
                limit=why.limit,
                value=why.value,
            ),
        )
