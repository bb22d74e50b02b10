"""`remora chaos`: breaks everything on purpose and says whether anything was lost, doubled, contradicted or left unexplained."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.commands.common import Json


def chaos(
    kills: Annotated[int, typer.Option(min=1, help="kill -9 that must count: the process had worked since its start.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the faults, the market and the simulator.")] = 1,
    executor: Annotated[bool, typer.Option("--executor", help="Only executors, against orders written straight to them.")] = False,
    orders: Annotated[int, typer.Option(min=1, help="With --executor: how many.")] = 10_000,
    fault_rate: Annotated[float | None, typer.Option(min=0.0, max=0.9, help="Faults of the exchange; 0.03, with --executor 0.2.")] = None,
    followers: Annotated[int, typer.Option(min=1)] = 24,
    folder: Annotated[Path | None, typer.Option(help="Keep data and logs here.")] = None,
    json: Json = False,
) -> None:
    """Kill -9, pause and restart everything while signals flow, then check it all. Exit 1 when anything is wrong."""
    from ops.chaos import executor_run, run

    if executor:
        alone = executor_run.ExecutorOptions(orders, 0.2 if fault_rate is None else fault_rate, kills, seed, folder=folder)
        report, right = (found := executor_run.run_executor_chaos(alone, _say)), executor_run.is_right(found)
    else:
        whole = run.Options(kills, seed, followers, fault_rate=0.03 if fault_rate is None else fault_rate, folder=folder)
        report, right = (found := run.run_chaos(whole, _say)), run.is_right(found)
    _print(report, json)
    raise typer.Exit(0 if right else 1)


def _say(word: str) -> None:
    print(word, file=sys.stderr, flush=True)


def _print(report: dict[str, Any], json: bool) -> None:
    if json:
        print(jsonlib.dumps(report, default=str))
        return
    for name, value in report.items():
        print(f"{name:<20} {value}")
