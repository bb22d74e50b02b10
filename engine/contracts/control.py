"""`engine.control.v1`: switches, gates and other records that hold for every shard. Same JSON shape as the engine's own messages."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from engine.contracts.types import TEXT_PATTERN, Contract, Id, Note, Priority, SignedAmount, Symbol, Venue, wrong

VENUES: Final[tuple[str, ...]] = get_args(Venue)


def check_target(scope: str, target: str) -> None:
    """Scope and target must fit each other. Errors: ValueError naming `target`, for a validator to pass on."""
    if scope == "global" and target:
        raise wrong("target", target, "empty, since scope is global")
    if scope == "exchange" and target not in VENUES:
        raise wrong("target", target, f"one of {', '.join(VENUES)}")
    if scope in ("whale", "follower") and not target:
        raise wrong("target", "(empty)", f"the id of a {scope}")


class _Control(Contract):
    request_id: Annotated[Id, Field(description="A repeat of the same request is a no-op.")]
    actor: Note = ""


class _Scoped(_Control):
    scope: Literal["global", "exchange", "whale", "follower"] = "global"
    target: Annotated[
        Annotated[str, StringConstraints(max_length=64, pattern=TEXT_PATTERN)],
        Field(description="The exchange, whale or follower; empty for global."),
    ] = ""
    reason: Note = ""

    @model_validator(mode="after")
    def _target_fits(self) -> Self:
        check_target(self.scope, self.target)
        return self


class SetSwitch(_Scoped):
    """Set the state of one scope."""

    t: Literal["SetSwitch"]
    state: Literal["running", "close_only", "halt", "halt_exits"]


class Flatten(_Scoped):
    """Close every lot within a scope."""

    t: Literal["Flatten"]


class SetGate(_Control):
    """The signal queue's gates: the lowest priority that passes, and pause. Exits pass every gate."""

    t: Literal["SetGate"]
    min_priority: Priority = "low"
    paused: bool = False


class ReleaseSignals(_Control):
    """Let held signals pass: those named, or the next `max_signals` of at least `min_priority`, which the sequencer then names once."""

    t: Literal["ReleaseSignals"]
    signal_ids: Annotated[tuple[Id, ...], Field(max_length=5000)] = ()
    max_signals: Annotated[int, Field(ge=0, le=5000)] = 0
    min_priority: Priority = "low"


class ResyncWhale(_Control):
    """Declare a whale's position on a symbol known again after missed signals."""

    t: Literal["ResyncWhale"]
    whale_id: Id
    symbol: Symbol
    position: SignedAmount


class SetLogicVersion(_Control):
    """From this record on, decisions follow another logic version."""

    t: Literal["SetLogicVersion"]
    version: Annotated[int, Field(ge=1, le=1_000_000)]


_Any = SetSwitch | Flatten | SetGate | ReleaseSignals | ResyncWhale | SetLogicVersion
ControlRecord = Annotated[_Any, Field(discriminator="t")]
CONTROL_RECORD: TypeAdapter[_Any] = TypeAdapter(ControlRecord)
