"""What the domain said and knows, put as the naive model puts it, and held against it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from engine.domain.events import (
    AnyEvent,
    CopiesSkipped,
    CopyDecided,
    CopySkipped,
    OpenDropped,
    OrdersRequested,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
)
from engine.domain.messages import PlaceOrder
from engine.domain.shard import dump_state, evolve, restore_state, state_digest
from engine.domain.state import FollowerState, ShardState
from engine.domain.state import Lot as OurLot
from tests.given import DECODER, ENCODER, Shard
from tests.properties.naive.lots import Follower, Key, Lot
from tests.properties.naive.shard import Naive

TINY = Fraction(1, 10**15)


def equal(what: str, ours: object, theirs: object) -> None:
    """Says what differs."""
    assert ours == theirs, f"{what}: the domain says\n{ours}\nand the model\n{theirs}"


def same(ours: Decimal, theirs: Fraction) -> bool:
    """Equal but for what a Decimal cannot hold."""
    return abs(Fraction(ours) - theirs) < TINY


def compare_events(events: Iterable[AnyEvent], naive: Naive) -> None:
    """What one record led to."""
    world, told = naive.world, naive.told
    asking = [event for event in events if isinstance(event, CopyDecided | OrdersRequested)]
    asked = [order for event in asking for order in event.orders]
    dropped = [event for event in events if isinstance(event, OpenDropped)]
    admitted = [event for event in events if isinstance(event, SignalAdmitted)]
    equal("answers", _answers(events), told.answers)
    equal(
        "orders",
        _by_follower((order.follower_id, _told(order)) for order in asked),
        _by_follower((order.follower, order.told()) for order in world.asked),
    )
    equal("ends", [_end(event) for event in events if isinstance(event, SignalDecided | SignalExpired)], told.ends)
    equal(
        "cancels", sorted((cancel.follower_id, cancel.command_id) for event in asking for cancel in event.cancels), sorted(world.cancelled)
    )
    equal(
        "drops",
        sorted((event.originator_id, ident, event.reason) for event in dropped for ident in event.command_ids),
        sorted(world.dropped),
    )
    equal("admissions", [(event.signal.signal_id, bool(event.held)) for event in admitted], told.admitted)


def _answers(events: Iterable[AnyEvent]) -> dict[tuple[str, str], str]:
    found: list[tuple[tuple[str, str], str]] = []
    for event in events:
        if isinstance(event, CopyDecided):
            found.append(((event.signal_id, event.originator_id), f"{event.outcome} {event.open_reason}".strip()))
        elif isinstance(event, CopySkipped):
            found.append(((event.signal_id, event.originator_id), event.reason))
        elif isinstance(event, CopiesSkipped):
            found += [((event.signal_id, follower), event.reason) for follower, _ in event.followers]
    assert len(dict(found)) == len(found), "two answers to one signal"
    return dict(found)


def _end(event: SignalDecided | SignalExpired) -> tuple[str, str, int, int, int]:
    if isinstance(event, SignalExpired):
        return event.signal_id, "expired", 0, 0, 0
    return event.signal_id, "decided", event.followers, event.copied, event.orders


def _by_follower(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for follower, thing in pairs:
        found.setdefault(follower, []).append(thing)
    return found


def _told(order: PlaceOrder) -> tuple[Any, ...]:
    place = (order.venue, order.symbol, order.mode, order.whale_id)
    limit = None if order.limit_price is None else Fraction(order.limit_price)
    head = (order.command_id, order.kind, order.side, Fraction(order.quantity))
    return *head, *place, order.leg, order.cause, Fraction(order.leverage), limit, order.expires_at


def compare_state(state: ShardState, naive: Naive) -> None:
    """What is known afterwards."""
    equal("followers", list(state.followers), list(naive.followers))
    for name, who in naive.followers.items():
        _compare_follower(state.followers[name], who)
    whales = {tuple(reversed(key.split("|"))): (pair.position, pair.gap) for key, pair in state.whales.items()}
    equal("whales", whales, {key: (pair.position, pair.gap) for key, pair in naive.whales.items()})
    equal("queue", list(state.held), [held.signal.signal_id for held in naive.held])


def _compare_follower(ours: FollowerState, who: Follower) -> None:
    lots = {_key(lot): lot for lot in (ours.lots or {}).values()}
    equal(f"lots of {who.name}", list(lots), list(who.lots))
    for key, lot in who.lots.items():
        _compare_lot(lots[key], lot)
    equal("waiting", [_told(order) for order in (ours.waiting or {}).values()], [order.told() for order in who.waiting])
    equal("foreign", {tuple(key.split("|")): quantity for key, quantity in (ours.foreign or {}).items()}, who.foreign)
    for whale, follow in who.follows.items():
        known = ours.follows[whale]
        carried = {symbol: carry.quote for symbol, carry in (known.carry or {}).items()}
        equal("carried", list(carried), list(follow.carried))
        assert all(same(carried[symbol], quote) for symbol, (quote, _) in follow.carried.items()), (carried, follow.carried)
        equal("follow", (known.active, known.spent or []), (follow.active, follow.spent))
        assert same(known.pnl, follow.result.total), (known.pnl, follow.result)
    assert same(ours.pnl, who.result.total) and same(ours.peak, who.peak), (ours, who.result, who.peak)
    assert same(ours.capital or Decimal(0), who.capital or Fraction(0)), (ours.capital, who.capital)
    equal("equity", (ours.equity, ours.equity_at), (who.equity, who.equity_at))


def _key(lot: OurLot) -> Key:
    return Key(lot.venue, lot.symbol, lot.direction == "long", lot.mode, lot.whale_id)


def _compare_lot(ours: OurLot, theirs: Lot) -> None:
    counted = (ours.filled, ours.pending, ours.pending_quote, ours.reserved, ours.retry_at, ours.leverage)
    mine = (theirs.filled, theirs.pending, theirs.pending_quote, theirs.reserved, theirs.retry_at, theirs.leverage)
    equal(f"{theirs.key}", counted, mine)
    assert same(ours.due, theirs.due), (theirs.key, ours.due, theirs.due)
    assert same(ours.cost, theirs.cost) and same(ours.notional, theirs.counted), (ours, theirs)


def restored(shard: Shard) -> ShardState:
    """The state out of its snapshot."""
    found = restore_state(dump_state(shard.state))
    assert state_digest(found) == state_digest(shard.state)
    return found


def replayed(shard: Shard) -> ShardState:
    """The state out of the log, with what the log's markers say of time and sources: a successor's after a crash."""
    found = shard.fresh()
    for event in shard.events:
        evolve(found, DECODER.decode(ENCODER.encode(event)))
    found.now, found.sources = shard.state.now, dict(shard.state.sources)
    assert state_digest(found) == state_digest(shard.state)
    return found
