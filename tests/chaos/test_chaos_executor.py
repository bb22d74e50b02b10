"""Executors alone against an exchange that misbehaves: killed at every labelled point, paused and superseded, and one that retries."""

from __future__ import annotations

import json

from ops.chaos import executor_run
from ops.chaos.child import LABELS
from ops.chaos.lanes import Tally
from ops.chaos.plan import Plan, Strike
from tests.chaos.conftest import MakeSystem


async def test_killed_at_every_point_and_a_zombie(make_system: MakeSystem) -> None:
    """The zombie stops behind the record of its attempt, and wakes when its successor has taken over."""
    kills = tuple(Strike("executor", "ab"[number % 2], label, 5, 0.2) for number, label in enumerate(LABELS["executor"]))
    plan = Plan(kills, (Strike("executor", "a", "after_attempt", 5, 0.5),), ())
    options, tally = executor_run.ExecutorOptions(orders=400, kills=len(kills), accounts=40, plan=plan), Tally()
    report = await executor_run.break_and_check(await make_system(faults=options.faults), options, tally)
    assert executor_run.is_right(report), json.dumps(report, indent=1)
    assert tally.zombies == 1 and tally.kills == len(kills)
    assert set(tally.labels) == {f"executor {label}" for label in LABELS["executor"]}, "every point was reached"
    assert sum(report["faults"].values()) > 40


async def test_a_retry_on_timeout_is_noticed(make_system: MakeSystem) -> None:
    options = executor_run.ExecutorOptions(
        orders=80,
        fault_rate=0.4,
        kills=0,
        accounts=20,
        settle_s=20.0,
        plan=Plan((), (), ()),
        patches="tests.chaos.mutants:retry_on_timeout",
    )
    report = await executor_run.break_and_check(await make_system(faults=options.faults), options, Tally())
    assert report["double_orders"] > 0 and not report["ledger_equal"], report
