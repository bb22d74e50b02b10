"""Reads the virtual log as it grows, by a second, naive reading of the acceptance rule; knows when the world has come to rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.contracts.audit import is_audit
from engine.domain.events import AnyEvent, RoundCommitted
from engine.domain.shard import evolve, fold_marker, new_state
from engine.topology import CONTROL, EVENTS, FOLLOWER_COMMANDS, SIGNALS
from tests.chaos.sim.log import Record
from tests.chaos.sim.world import SHARDS, SIGNAL_PARTITIONS, World

_event: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_marker = msgspec.json.Decoder(RoundCommitted)
UNREADABLE = b'{"signal_id": 7}'


@dataclass
class Round:
    """An accepted round."""

    marker: RoundCommitted
    values: list[bytes]
    events: list[AnyEvent]
    offset: int


@dataclass
class Shard:
    """What one shard's log says. `state` is folded from zero."""

    number: int
    state: Any
    rounds: list[Round] = field(default_factory=list)
    read: int = 0
    epoch: int = -1
    inbox: int = 0
    claims: int = 0
    void: int = 0
    pending: list[bytes] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """One record of the log."""
        assert record.value is not None
        self.read += 1
        if record.key == b"~claim":
            self.epoch, self.claims = record.offset, self.claims + 1
            self._drop()
        elif record.key == b"~round":
            marker = _marker.decode(record.value)
            if (marker.epoch, marker.inbox_from, marker.events) == (self.epoch, self.inbox, len(self.pending)):
                self._accept(marker, record.offset)
            else:
                self._drop()
        else:
            self.pending.append(record.value)

    def _drop(self) -> None:
        self.void += len(self.pending)
        self.pending = []

    def _accept(self, marker: RoundCommitted, offset: int) -> None:
        values, self.pending, self.inbox = self.pending, [], marker.inbox_to
        events = [_event.decode(value) for value in values]
        self.rounds.append(Round(marker, values, events, offset))
        if self.problems:
            return
        try:
            for event in events:
                evolve(self.state, event)
            fold_marker(self.state, marker)
        except Exception as error:
            self.problems.append(f"shard {self.number}: the round at {offset} does not fold: {error!r}")


class Observer:
    """All shards."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.shards = [Shard(number, new_state(number, SHARDS)) for number in range(SHARDS)]

    def catch_up(self) -> None:
        """Read what there is."""
        for shard in self.shards:
            for record in self._world.broker.at((EVENTS.name, shard.number)).records[shard.read :]:
                shard.take(record)

    def at_rest(self) -> bool:
        """Whether everything that was ever published has come to its end."""
        return not self.restless()

    def restless(self) -> list[str]:
        """What is still under way."""
        self.catch_up()
        return [why for shard in self.shards for why in self._restless(shard)]

    def _restless(self, shard: Shard) -> list[str]:
        state, why = shard.state, list(shard.problems)
        sources = [("s", SIGNALS, number) for number in range(SIGNAL_PARTITIONS)]
        for code, topic, number in [*sources, ("f", FOLLOWER_COMMANDS, shard.number), ("c", CONTROL, 0)]:
            records = self._world.broker.at((topic.name, number)).records
            last = next((record.offset for record in reversed(records) if record.value != UNREADABLE and not is_audit(record.value)), -1)
            if state.sources.get(f"{code}/{number}", 0) <= last:
                why.append(f"shard {shard.number} has not seen {topic.name}[{number}] {last}")
        why += [f"signal {signal_id} is held" for signal_id in state.held]
        for follower in state.followers.values():
            why += [f"{follower.follower_id}: order {order}" for order in follower.orders or ()]
            why += [f"{follower.follower_id}: open {order} waits" for order in follower.waiting or ()]
            why += [f"{follower.follower_id}: exit of {key} is due again" for key, lot in (follower.lots or {}).items() if lot.retry_at]
        return why

    def facts(self) -> dict[str, float]:
        """How much happened."""
        return {
            "events": sum(len(found.values) for shard in self.shards for found in shard.rounds),
            "rounds": sum(len(shard.rounds) for shard in self.shards),
            "claims": sum(shard.claims for shard in self.shards),
            "void": sum(shard.void for shard in self.shards),
            "commands": sum(shard.state.command_seq for shard in self.shards),
        }
