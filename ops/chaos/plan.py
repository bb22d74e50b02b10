"""What will happen in a chaos run, drawn from its seed. When a thing happens depends on the processes: a victim must have worked first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from ops.chaos.cast import INSTANCES
from ops.chaos.child import LABELS

ZOMBIE_ROLES: Final = ("engine", "engine", "executor", "sequencer")
"""Whom a pause can make a zombie: every second time the engine."""
AT_A_POINT: Final = 0.6
"""How often a kill or a pause waits for a labelled point."""


@dataclass(frozen=True)
class Strike:
    """One kill or pause. `label` is empty for a random moment; `wait_s` comes before it (and before the zombie's resumption)."""

    role: str
    instance: str
    label: str
    nth: int
    wait_s: float


@dataclass(frozen=True)
class Outage:
    """One restart of a server: clean, or after kill -9 and some time without it."""

    server: str
    hard: bool
    down_s: float


@dataclass(frozen=True)
class Plan:
    """`kills` go on until enough have counted: the list is then begun again with other waits, as are `zombies`."""

    kills: tuple[Strike, ...]
    zombies: tuple[Strike, ...]
    outages: tuple[Outage, ...]


def draw_plan(seed: int, kills: int, roles: Sequence[str]) -> Plan:
    """Kills of every role in turn, a zombie for six kills, a restart of broker and Postgres for sixteen each."""
    random = Random(f"chaos/{seed}")
    zombie_roles = [role for role in ZOMBIE_ROLES if role in roles]
    servers = [server for server in ("kafka", "postgres") for _ in range(max(1, kills // 16))]
    random.shuffle(servers)
    return Plan(
        tuple(_strike(random, roles[number % len(roles)], "") for number in range(kills)),
        tuple(_strike(random, zombie_roles[number % len(zombie_roles)], "torn_round") for number in range(max(1, kills // 6))),
        tuple(Outage(server, random.random() < 0.7, random.uniform(0.0, 1.5)) for server in servers),
    )


def draw_executor_plan(seed: int, kills: int) -> Plan:
    """Kills of executors at each labelled point in turn, a zombie for ten kills; the servers stay up."""
    random = Random(f"executor/{seed}")
    labels = LABELS["executor"]
    strikes = tuple(
        Strike("executor", random.choice(INSTANCES), labels[number % len(labels)], random.randint(1, 30), random.uniform(0.0, 0.5))
        for number in range(kills)
    )
    return Plan(strikes, tuple(_strike(random, "executor", "") for _ in range(kills // 10)), ())


def _strike(random: Random, role: str, never: str) -> Strike:
    labels = [label for label in LABELS[role] if label != never]
    label = random.choice(labels) if random.random() < AT_A_POINT else ""
    return Strike(role, random.choice(INSTANCES), label, random.randint(1, 4), random.uniform(0.0, 1.2))
