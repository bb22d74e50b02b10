"""`remora follower add | follow | unfollow | close | show`: followers as commands on the log, keys straight into the vault."""

from __future__ import annotations

import asyncio
import getpass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, cast

import typer

from engine.config import load_settings
from engine.domain.messages import ClosePosition, ConfigureFollower, FollowWhale, UnfollowWhale
from engine.domain.values import VENUES, FollowerSettings, FollowTerms, Limits, MinSizePolicy, Mode, SizingMode, StartMode
from ops.commands.common import Json, emit, emit_rows, publish_command, query, request_id
from ops.commands.vault import store_keys

app = typer.Typer(help="Followers: who copies whom, how much, on which account.", no_args_is_help=True)
Follower = Annotated[str, typer.Argument(help="The follower's id.")]
Whale = Annotated[str, typer.Argument(help="The whale's id.")]


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a decimal number") from None


Amount = Annotated[Decimal | None, typer.Option(parser=_amount)]


@app.command()
def add(
    follower: Follower,
    venue: Annotated[str, typer.Option(help=f"Venue of the one account: {', '.join(VENUES)}.")] = "binance",
    mode: Annotated[str, typer.Option(help="paper, shadow or live.")] = "paper",
    max_leverage: Annotated[Decimal, typer.Option(parser=_amount)] = Decimal(1),
    max_deviation_bps: Amount = None,
    max_position: Amount = None,
    max_exposure: Amount = None,
    daily_loss: Amount = None,
    api_key: Annotated[str | None, typer.Option(help="Asks for the secret and puts both into the vault.")] = None,
    secret: Annotated[str | None, typer.Option(envvar="REMORA_ACCOUNT_SECRET", help="Better left out: then it is asked for.")] = None,
    open_paper: Annotated[bool, typer.Option(help="Open a paper account with 10,000 USDT at the simulator.")] = False,
    json: Json = False,
) -> None:
    """Create a follower, or replace its settings; with `--api-key` its exchange account too, with `--open-paper` one of play money."""
    if venue not in VENUES:
        raise typer.BadParameter(f"{venue!r} is not one of {', '.join(VENUES)}", param_hint="--venue")
    if api_key is not None:
        store_keys(follower, venue, api_key, secret or typer.prompt("API secret", hide_input=True))
    if open_paper:
        from engine.executor.accounts.paper import open_paper_account

        asyncio.run(open_paper_account(load_settings(), follower, venue, actor=getpass.getuser()))
    limits = Limits(
        max_deviation_bps=max_deviation_bps, max_position_quote=max_position, max_exposure_quote=max_exposure, daily_loss_quote=daily_loss
    )
    settings = FollowerSettings(preferred_exchange=venue, mode=cast(Mode, mode), max_leverage=max_leverage, limits=limits)
    _send(ConfigureFollower(request_id=request_id(), follower_id=follower, settings=settings, actor=getpass.getuser()), json)


@app.command()
def follow(
    follower: Follower,
    whale: Whale,
    sizing: Annotated[str, typer.Option(help="fixed_quote, percent_equity, proportional_equity or multiplier.")] = "fixed_quote",
    size_usdt: Amount = None,
    size_percent: Amount = None,
    multiplier: Amount = None,
    min_size: Annotated[str, typer.Option(help="Below the venue's minimum: skip, round_up or accumulate.")] = "skip",
    start: Annotated[str, typer.Option(help="A whale already in a position: until_flat (wait) or now.")] = "until_flat",
    copy_exits: bool = True,
    rollout_percent: Annotated[int, typer.Option(min=0, max=100)] = 100,
    json: Json = False,
) -> None:
    """Follow a whale, or replace the terms of the follow."""
    terms = FollowTerms(
        sizing=cast(SizingMode, sizing),
        trade_size_usdt=size_usdt,
        trade_size_percent=size_percent,
        multiplier=multiplier,
        min_size_policy=cast(MinSizePolicy, min_size),
        start_mode=cast(StartMode, start),
        copy_exits=copy_exits,
        rollout_percent=rollout_percent,
    )
    _send(FollowWhale(request_id=request_id(), follower_id=follower, whale_id=whale, terms=terms, actor=getpass.getuser()), json)


@app.command()
def unfollow(follower: Follower, whale: Whale, json: Json = False) -> None:
    """Open no more copies of a whale; its exits go on."""
    _send(UnfollowWhale(request_id=request_id(), follower_id=follower, whale_id=whale, actor=getpass.getuser()), json)


@app.command()
def close(
    follower: Follower,
    symbol: Annotated[str | None, typer.Option(help="Only this market of the venue.")] = None,
    whale: Annotated[str | None, typer.Option(help="Only this whale's share.")] = None,
    json: Json = False,
) -> None:
    """Close a follower's positions by hand."""
    _send(ClosePosition(request_id=request_id(), follower_id=follower, symbol=symbol, whale_id=whale, actor=getpass.getuser()), json)


FOLLOWER = """
SELECT follower_key AS follower, mode, preferred_exchange AS venue, copy_trading_enabled AS enabled, leverage_limit, limits, config_version
FROM users WHERE follower_key = %(follower)s
"""
FOLLOWS = "SELECT whale_key AS whale, auto_copy_enabled AS auto_copy, terms FROM user_whale_follows WHERE follower_key = %(follower)s"
LOTS = """
SELECT exchange, symbol, side, whale_key AS whale, filled, pending, reserved, entry_price, realized_pnl, status
FROM positions WHERE follower_key = %(follower)s AND status <> 'closed' ORDER BY symbol
"""


@app.command()
def show(follower: Follower, json: Json = False) -> None:
    """Settings, follows and open positions of a follower."""
    settings = load_settings()
    found = query(settings, FOLLOWER, follower=follower)
    if not found:
        raise typer.BadParameter(f"there is no follower {follower!r}")
    follows, lots = query(settings, FOLLOWS, follower=follower), query(settings, LOTS, follower=follower)
    if json:
        emit(found[0] | {"follows": follows, "positions": lots}, json)
        return
    for rows in (found, follows, lots):
        emit_rows(rows, json)


def _send(command: Any, json: bool) -> None:
    emit({"command": type(command).__name__} | publish_command(command), json)
