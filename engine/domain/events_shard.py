"""Events of a shard (signals, switches, market, executor), and the log's own marks, which are no events."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.domain.events_follower import Event
from engine.domain.messages import SourcePosition
from engine.domain.values import (
    MarketRules,
    Priority,
    Scope,
    Signal,
    SwitchState,
    Venue,
)


class SignalAdmitted(Event, frozen=True, kw_only=True, tag="SignalAdmitted.v1"):
    """The shard has seen a signal. `held` names the gate that holds it back."""

    signal: Signal
    src: SourcePosition
    held: str = ""


class SignalReleased(Event, frozen=True, kw_only=True, tag="SignalReleased.v1"):
    signal_id: str


class SignalDecided(Event, frozen=True, kw_only=True, tag="SignalDecided.v1"):
    """All of the shard's followers of the whale have decided (also when there are none)."""

    signal_id: str
    followers: int
    copied: int
    orders: int


class SignalExpired(Event, frozen=True, kw_only=True, tag="SignalExpired.v1"):
    signal_id: str


class CopiesSkipped(Event, frozen=True, kw_only=True, tag="CopiesSkipped.v1"):
    """Equal skips share one event; `followers` are (follower_id, config_version). Changes no follower's state."""

    signal_id: str
    whale_id: str
    symbol: str
    reason: str
    limit: str = ""
    value: str = ""
    followers: tuple[tuple[str, int], ...]


class SwitchSet(Event, frozen=True, kw_only=True, tag="SwitchSet.v1"):
    scope: Scope
    target: str
    state: SwitchState
    reason: str = ""
    request_id: str = ""
    actor: str = ""


class GateSet(Event, frozen=True, kw_only=True, tag="GateSet.v1"):
    min_priority: Priority
    paused: bool
    request_id: str = ""
    actor: str = ""


class RulesRecorded(Event, frozen=True, kw_only=True, tag="RulesRecorded.v1"):
    rules: tuple[MarketRules, ...]


class MarksRecorded(Event, frozen=True, kw_only=True, tag="MarksRecorded.v1"):
    venue: Venue
    marks: dict[str, Decimal]
    reported_at: int


class WhaleGapDetected(Event, frozen=True, kw_only=True, tag="WhaleGapDetected.v1"):
    """A break in the whale's position chain: signals were missed; the whale and symbol are close-only until re-synchronised."""

    whale_id: str
    symbol: str
    expected: Decimal
    found: Decimal
    signal_id: str


class WhaleResynced(Event, frozen=True, kw_only=True, tag="WhaleResynced.v1"):
    whale_id: str
    symbol: str
    position: Decimal
    cause: str


class ExecutorChanged(Event, frozen=True, kw_only=True, tag="ExecutorChanged.v1"):
    """A new executor epoch: outcomes of older epochs are void from here on."""

    epoch: int


class LogicVersionSet(Event, frozen=True, kw_only=True, tag="LogicVersionSet.v1"):
    version: int
    request_id: str = ""


# --- the log's own marks: not events, never in notifications ---------------------------------------------------------


class ShardClaimed(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="ShardClaimed.v1"):
    """A writer owns the shard; this record's offset is its epoch."""

    shard: int
    owner: str


class RoundCommitted(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="RoundCommitted.v1"):
    """Closes a round. Events behind the last marker count only if `epoch` is the newest claim and `inbox_from` the current position.

    `inbox_to` is the next inbox offset to read; `sources` maps `code/partition` to the next source offset; `digest` chains the bytes of
    all accepted events; `commands_total` is the command sequence after this round, `commands_through` what was surely sent before it.
    """

    epoch: int
    inbox_from: int
    inbox_to: int
    sources: dict[str, int]
    events: int
    first_id: int
    """Notification id of the round's first event; ids count a shard's accepted events from 1."""
    digest: str
    logic_version: int
    commands_through: int
    commands_total: int
    now: int
