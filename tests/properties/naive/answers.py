"""A naive follower's answer to one signal: copied, reduced or a reason, and what it asked for.

Enters: a signal before one follower. Leaves: the answer with its count of orders, or nothing when the follower has none to give.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from tests.properties.naive.ends import drop_waiting, end_dust, release_waiting
from tests.properties.naive.lots import HALT_EXITS, Exit, Key, Lot, Order, carry_out, plan_exit, request
from tests.properties.naive.opens import Asked, Verdict, judge

REMEMBERED_ORDERS = 8
Answer = tuple[str, int]


def respond(asked: Asked, fraction: Fraction) -> Answer | None:
    """The one answer. `fraction` is what the whale gave up of its position."""
    follow, action = asked.follow, asked.signal.action
    lots, waiting = _lots_to_leave(asked), _opens_to_drop(asked)
    if action in ("open", "increase") or (action == "flip" and not (follow.terms.copy_exits and (lots or waiting))):
        return _open(asked) if follow.active else None
    if not (follow.active or lots or waiting):
        return None
    if not follow.terms.copy_exits:
        return "exits_not_copied", 0
    if not (lots or waiting):
        halted = asked.world.level(asked.who.name, asked.key.venue, asked.key.whale) == HALT_EXITS
        return "kill_switch" if halted else "nothing_to_close", 0
    plans: list[Exit] = []
    for lot in lots:
        plans.append(_plan(asked, lot, fraction, sum(len(plan.orders) for plan in plans)))
    if action == "flip" and not (plans and plans[0].halted):
        return _flip(asked, plans, waiting)
    return _leave(asked, plans, waiting)


def _lots_to_leave(asked: Asked) -> list[Lot]:
    return [lot for lot in asked.who.lots.values() if _left(asked, lot.key)]


def _opens_to_drop(asked: Asked) -> list[Order]:
    return [order for order in asked.who.waiting if _left(asked, order.key)]


def _left(asked: Asked, key: Key) -> bool:
    return key.whale == asked.key.whale and key.long != asked.key.long and key.symbol == asked.symbols.get(key.venue)


def _plan(asked: Asked, lot: Lot, fraction: Fraction, first_leg: int) -> Exit:
    return plan_exit(asked.world, asked.who, lot, fraction, asked.signal.signal_id, asked.base, asked.price, first_leg)


def _open(asked: Asked) -> Answer:
    verdict = judge(asked)
    if verdict.carried:
        asked.follow.carried[asked.signal.symbol] = (verdict.carried, asked.world.moment)
        _spend(asked)
    if not verdict.orders:
        return verdict.reason, 0
    for order in verdict.orders:
        request(asked.world, asked.who, order)
    _opened(asked)
    return "reduced" if verdict.cut else "copied", len(verdict.orders)


def _opened(asked: Asked) -> None:
    asked.who.opened_at = asked.follow.opened_at = asked.world.now
    asked.follow.carried.pop(asked.signal.symbol, None)
    _spend(asked)


def _spend(asked: Asked) -> None:
    order_id, spent = asked.signal.whale_order_id, asked.follow.spent
    if order_id is not None and order_id not in spent:
        spent.append(order_id)
        del spent[:-REMEMBERED_ORDERS]


def _leave(asked: Asked, plans: list[Exit], waiting: list[Order]) -> Answer:
    carried = bool(plans) and plans[0].only_carried and not waiting
    reason = "kill_switch" if plans and plans[0].halted else "below_minimum"
    drop_waiting(asked.world, asked.who, waiting, "whale_closed")
    _carry_out(asked, plans)
    return (reason if carried else "copied"), sum(len(plan.orders) for plan in plans)


def _carry_out(asked: Asked, plans: list[Exit]) -> None:
    for plan in plans:
        carry_out(asked.world, asked.who, plan, asked.signal.signal_id)
        end_dust(asked.world, asked.who, plan.lot, plan.price)
    release_waiting(asked.world, asked.who)


def _flip(asked: Asked, plans: list[Exit], waiting: list[Order]) -> Answer:
    """The old lot leaves now; the open waits until it is gone."""
    legs = sum(len(plan.orders) for plan in plans)
    verdict = judge(replace(asked, leaving=True, first_leg=legs)) if asked.follow.active else Verdict("auto_copy_disabled")
    drop_waiting(asked.world, asked.who, waiting, "whale_closed")
    asked.who.waiting += verdict.orders
    if verdict.orders:
        _opened(asked)
    _carry_out(asked, plans)
    if verdict.orders:
        return "reduced" if verdict.cut else "copied", legs + len(verdict.orders)
    return f"reduced {verdict.reason}", legs
