"""`remora whale gaps | resync`: whales of whom signals were missed, and the way back to copying their opens."""

from __future__ import annotations

import asyncio
import getpass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from engine.config import Settings, load_settings
from engine.domain.messages import ResyncWhale
from engine.log.consume import end_of, open_consumer
from engine.log.replay import fold_log
from engine.topology import EVENTS
from ops.commands.common import Json, emit, emit_rows, publish_control, request_id

app = typer.Typer(help="Whales: missed signals, and what they hold.", no_args_is_help=True)
SHARD = 0
"""Every shard hears every signal: this one's view of the whales is everybody's."""


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not an amount") from None


@app.command()
def gaps(json: Json = False) -> None:
    """Whales and symbols that are close-only since signals were missed; each with the command that lifts it."""
    emit_rows(asyncio.run(broken_pairs(load_settings())), json)


async def broken_pairs(settings: Settings) -> list[dict[str, Any]]:
    """The pairs whose chain of positions broke and that were neither flat nor re-synchronised since."""
    async with open_consumer(settings) as consumer:
        stop = await end_of(consumer, settings.topic(EVENTS), SHARD)
        state = (await fold_log(consumer, settings, SHARD, stop)).state
    found: list[dict[str, Any]] = []
    for key, pair in sorted(state.whales.items()):
        if pair.gap:
            symbol, whale = key.split("|", 1)
            remedy = f"remora whale resync {whale} {symbol} {pair.position}"
            found.append({"whale": whale, "symbol": symbol, "position": pair.position, "remedy": remedy})
    return found


@app.command()
def resync(
    whale: Annotated[str, typer.Argument(help="The whale's id.")],
    symbol: Annotated[str, typer.Argument(help="The symbol of its signals.")],
    position: Annotated[Decimal, typer.Argument(parser=_amount, help="What it holds now, signed; put `--` before a negative one.")],
    json: Json = False,
) -> None:
    """Say what a whale holds now, so that its opens are copied again."""
    record = ResyncWhale(request_id=request_id(), whale_id=whale, symbol=symbol, position=position, actor=getpass.getuser())
    emit({"record": type(record).__name__} | publish_control(record), json)
