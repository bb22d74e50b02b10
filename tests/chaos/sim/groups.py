"""Consumer groups: members enter, assignments leave. A member that is dead, stopped or cut off loses its partitions after the session
timeout, and may go on as if it had not: that is what zombies are made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.chaos.sim.log import Broker
from tests.chaos.sim.loop import PROCESS, Process, die

SESSION_S = 3.0
BARRIER_S = 10.0


class Replaced(Exception):
    """Another process runs under this one's instance id."""


@dataclass(frozen=True)
class Notice:
    """What a member is told: to give everything up (`lost`: it is given up already), or what it has from now on."""

    kind: str
    generation: int = -1
    tps: frozenset[TopicPartition] = frozenset()


class Member:
    """One consumer of a group, as the group and as its own process see it."""

    def __init__(self, group: Group, instance: str, process: Process) -> None:
        self.group, self.instance, self.process = group, instance, process
        self.notices: asyncio.Queue[Notice] = asyncio.Queue()
        self.tps: frozenset[TopicPartition] = frozenset()
        self.generation = -1
        process.members.append(self)

    def tell(self, notice: Notice) -> None:
        """Over the wire."""
        self.group.broker.loop.outside(self.group.broker.latency(), self.notices.put_nowait, notice)

    @property
    def registered(self) -> bool:
        """The group still counts on it."""
        return self.group.members.get(self.instance) is self


class Group:
    """The coordinator of one group."""

    def __init__(self, broker: Broker, tps: Iterable[TopicPartition]) -> None:
        self.broker, self.tps = broker, sorted(tps)
        self.members: dict[str, Member] = {}
        self.offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self.generation = 0
        self._waiting_for: set[str] | None = None

    def join(self, instance: str) -> Member:
        """A consumer starts. One that was here under the same name is replaced, and has its partitions without a rebalance."""
        process = PROCESS.get()
        assert process is not None
        member, old = Member(self, instance, process), self.members.get(instance)
        self.members[instance] = member
        if old is not None and old.process.alive:
            self.broker.loop.outside(self._heartbeat(), old.tell, Notice("fenced"))
        if old is not None and self._waiting_for is None and old.generation >= 0:
            member.tps, member.generation = old.tps, old.generation
            member.tell(Notice("assign", old.generation, old.tps))
        elif self._waiting_for is None:
            self.rebalance()
        else:
            self._waiting_for.discard(instance)
            self.broker.loop.outside(0.0, self._maybe_assign, self.generation)
        return member

    def rejoin(self, member: Member) -> None:
        """A member has given up its partitions (told to, or because it had lost them)."""
        if self.members.setdefault(member.instance, member) is not member:
            member.tell(Notice("fenced"))
        elif self._waiting_for is None:
            self.rebalance()
        else:
            self._waiting_for.discard(member.instance)
            self._maybe_assign(self.generation)

    def leave(self, member: Member) -> None:
        """A member stops; a static one keeps its place until the session is over."""
        self.watch(member)

    def rebalance(self) -> None:
        """Call everybody back, then assign anew."""
        self.generation += 1
        self._waiting_for = {name for name, member in self.members.items() if member.generation >= 0}
        for name in sorted(self._waiting_for):
            self.members[name].tell(Notice("revoke"))
        self.broker.loop.outside(SESSION_S, self._give_up, self.generation, False)
        self.broker.loop.outside(BARRIER_S, self._give_up, self.generation, True)
        self.broker.loop.outside(self.broker.random.uniform(0.0, 0.3), self._maybe_assign, self.generation)

    def _give_up(self, generation: int, everybody: bool) -> None:
        if generation != self.generation or self._waiting_for is None:
            return
        for name in sorted(self._waiting_for):
            member = self.members.get(name)
            if member is None or everybody or not member.process.alive or member.process.stopped:
                self._waiting_for.discard(name)
                self.members.pop(name, None)
                if member is not None:
                    self._let_know(member)
        self._maybe_assign(generation)

    def _maybe_assign(self, generation: int) -> None:
        if generation != self.generation or self._waiting_for is None or self._waiting_for:
            return
        self._waiting_for = None
        names = sorted(self.members)
        for place, name in enumerate(names):
            member = self.members[name]
            member.tps, member.generation = frozenset(self.tps[place :: len(names)]), self.generation
            member.tell(Notice("assign", self.generation, member.tps))

    def watch(self, member: Member) -> None:
        """Its heartbeats have stopped."""
        self.broker.loop.outside(SESSION_S, self._expire, member)

    def _expire(self, member: Member) -> None:
        if member.registered and (not member.process.alive or member.process.stopped):
            self.evict(member)

    def evict(self, member: Member) -> None:
        """The group counts on it no more. It hears of that with its next heartbeat, if it lives."""
        self.members.pop(member.instance)
        member.generation = -1
        if self._waiting_for is None:
            self.rebalance()
        else:
            self._waiting_for.discard(member.instance)
            self._maybe_assign(self.generation)
        self._let_know(member)

    def _let_know(self, member: Member) -> None:
        if member.process.alive and not member.process.stopped:
            self.broker.loop.outside(self._heartbeat(), member.tell, Notice("lost"))

    def resumed(self, member: Member) -> None:
        """Its process goes on."""
        if not member.registered:
            self._let_know(member)

    def _heartbeat(self) -> float:
        return self.broker.random.uniform(0.05, 3.0)

    def commit(self, member: Member, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Store positions. Errors: CommitFailedError when the member is not of this generation."""
        if not member.registered or member.generation != self.generation or self._waiting_for is not None:
            raise CommitFailedError
        self.offsets.update(offsets)


async def follow_notices(member: Member, revoked: Any, assigned: Any) -> None:
    """The member's own side: callbacks in order, for ever. Its process ends when another has its name."""
    current = -1
    while True:
        notice = await member.notices.get()
        if notice.kind == "fenced":
            die(Replaced())
        if notice.kind == "assign":
            if notice.generation > current and member.registered:
                current = notice.generation
                await assigned(notice.tps)
        else:
            await revoked()
            current = -1 if notice.kind == "lost" else current
            member.group.rejoin(member)
