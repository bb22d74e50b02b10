"""Kill -9, pauses and restarts while signals flow: nothing is lost, doubled, contradicted or unexplained; and the checker bites."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from ops.chaos import run
from ops.chaos.lanes import Tally
from ops.chaos.plan import Plan, Strike
from tests.chaos import mutants
from tests.chaos.conftest import MakeSystem

Mutant = Callable[[str], None]
SEED = 1


@pytest.mark.timeout(600)
async def test_twenty_kills() -> None:
    """The whole run with its own servers, which are restarted too."""
    report = await asyncio.to_thread(run.run_chaos, run.Options(kills=20, seed=SEED))
    assert report["kills"] == 20 and report["zombies"] == 3 and report["broker_restarts"] == report["postgres_restarts"] == 1, report
    assert run.is_right(report), json.dumps(report, indent=1)


def kills(label: str, count: int) -> Plan:
    """The engine is killed at one point, again and again."""
    return Plan(tuple(Strike("engine", "a", label, 1, 0.5) for _ in range(count)), (), ())


def zombies(label: str) -> Plan:
    """Engines that wake beside their successors, before they write what they have decided."""
    return Plan((), tuple(Strike("engine", instance, label, 1, 0.0) for instance in "ab"), ())


MUTATIONS: list[tuple[Mutant, Plan, str, str]] = [
    (mutants.accept_unmarked, kills("torn_round", 2), "a", "does not fit the events before it"),
    (mutants.forget_commands, kills("after_copies", 2), "a", "and never sent it"),
    (mutants.trust_group_offsets, kills("before_copies", 2), "a", "was never admitted"),
    (mutants.read_the_clock, kills("before_round", 1), "a", "difference='round at"),
    (mutants.ignore_acks, zombies("before_copies"), "ab", "which no accepted event asks for"),
]
"""A broken rule, where it hurts, instances, and what the checker must say of it."""
TRIES = 3
"""A machine under load may not let the processes meet where it hurts: a broken rule must be noticed within so many runs."""


def options(plan: Plan, instances: str, mutant: str = "") -> run.Options:
    """A short run over a few followers, without faults of the exchange."""
    patches = f"tests.chaos.mutants:{mutant}" if mutant else ""
    return run.Options(
        len(plan.kills), SEED, followers=6, rate=4.0, settle_s=12.0 if mutant else 60.0, plan=plan, instances=instances, patches=patches
    )


@pytest.mark.parametrize(("mutant", "plan", "instances", "words"), MUTATIONS, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_broken_rule_is_noticed(make_system: MakeSystem, mutant: Mutant, plan: Plan, instances: str, words: str) -> None:
    for _ in range(TRIES):
        report = await run.break_and_check(await make_system(), options(plan, instances, mutant.__name__), Tally())
        if not run.is_right(report) and words in json.dumps(report):
            return
    raise AssertionError(json.dumps(report, indent=1))


async def test_the_same_points_without_a_broken_rule(make_system: MakeSystem) -> None:
    """What the mutations go through, all of it in one run."""
    strikes = (*kills("torn_round", 1).kills, *kills("after_copies", 1).kills, *kills("before_copies", 1).kills)
    tally = Tally()
    report = await run.break_and_check(await make_system(), options(Plan(strikes, zombies("before_copies").zombies, ()), "ab"), tally)
    assert run.is_right(report), json.dumps(report, indent=1)
    assert tally.kills == 3 and tally.zombies == 2
