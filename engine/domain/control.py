"""Switches: control records enter, events and the strictest state that concerns a whale, a venue or a follower leave.

Scopes add up: the strictest of global, exchange, whale and follower counts. `halt` stops opens, `halt_exits` everything.
"""

from __future__ import annotations

from engine.domain.events import AnyEvent, LogicVersionSet, SwitchSet, WhaleResynced
from engine.domain.messages import ResyncWhale, SetLogicVersion, SetSwitch
from engine.domain.state import ShardState, WhalePair, pair_key, remember
from engine.domain.values import SwitchState

SEVERITY: dict[SwitchState, int] = {"running": 0, "close_only": 1, "halt": 2, "halt_exits": 3}
CLOSE_ONLY, HALT, HALT_EXITS = 1, 2, 3


def severity(state: ShardState, scope: str, target: str = "") -> int:
    """How strict one scope is, 0 running to 3 halt_exits."""
    return SEVERITY[state.switches.get(f"{scope}|{target}", "running")]


def strictest(state: ShardState, *, venue: str, whale_id: str, follower_id: str = "") -> tuple[int, str]:
    """The strictest switch that concerns a copy and its name, such as `exchange:bybit`; (0, "") when all run."""
    if not state.switches:
        return 0, ""
    scopes = (("global", ""), ("exchange", venue), ("whale", whale_id), ("follower", follower_id))
    found = [(severity(state, scope, target), f"{scope}:{target}".rstrip(":")) for scope, target in scopes]
    return max(found, key=lambda pair: pair[0], default=(0, "")) if any(level for level, _ in found) else (0, "")


def exits_halted(state: ShardState, *, venue: str, whale_id: str, follower_id: str) -> bool:
    """Even exits must not be sent."""
    return bool(state.switches) and strictest(state, venue=venue, whale_id=whale_id, follower_id=follower_id)[0] >= HALT_EXITS


def decide_switch(state: ShardState, command: SetSwitch) -> list[AnyEvent]:
    """Every command that sets a switch is recorded, also one that changes nothing: it is the audit."""
    return [
        SwitchSet(
            originator_id=state.originator_id,
            originator_version=state.version + 1,
            at=state.now,
            scope=command.scope,
            target=command.target,
            state=command.state,
            reason=command.reason,
            request_id=command.request_id,
            actor=command.actor,
        )
    ]


def decide_logic_version(state: ShardState, command: SetLogicVersion) -> list[AnyEvent]:
    """From here on decisions follow another version."""
    return [
        LogicVersionSet(
            originator_id=state.originator_id,
            originator_version=state.version + 1,
            at=state.now,
            version=command.version,
            request_id=command.request_id,
        )
    ]


def decide_resync(state: ShardState, command: ResyncWhale) -> list[AnyEvent]:
    """An operator says what a whale holds."""
    return [
        WhaleResynced(
            originator_id=state.originator_id,
            originator_version=state.version + 1,
            at=state.now,
            whale_id=command.whale_id,
            symbol=command.symbol,
            position=command.position,
            cause=command.request_id,
        )
    ]


def switch_set(state: ShardState, event: SwitchSet) -> None:
    """Fold a switch; `running` is the absence of one."""
    key = f"{event.scope}|{event.target}"
    if event.state == "running":
        state.switches.pop(key, None)
    else:
        state.switches[key] = event.state
    remember(state.requests, event.request_id, event.at)


def logic_version_set(state: ShardState, event: LogicVersionSet) -> None:
    """Fold the version that decides."""
    state.logic_version = event.version
    remember(state.requests, event.request_id, event.at)


def whale_resynced(state: ShardState, event: WhaleResynced) -> None:
    """Fold a whale's known position; the pair opens again."""
    pair = state.whales.setdefault(pair_key(event.whale_id, event.symbol), WhalePair())
    pair.position, pair.gap = event.position, False
    if not event.position:
        pair.flat_at = state.events
    remember(state.requests, event.cause, event.at)
