"""Requests that people and programs make of the engine: follower commands and control records, tagged by `t`."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.domain.values import (
    FollowerSettings,
    FollowTerms,
    Priority,
    Scope,
    SwitchState,
)


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", gc=False):
    pass


# --- follower.commands.v1: imperative, one follower each -------------------------------------------------------------


class ConfigureFollower(Record, frozen=True, kw_only=True, tag="ConfigureFollower"):
    """Create the follower or replace its settings. `request_id` makes a repeat a no-op."""

    request_id: str
    follower_id: str
    settings: FollowerSettings
    actor: str = ""


class FollowWhale(Record, frozen=True, kw_only=True, tag="FollowWhale"):
    """Begin to follow a whale, or replace the terms of the follow."""

    request_id: str
    follower_id: str
    whale_id: str
    terms: FollowTerms
    actor: str = ""


class UnfollowWhale(Record, frozen=True, kw_only=True, tag="UnfollowWhale"):
    """Stop opening copies of a whale; its exits go on until the lots are flat."""

    request_id: str
    follower_id: str
    whale_id: str
    actor: str = ""


class ClosePosition(Record, frozen=True, kw_only=True, tag="ClosePosition"):
    """Close lots by hand: all of the follower's, or those of a symbol (venue symbol) and / or whale."""

    request_id: str
    follower_id: str
    symbol: str | None = None
    whale_id: str | None = None
    actor: str = ""


FollowerCommand = ConfigureFollower | FollowWhale | UnfollowWhale | ClosePosition


# --- engine.control.v1 -----------------------------------------------------------------------------------------------


class SetSwitch(Record, frozen=True, kw_only=True, tag="SetSwitch"):
    """Set the state of one scope. `target` is the exchange (venue), whale or follower; empty for global."""

    request_id: str
    scope: Scope = "global"
    target: str = ""
    state: SwitchState
    reason: str = ""
    actor: str = ""


class Flatten(Record, frozen=True, kw_only=True, tag="Flatten"):
    """Close every lot within a scope."""

    request_id: str
    scope: Scope = "global"
    target: str = ""
    reason: str = ""
    actor: str = ""


class SetGate(Record, frozen=True, kw_only=True, tag="SetGate"):
    """The signal queue's gates: lowest priority that passes, and pause. Exits pass every gate."""

    request_id: str
    min_priority: Priority = "low"
    paused: bool = False
    actor: str = ""


class ReleaseSignals(Record, frozen=True, kw_only=True, tag="ReleaseSignals"):
    """Let held signals pass. As a request it asks for the next `max_signals` of at least `min_priority`; the sequencer names them once."""

    request_id: str
    signal_ids: tuple[str, ...] = ()
    max_signals: int = 0
    min_priority: Priority = "low"
    actor: str = ""


class ResyncWhale(Record, frozen=True, kw_only=True, tag="ResyncWhale"):
    """Declare a whale's position on a symbol known again after missed signals; lifts its close-only state."""

    request_id: str
    whale_id: str
    symbol: str
    position: Decimal
    actor: str = ""


class SetLogicVersion(Record, frozen=True, kw_only=True, tag="SetLogicVersion"):
    """From this record on, decisions follow another logic version."""

    request_id: str
    version: int
    actor: str = ""


ControlRecord = SetSwitch | Flatten | SetGate | ReleaseSignals | ResyncWhale | SetLogicVersion
