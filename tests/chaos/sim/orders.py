"""Commands, their ends and the venues' truth: each command once in its place, one end each, executed as its end says, lots as positions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from engine.domain.events import CopyDecided, OrderEnded, OrdersRequested
from engine.domain.messages import Execution, ExecutorClaimed, OrderAttempted, OrderSettled, PlaceOrder, TradeCommand
from engine.topology import EXECUTIONS, TRADE_COMMANDS
from tests.chaos.sim.observer import Observer, Shard
from tests.chaos.sim.world import World

_command = msgspec.json.Decoder(TradeCommand)
_execution = msgspec.json.Decoder(Execution)


def check_orders(world: World, observer: Observer) -> Iterator[str]:
    """All of it, shard by shard, then the venues."""
    ends: dict[str, OrderSettled] = {}
    orders: dict[str, PlaceOrder] = {}
    for shard in observer.shards:
        yield from _commands(world, shard, orders)
        yield from _ends(world, shard, ends)
    for command_id in orders.keys() ^ ends.keys():
        yield f"{command_id}: {'no end' if command_id in orders else 'an end without a command'}"
    yield from _executions(world, orders, ends)
    yield from _positions(world, observer)


def _commands(world: World, shard: Shard, orders: dict[str, PlaceOrder]) -> Iterator[str]:
    """The topic holds what the accepted events ask for, in their order, repeats aside."""
    sent: dict[int, bytes] = {}
    highest = 0
    for record in world.broker.at((TRADE_COMMANDS.name, shard.number)).records:
        command = _command.decode(record.value or b"")
        if sent.setdefault(command.seq, record.value or b"") != record.value:
            yield f"shard {shard.number}: two different commands {command.seq}"
        if command.seq > highest + 1:
            yield f"shard {shard.number}: command {command.seq} follows {highest}"
        highest = max(highest, command.seq)
    wanted = [
        body
        for found in shard.rounds
        for event in found.events
        if isinstance(event, CopyDecided | OrdersRequested)
        for body in (*event.cancels, *event.orders)
    ]
    if [_command.decode(sent[seq]).body for seq in sorted(sent)] != wanted:
        yield f"shard {shard.number}: {len(sent)} commands were sent, {len(wanted)} were decided"
    for body in wanted:
        if isinstance(body, PlaceOrder):
            if body.command_id in orders:
                yield f"{body.command_id} was ordered twice"
            orders[body.command_id] = body


def _ends(world: World, shard: Shard, ends: dict[str, OrderSettled]) -> Iterator[str]:
    """One valid end for each command, and the lots have it."""
    epoch = -1
    for record in world.broker.at((EXECUTIONS.name, shard.number)).records:
        body = _execution.decode(record.value or b"")
        if isinstance(body, ExecutorClaimed):
            epoch = record.offset
        elif body.epoch == epoch and isinstance(body, OrderSettled):
            if body.command_id in ends:
                yield f"{body.command_id} ended twice: {ends[body.command_id]} and {body}"
            ends[body.command_id] = body
        elif body.epoch == epoch and isinstance(body, OrderAttempted) and body.order.command_id in ends:
            yield f"{body.order.command_id} was attempted after its end"
    folded: dict[str, OrderEnded] = {}
    for event in (event for found in shard.rounds for event in found.events if isinstance(event, OrderEnded)):
        if event.command_id in folded:
            yield f"{event.command_id} was folded twice"
        folded[event.command_id] = event
        end = ends.get(event.command_id)
        if end is None or (end.status, end.filled) != (event.status, event.filled):
            yield f"{event.command_id}: the log of executions says {end}, the event {event}"


def _executions(world: World, orders: dict[str, PlaceOrder], ends: dict[str, OrderSettled]) -> Iterator[str]:
    """The venues executed what the ends say: nothing twice, nothing in secret."""
    traded: dict[str, Decimal] = defaultdict(Decimal)
    for (_, _, command_id), placed in world.book.orders.items():
        if placed and command_id not in orders:
            yield f"{command_id} is at the venue and was never ordered"
        traded[command_id] += sum((order.filled for order in placed), Decimal(0))
        if any(not order.executed for order in placed):
            yield f"{command_id} is still open at the venue"
    for command_id, end in ends.items():
        count = world.book.executions.get(command_id, 0)
        if count > 1 or traded[command_id] != end.filled or (count == 1) != (end.status in ("filled", "partial")):
            yield f"{command_id}: executed {count} times, {traded[command_id]} in all; settled {end.status} with {end.filled}"


def _positions(world: World, observer: Observer) -> Iterator[str]:
    """Lots and what is known to be foreign sum up to the venue's positions."""
    known: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for shard in observer.shards:
        for follower in shard.state.followers.values():
            for lot in (follower.lots or {}).values():
                signed = lot.filled if lot.direction == "long" else -lot.filled
                known[follower.follower_id, lot.venue, lot.symbol] += signed
            for key, quantity in (follower.foreign or {}).items():
                venue, symbol, _ = key.split("|")
                known[follower.follower_id, venue, symbol] += quantity
    for account in known.keys() | world.book.positions.keys():
        if known[account] != world.book.positions[account]:
            yield f"{account}: lots and foreign are {known[account]}, the venue holds {world.book.positions[account]}"
