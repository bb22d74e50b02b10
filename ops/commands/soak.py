"""`remora soak`: a steady flow for minutes; exit 1 when the books do not agree."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.common import Json, emit


def soak(
    minutes: Annotated[float, typer.Option(min=0.05, max=240)] = 10.0,
    rate: Annotated[float, typer.Option(min=0.1, max=200, help="Signals a second.")] = 10.0,
    followers: Annotated[int, typer.Option(min=1, max=10_000)] = 24,
    seed: int = 1,
    json: Json = False,
) -> None:
    """Run the whole system under a steady flow of signals; report memory growth, latency and the books."""
    from ops.soak import run_soak

    report = run_soak(minutes, rate, followers, seed)
    emit(report, json)
    if not report["ledger_equal"]:
        raise typer.Exit(1)
