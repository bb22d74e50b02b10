"""`remora up`: everything with one command, on a folder that lasts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.config import load_settings


def up(
    data: Annotated[Path | None, typer.Option(help="Folder of everything that lasts; REMORA_DATA_DIR unless set.", file_okay=False)] = None,
    live: Annotated[bool, typer.Option("--live", help="The real exchanges; paper followers trade beside them at the simulator.")] = False,
    metrics_port: Annotated[int, typer.Option(min=0, max=65_000, help="Of the sequencer's /metrics; the others' follow it.")] = 0,
) -> None:
    """Run every role until Ctrl-C, with an embedded Kafka and Postgres unless the settings name others, and without `--live` on simulated
    exchanges. A role that ends is started again. Everything is there again at the next start."""
    from ops.up import Options, run_up

    settings = load_settings()
    raise typer.Exit(run_up(Options((data or settings.data_dir).expanduser().absolute(), live, metrics_port), settings))
