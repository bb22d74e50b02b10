"""One world: topics, venues, processes under a supervisor, and the faults that a seed brings. The code under test is what production runs.

Replaced are only: Faust and Kafka's clients (by the virtual log and groups), the venues' adapters (by virtual venues), the vault (by a list
of accounts), the clock, and the end of a process.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiokafka import TopicPartition

from engine.agents import engine as engine_agent
from engine.agents import sequencer as sequencer_agent
from engine.agents.loading import Loaded
from engine.config import Settings
from engine.errors import FencedOut
from engine.executor import service
from engine.topology import INBOX, SHARDED, SIGNALS, SOURCES, TOPICS, TRADE_COMMANDS
from tests.chaos.sim.exchange import Book
from tests.chaos.sim.groups import Group
from tests.chaos.sim.log import Broker
from tests.chaos.sim.loop import PROCESS, Process, VirtualLoop, die
from tests.chaos.sim.plan import Plan

SHARDS = 2
SIGNAL_PARTITIONS = 2
BASE = Settings(
    partitions=SHARDS,
    kafka="virtual",
    exchange_url="virtual",
    session_timeout_s=3.0,
    recv_window_ms=1000,
    absent_quiet_s=6.0,
    engine_time_s=1.0,
    exchange_timeout_s=2.5,
    equity_interval_s=8.0,
)


@dataclass
class Death:
    """The end of one process. `blind`: acks that were lost before it."""

    process: str
    at: float
    error: BaseException | None
    blind: int


@dataclass
class World:
    """Everything there is in one seed."""

    seed: int
    loop: VirtualLoop = field(default_factory=VirtualLoop)
    deaths: list[Death] = field(default_factory=list)
    lives: dict[tuple[str, str], Process] = field(default_factory=dict)
    contexts: dict[Process, Context] = field(default_factory=dict)
    apps: dict[Process, Any] = field(default_factory=dict)
    engines: dict[Process, Any] = field(default_factory=dict)
    accounts: list[tuple[str, str]] = field(default_factory=list)
    loaded: list[list[Loaded]] = field(default_factory=list)
    healed: bool = False
    frozen: bool = False
    stops: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.plan = Plan(self.random)
        self.broker, self.book = Broker(self.loop, self.random), Book(self.loop, self.random)
        self.broker.wire, self.book.faults, self.broker.skew_ms = self.plan.wire, self.plan.venue, self.random.randint(-300, 300)
        self.settings = BASE.model_copy(update=self.plan.settings)
        for topic in TOPICS:
            count = SHARDS if topic.partitions == SHARDED else 1
            self.broker.create(topic.name, SIGNAL_PARTITIONS if topic is SIGNALS else count)
        self._make_group("engine", INBOX.name)
        self._make_group("sequencer", *(topic.name for topic in SOURCES.values()))
        self._make_group("executor", TRADE_COMMANDS.name)

    def _make_group(self, role: str, *topics: str) -> None:
        tps = [TopicPartition(topic, number) for topic in topics for number in range(self.broker.counts[topic])]
        self.broker.groups[self.settings.group(role)] = Group(self.broker, tps)

    def launch(self, role: str, instance: str) -> None:
        """Start a process; one that runs under the same name goes on beside it until it notices."""
        process = Process(f"{role}-{instance}", self._ended, self._stopped)
        self.plan.fate(process, self.healed)
        self.lives[role, instance] = process
        context = self.contexts[process] = copy_context()
        context.run(PROCESS.set, process)
        settings = self.settings.model_copy(update={"instance": instance})
        self.loop.create_task(_main(role, settings, process), context=context)

    def _ended(self, process: Process) -> None:
        self.deaths.append(Death(process.name, self.loop.time(), process.error, self.broker.blind))
        for member in process.members:
            member.group.watch(member)
        name = tuple(process.name.split("-"))
        if self.lives.get(name) is process and not self.frozen:  # type: ignore[call-overload]
            self.loop.outside(self.random.uniform(0.01, 1.5), self._again, *name, process)

    def _again(self, role: str, instance: str, dead: Process) -> None:
        if self.lives[role, instance] is dead and not self.frozen:
            self.launch(role, instance)

    def whole(self) -> bool:
        """Nobody is waited for to be started again."""
        return all(process.alive for process in self.lives.values())

    def _stopped(self, process: Process) -> None:
        self.stops += 1
        for member in process.members:
            member.group.watch(member)
        self.loop.outside(self.random.uniform(0.2, 9.0), self.go_on, process)

    def go_on(self, process: Process) -> None:
        """Continue a stopped process; its groups may have given its partitions away meanwhile."""
        if process.alive and process.stopped:
            process.resume(self.loop)
            for member in process.members:
                member.group.resumed(member)

    def cut_off(self) -> None:
        """A group loses sight of one of its members, which goes on."""
        group_ = self.random.choice(sorted(self.broker.groups.items()))[1]
        live = [member for _, member in sorted(group_.members.items()) if member.process.alive]
        if live:
            group_.evict(self.random.choice(live))

    def twin(self) -> None:
        """A second process under a name that is taken."""
        self.launch(*self.random.choice(sorted(self.lives)))

    def skew(self) -> None:
        """Another leader, whose clock differs: append times may go backwards."""
        self.broker.skew_ms = self.random.randint(-1500, 1500)

    def terminate(self) -> None:
        """SIGTERM."""
        process = self.lives[self.random.choice(sorted(self.lives))]
        app = self.apps.get(process)
        if app is not None and process.alive:
            self.loop.call_soon(app.stop.set, context=self.contexts[process])

    def facts(self) -> dict[str, float]:
        """How much went wrong."""
        deaths = [death for death in self.deaths if death.at < self.plan.horizon_s]
        return {
            "steps": self.loop.steps,
            "seconds": self.loop.time(),
            "kills": sum(death.error is None for death in deaths),
            "fenced": sum(isinstance(death.error, FencedOut) for death in deaths),
            "stops": self.stops,
            "unacked": self.broker.blind,
            "lives": len(self.contexts),
        }

    def heal(self) -> None:
        """No further faults; whoever was stopped goes on."""
        self.healed = True
        self.plan.heal(self)
        for process in list(self.contexts):
            process.kill_at = process.stop_at = -1
            self.go_on(process)


async def _main(role: str, settings: Settings, process: Process) -> None:
    try:
        if role == "engine":
            await engine_agent.run(settings)
        elif role == "sequencer":
            await sequencer_agent.run(settings)
        else:
            await service.Executor(settings, die).run()
    except asyncio.CancelledError:
        process.kill()
        return
    except Exception as error:
        die(error)
    process.kill()
