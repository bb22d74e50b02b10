"""What follows in a naive book when orders end and time passes: exits that are due, dust, opens of flips that waited, drift.

Enters: ends of orders, the clock, the venue's positions. Leaves: what is asked for next.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from tests.properties.naive.lots import (
    ALL,
    CLOSE_ONLY,
    HALT,
    HALT_EXITS,
    NONE,
    Follower,
    Key,
    Lot,
    Order,
    World,
    carry_out,
    down,
    fill,
    forget_empty,
    plan_exit,
    request,
    too_little,
)


def settle(world: World, who: Follower, ident: str, filled: Fraction, price: Fraction, fees: tuple[Fraction, Fraction], at: int) -> None:
    """An order ends with this much done; of the fees one was taken in base, one in quote."""
    order = world.orders.pop(ident)
    lot, (fee_base, fee_quote), failed = who.lots[order.key], fees, False
    who.outcome_at = max(who.outcome_at, at)
    if lot.opens.pop(ident, None):
        net = max(NONE, filled - fee_base)
        lot.due += order.leaving * net
    else:
        del lot.exits[ident]
        net = min(filled + fee_base, lot.filled)
        failed = net < order.quantity
        lot.due += max(NONE, order.quantity - net)
        lot.failures = lot.failures + 1 if failed else 0
        if failed:
            lot.retry_at = world.now + min(60_000, 1000 * 2 ** min(lot.failures - 1, 6))
    lot.due_from = ident
    if net:
        fill(world, who, lot, order, filled, net, price, fee_quote)
    lot.due = max(NONE, min(lot.due, lot.filled - lot.reserved))
    forget_empty(who)
    if order.key in who.lots and lot.due:
        if not failed:
            ask_for_due(world, who, lot, ident)
        end_dust(world, who, lot)
    release_waiting(world, who)


def ask_for_due(world: World, who: Follower, lot: Lot, base: str) -> None:
    """What must leave and has no order; while exits are halted the clock comes back to it."""
    cause = lot.cause or base
    plan = plan_exit(world, who, lot, NONE, cause, base)
    if plan.halted == (lot.retry_at == 0) or plan.orders:
        carry_out(world, who, plan, cause)


def end_dust(world: World, who: Follower, lot: Lot, price: Fraction | None = None) -> None:
    """When all that is left must leave and the venue would not take it, it is no lot any more."""
    rules, key = world.rules[lot.key[:2]], lot.key
    if key not in who.lots or lot.opens or lot.exits or not lot.due or lot.due != lot.filled:
        return
    if too_little(rules, key.venue, down(lot.due, rules.step), world.worth(lot) if price is None else price):
        if key.mode != "shadow":
            account = (key.venue, key.symbol, key.mode)
            set_foreign(who, account, who.foreign.get(account, NONE) + (lot.filled if key.long else -lot.filled))
        del who.lots[key]


def set_foreign(who: Follower, account: tuple[str, str, str], quantity: Fraction) -> None:
    """What the account holds that is not ours."""
    who.foreign.pop(account, None)
    if quantity:
        who.foreign[account] = quantity


def look_at(world: World, who: Follower) -> None:
    """The clock's look at a follower: exits to ask for again, opens that wait."""
    for lot in list(who.lots.values()):
        halted = world.level(who.name, lot.key.venue, lot.key.whale) == HALT_EXITS
        if lot.retry_at and lot.retry_at <= world.now and not halted:
            ask_for_due(world, who, lot, lot.due_from)
            end_dust(world, who, lot)
    release_waiting(world, who)


def drop_waiting(world: World, who: Follower, orders: Iterable[Order], reason: str) -> None:
    """These opens will not come."""
    for order in list(orders):
        world.dropped.append((who.name, order.ident, reason))
        who.waiting.remove(order)


def release_waiting(world: World, who: Follower) -> None:
    """Opens of flips: overdue, still behind the old lot, wanted no more, or asked for."""
    for cause in dict.fromkeys(order.cause for order in who.waiting):
        orders = [order for order in who.waiting if order.cause == cause]
        first = orders[0]
        if first.expires_at is not None and first.expires_at < world.now:
            drop_waiting(world, who, orders, "signal_expired")
        elif first.key._replace(long=not first.key.long) in who.lots:
            continue
        elif reason := _not_now(world, who, first.key):
            drop_waiting(world, who, orders, reason)
        else:
            for order in orders:
                who.waiting.remove(order)
                request(world, who, order)
            forget_empty(who)


def _not_now(world: World, who: Follower, key: Key) -> str:
    level, follow = world.level(who.name, key.venue, key.whale), who.follows[key.whale]
    if not who.settings.copy_trading_enabled:
        return "copy_trading_disabled"
    if who.settings.paused:
        return "paused"
    if level >= CLOSE_ONLY:
        return "kill_switch" if level >= HALT else "close_only"
    if not follow.active or not follow.terms.auto_copy_enabled:
        return "auto_copy_disabled"
    return "opposite_position" if against(who, key) else ""


def against(who: Follower, key: Key, leaving: bool = False) -> Fraction:
    """What the follower holds and has ordered in the other direction. With `leaving`, what is the whale's own is on its way out."""
    account, own = (key.venue, key.symbol, key.mode), key.whale if leaving else ""
    lots = [lot.filled + lot.pending for lot in who.lots.values() if _other(lot.key, key) and lot.key.whale != own]
    waits = [order.quantity for order in who.waiting if _other(order.key, key) and order.key.whale != own]
    foreign = who.foreign.get(account, NONE)
    return sum(lots + waits, abs(foreign) if foreign and (foreign > 0) != key.long else NONE)


def _other(one: Key, key: Key) -> bool:
    return (one.venue, one.symbol, one.mode) == (key.venue, key.symbol, key.mode) and one.long != key.long


def close(world: World, who: Follower, request_id: str, symbol: str, venue: str, whale: str) -> None:
    """By hand: everything within leaves, and no open within waits any more. Empty words are all of them."""

    def within(key: Key) -> bool:
        return symbol in ("", key.symbol) and venue in ("", key.venue) and whale in ("", key.whale)

    drop_waiting(world, who, [order for order in who.waiting if within(order.key)], "closed_by_hand")
    leg = 0
    for lot in [lot for lot in who.lots.values() if within(lot.key)]:
        plan = plan_exit(world, who, lot, ALL, request_id, request_id, leg=leg)
        leg += len(plan.orders)
        if plan.orders or plan.cancels or plan.due != lot.due:
            carry_out(world, who, plan, request_id)
            end_dust(world, who, lot, plan.price)


def drift(world: World, who: Follower, venue: str, symbol: str, reported: Fraction) -> None:
    """The venue's position is another than ours, for the second time: lots shrink in their proportions, the rest is foreign."""
    mode = who.settings.mode
    lots = [lot for lot in who.lots.values() if (lot.key.venue, lot.key.symbol, lot.key.mode) == (venue, symbol, mode) and lot.filled]
    own = sum((lot.filled if lot.key.long else -lot.filled for lot in lots), NONE)
    kept = min(max(own, NONE), max(reported, NONE)) - min(max(-own, NONE), max(-reported, NONE))
    set_foreign(who, (venue, symbol, mode), reported - kept)
    step, missing = world.rules[venue, symbol].step, abs(own - kept)
    shrinking = sorted((lot for lot in lots if lot.key.long == (own > 0)), key=lambda lot: (-lot.filled, lot.key.whale)) if missing else []
    total = sum((lot.filled for lot in shrinking), NONE)
    losses = [down(lot.filled * missing / total, step) for lot in shrinking]
    rest = missing - sum(losses, NONE)
    for lot, loss in zip(shrinking, losses, strict=True):
        more = min(rest, lot.filled - loss)
        rest -= more
        _lose(world, who, lot, loss + more)
    forget_empty(who)


def _lose(world: World, who: Follower, lot: Lot, quantity: Fraction) -> None:
    if quantity:
        price = world.marks.get(lot.key[:2], (lot.cost / lot.filled, 0))[0]
        gone = Order("", who.name, lot.key, "exit", quantity, 0, "", lot.leverage, price)
        fill(world, who, lot, gone, quantity, quantity, price, NONE)
        lot.due = min(lot.due, lot.filled)
