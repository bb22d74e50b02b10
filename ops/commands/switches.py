"""`remora halt | resume | flatten`: switches and flattening as audited records on the control topic."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from engine.domain.messages import ControlRecord, Flatten, SetSwitch
from engine.domain.values import Scope, SwitchState
from ops.commands.common import Json, emit, publish_control, request_id

Exchange = Annotated[str | None, typer.Option(help="Only this venue.")]
Whale = Annotated[str | None, typer.Option(help="Only this whale.")]
Follower = Annotated[str | None, typer.Option(help="Only this follower.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit trail.")]


def halt(
    exchange: Exchange = None,
    whale: Whale = None,
    follower: Follower = None,
    exits: Annotated[bool, typer.Option("--exits", help="Stop exits as well.")] = False,
    close_only: Annotated[bool, typer.Option("--close-only", help="Only exits from now on.")] = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Stop copying at once: everywhere, or on one exchange, for one whale or for one follower."""
    state: SwitchState = "halt_exits" if exits else "close_only" if close_only else "halt"
    _set(state, exchange, whale, follower, reason, json)


def resume(exchange: Exchange = None, whale: Whale = None, follower: Follower = None, reason: Reason = "", json: Json = False) -> None:
    """Lift a halt of the same scope."""
    _set("running", exchange, whale, follower, reason, json)


def flatten(exchange: Exchange = None, whale: Whale = None, follower: Follower = None, reason: Reason = "", json: Json = False) -> None:
    """Close every position within the scope."""
    scope, target = _scope(exchange, whale, follower)
    _send(Flatten(request_id=request_id(), scope=scope, target=target, reason=reason, actor=getpass.getuser()), json)


def _set(state: SwitchState, exchange: str | None, whale: str | None, follower: str | None, reason: str, json: bool) -> None:
    scope, target = _scope(exchange, whale, follower)
    _send(SetSwitch(request_id=request_id(), scope=scope, target=target, state=state, reason=reason, actor=getpass.getuser()), json)


def _scope(exchange: str | None, whale: str | None, follower: str | None) -> tuple[Scope, str]:
    named: list[tuple[Scope, str]] = []
    if exchange is not None:
        named.append(("exchange", exchange))
    if whale is not None:
        named.append(("whale", whale))
    if follower is not None:
        named.append(("follower", follower))
    if len(named) > 1:
        raise typer.BadParameter("name one of --exchange, --whale and --follower")
    return named[0] if named else ("global", "")


def _send(record: ControlRecord, json: bool) -> None:
    emit({"record": type(record).__name__} | publish_control(record), json)
