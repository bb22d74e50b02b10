"""`/v1/switches`: kill switches and flattening. What is set is read from the control topic, where each change stands with its actor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from api.control import ControlFold, Controlled
from api.errors import READS, WRITES, Forbidden, Unavailable, answers
from api.reading import MinPosition, read_position
from api.security import Principal, Reader, Trader
from api.writing import Accepted, Write, Writing
from engine.contracts.control import check_target
from engine.contracts.types import TEXT_PATTERN, Note
from engine.domain.messages import Flatten, SetSwitch
from engine.domain.values import Scope, SwitchState

router = APIRouter(prefix="/v1/switches", tags=["switches"], responses=answers(*READS))
Target = Annotated[str, StringConstraints(max_length=64, pattern=TEXT_PATTERN)]


class ScopeBody(BaseModel):
    """Where: everywhere, or one exchange, whale or follower."""

    model_config = ConfigDict(extra="forbid", strict=True)
    scope: Scope = "global"
    target: Target = ""
    reason: Note = ""

    @model_validator(mode="after")
    def _target_fits(self) -> ScopeBody:
        check_target(self.scope, self.target)
        return self


class HaltBody(ScopeBody):
    """`halt` stops opens, `halt_exits` everything, `close_only` lets exits go on and says so in the reasons."""

    state: Literal["close_only", "halt", "halt_exits"] = "halt"


class Switch(BaseModel):
    """One scope that was ever switched."""

    scope: str
    target: str
    state: SwitchState
    reason: str
    actor: str
    set_at: datetime
    position: str


class GateState(BaseModel):
    """What lets signals pass; null times: never set."""

    paused: bool
    min_priority: str
    actor: str
    set_at: datetime | None


class Switches(BaseModel):
    """What is set now. It is read from the log itself: true up to `position`, which is everything there was when it was asked."""

    items: list[Switch]
    gate: GateState
    position: str


def to_switches(fold: ControlFold, caller: Principal) -> Switches:
    """The fold as the API shows it; of followers only those that the caller sees."""
    items = [
        Switch(
            scope=scope,
            target=target,
            state=found.state,
            reason=found.reason,
            actor=found.actor,
            set_at=found.set_at,
            position=f"c/0/{found.offset}",
        )
        for (scope, target), found in sorted(fold.switches.items())
        if scope != "follower" or caller.sees(target)
    ]
    gate = GateState(paused=fold.gate.paused, min_priority=fold.gate.min_priority, actor=fold.gate.actor, set_at=fold.gate.set_at)
    return Switches(items=items, gate=gate, position=f"c/0/{fold.position}")


def may_switch(caller: Principal, body: ScopeBody) -> None:
    """A follower's own switch needs `trade`, any other `admin`. Errors: Forbidden."""
    if caller.allows("admin") or (body.scope == "follower" and caller.sees(body.target)):
        return
    raise Forbidden("This switch needs the scope 'admin'; with 'trade', scope is follower and target a follower that the key sees.")


@router.get("")
async def get_switches(control: Controlled, caller: Reader, min_position: MinPosition = None) -> Switches:
    """Every switch that was set, and the queue's gate."""
    fold = await control.now()
    if min_position is not None and fold.position <= wanted_offset(min_position):
        raise Unavailable(f"{min_position} is not on the log yet.", headers={"Retry-After": "1"})
    return to_switches(fold, caller)


def wanted_offset(min_position: str) -> int:
    """The offset on the control topic to have passed: positions of other topics change no switch."""
    code, _, offset = read_position(min_position)
    return offset if code == "c" else -1


@router.post("/halt", status_code=202, responses=answers(*WRITES))
async def halt(caller: Trader, write: Writing, body: HaltBody) -> Accepted:
    """Stop copying at once, also orders that wait to be sent."""
    return await _set(caller, write, body, body.state)


@router.post("/resume", status_code=202, responses=answers(*WRITES))
async def resume(caller: Trader, write: Writing, body: ScopeBody) -> Accepted:
    """Lift the halt of this scope; others stay."""
    return await _set(caller, write, body, "running")


@router.post("/flatten", status_code=202, responses=answers(*WRITES))
async def flatten(caller: Trader, write: Writing, body: ScopeBody) -> Accepted:
    """Close every position within the scope."""
    may_switch(caller, body)
    asked = write(caller)

    async def build() -> Flatten:
        return Flatten(request_id=asked.id, scope=body.scope, target=body.target, reason=body.reason, actor=caller.actor)

    return await asked.control(build)


async def _set(caller: Principal, write: Callable[[Principal], Write], body: ScopeBody, state: SwitchState) -> Accepted:
    may_switch(caller, body)
    asked = write(caller)

    async def build() -> SetSwitch:
        return SetSwitch(request_id=asked.id, scope=body.scope, target=body.target, state=state, reason=body.reason, actor=caller.actor)

    return await asked.control(build)
