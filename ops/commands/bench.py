"""`remora bench NAME`: each measures a part beside the raw tool in one run and ends with one JSON object on standard output."""

from __future__ import annotations

import importlib
import json as jsonlib
import subprocess
import sys
from typing import Annotated

import typer

from ops.commands.common import Json

NAMES = ("decisions", "replay", "recovery", "orders", "latency", "halt", "projection", "rebuild", "api")


def bench(
    name: Annotated[str | None, typer.Argument(help=f"One of {', '.join(NAMES)}; without it all, one after the other.")] = None,
    json: Json = False,
) -> None:
    """Measure one part of the system beside the raw tool; logs go to standard error."""
    if name is None:
        failed = [each for each in NAMES if subprocess.run([sys.executable, "-m", "ops.cli", "bench", each]).returncode]
        raise typer.Exit(1 if failed else 0)
    if name not in NAMES:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(NAMES)}")
    module = importlib.import_module(f"ops.bench.{name}")
    print(f"bench {name}: a stack of its own, loopback only", file=sys.stderr)
    print(jsonlib.dumps({"name": name} | getattr(module, f"bench_{name}")()))
