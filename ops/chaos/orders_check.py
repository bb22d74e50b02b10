"""From the events to the exchange: every order that an accepted event asks for became one command, one end state, at most one execution.

Enters: commands by shard in their order, a history, the simulator's ledger. Leaves: findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.domain.messages import CancelOrder, Execution, ExecutorClaimed, OrderAttempted, OrderSettled, PlaceOrder, TradeCommand
from engine.log.codec import decode_command
from engine.topology import EXECUTIONS, TRADE_COMMANDS
from ops.chaos.history import Findings, History, Line
from ops.truth import Truth

_execution: Final = msgspec.json.Decoder(Execution)
Commands = Mapping[int, Sequence[PlaceOrder | CancelOrder]]


@dataclass
class Ends:
    """What the executors' valid records say of commands."""

    settled: dict[str, OrderSettled] = field(default_factory=dict)
    attempted: set[str] = field(default_factory=set)
    void: int = 0


def check_commands(history: History, asked: Commands, found: Findings) -> None:
    """Commands on the topic, by sequence: those that events ask for, all of them, and always the same."""
    for shard, lines in history.of(TRADE_COMMANDS).items():
        by_seq: dict[int, TradeCommand] = {}
        for line in lines:
            command = decode_command(line.value or b"")
            if by_seq.setdefault(command.seq, command) != command:
                found.add("conflicting", f"shard {shard} sent command {command.seq} with two contents")
        _check_against(shard, by_seq, asked.get(shard, ()), found)


def _check_against(shard: int, by_seq: dict[int, TradeCommand], asked: Sequence[PlaceOrder | CancelOrder], found: Findings) -> None:
    for seq, body in enumerate(asked, 1):
        sent = by_seq.pop(seq, None)
        if sent is None:
            found.add("lost", f"shard {shard} decided command {seq} ({body.command_id}) and never sent it")
        elif sent.body != body:
            found.add("conflicting", f"shard {shard} sent {sent.body} as command {seq}, decided was {body}")
    for seq, sent in sorted(by_seq.items()):
        found.add("unexplained", f"shard {shard} sent command {seq} ({sent.body.command_id}), which no accepted event asks for")


def read_ends(history: History, found: Findings) -> Ends:
    """Valid records of the executors: those of the newest claim before them."""
    ends = Ends()
    for lines in history.of(EXECUTIONS).values():
        _read_partition(lines, ends, found)
    return ends


def _read_partition(lines: list[Line], ends: Ends, found: Findings) -> None:
    epoch = -1
    for line in lines:
        record = _execution.decode(line.value or b"")
        if isinstance(record, ExecutorClaimed):
            epoch = line.offset
        elif record.epoch != epoch:
            ends.void += 1
        elif isinstance(record, OrderAttempted):
            ends.attempted.add(record.order.command_id)
        elif isinstance(record, OrderSettled):
            if record.command_id in ends.settled:
                found.add("duplicated", f"order {record.command_id} has two end states")
            ends.settled[record.command_id] = record


def check_ends(asked: Commands, ends: Ends, found: Findings) -> None:
    """Every order that was asked for has an end state, and nothing else has one."""
    orders = {body.command_id for bodies in asked.values() for body in bodies if isinstance(body, PlaceOrder)}
    for command_id in sorted(orders - ends.settled.keys()):
        found.add("lost", f"order {command_id} has no end state")
    for command_id in sorted((ends.settled.keys() | ends.attempted) - orders):
        found.add("unexplained", f"order {command_id} was worked on and nobody asked for it")


def check_exchange(truth: Truth, ends: Ends, found: Findings) -> None:
    """What the exchange executed, it executed once, and the end state says so."""
    for command_id in truth.doubled:
        found.add("duplicated", f"order {command_id} was executed more than once at the exchange")
    for command_id, entry in truth.orders.items():
        end = ends.settled.get(command_id)
        if entry["executions"] and end is None:
            found.add("unexplained", f"order {command_id} was executed at the exchange and has no end state")
        elif entry["executions"] and command_id not in ends.attempted:
            found.add("unexplained", f"order {command_id} was executed at the exchange without a record of its attempt")
    for command_id, end in ends.settled.items():
        if executed(truth, command_id) != end.filled:
            found.add("conflicting", f"order {command_id}: the exchange executed {executed(truth, command_id)}, recorded is {end.filled}")


def executed(truth: Truth, command_id: str) -> Decimal:
    """How much of an order the exchange executed."""
    entry: dict[str, Any] | None = truth.orders.get(command_id)
    return Decimal(entry["executed"]) if entry else Decimal(0)
