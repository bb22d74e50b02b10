"""`remora shadow diff`: whether followers in mode shadow would have done what a reference did."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import typer

from engine.config import load_settings
from ops.commands.common import Json, emit, emit_rows

app = typer.Typer(help="Followers in mode shadow: decided and recorded, never sent.", no_args_is_help=True)


@app.callback()
def shadow() -> None:
    """Followers in mode shadow: decided and recorded, never sent."""


@app.command()
def diff(
    follower: Annotated[str | None, typer.Argument(help="Only this shadow follower.")] = None,
    against: Annotated[str | None, typer.Option(help="Another follower's trades; without it the older system's.")] = None,
    source: Annotated[str | None, typer.Option("--from", envvar="REMORA_LEGACY_URL", help="The older database; ours by default.")] = None,
    hours: Annotated[int, typer.Option(min=1, max=24 * 366, help="How far back.")] = 24,
    size_percent: Annotated[float, typer.Option(min=0, help="Sizes may differ by this much.")] = 1.0,
    price_bps: Annotated[float, typer.Option(min=0, help="Prices may differ by this much.")] = 50.0,
    json: Json = False,
) -> None:
    """Compare shadow orders with a reference's trades of the same signals. Exit 1 when they differ."""
    from ops.shadow import Options, shadow_diff

    options = Options(follower, against, source, hours, Decimal(str(size_percent)), Decimal(str(price_bps)))
    found = shadow_diff(load_settings(), options)
    if json:
        emit(found, json)
    else:
        emit(found["summary"], json)
        emit_rows([{name: row[name] for name in SHOWN} for row in found["differences"]], json)
    raise typer.Exit(1 if found["differences"] else 0)


SHOWN = ("verdict", "signal", "follower", "side", "shadow_quantity", "reference_quantity", "size_percent", "price_bps", "reason")
