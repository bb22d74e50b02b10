"""The data of each type of live event, as JSON: amounts are strings, times RFC 3339, names those of the REST answers.

An event of one follower has its `follower_id`; a key of one follower sees those of its own and the public ones (`PUBLIC`).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Amount = Annotated[Decimal, PlainSerializer(lambda amount: format(amount, "f"), return_type=str)]


class Payload(BaseModel):
    """What all have: the time of the decision in its shard."""

    model_config = ConfigDict(frozen=True, extra="forbid", val_temporal_unit="milliseconds")

    at: datetime


class SignalAdmitted(Payload):
    """A valid signal has come. `held`: the gate that holds it back, or empty."""

    signal_id: str
    whale_id: str
    source: str
    symbol: str
    trade_type: str
    action: str
    side: str
    quantity: Amount
    price: Amount
    priority: str
    held: str
    detected_at: datetime


class SignalReleased(Payload):
    """A gate lets the signal pass."""

    signal_id: str


class SignalDecided(Payload):
    """One shard's followers have all decided; add the shards up. Shards without a follower of the whale say nothing, but for one."""

    signal_id: str
    shard: int
    followers: int
    copied: int
    orders: int


class SignalExpired(Payload):
    """The signal was too old before it was decided."""

    signal_id: str


class CopyDecided(Payload):
    """A follower copies the signal: sizes in quote before and after the caps, quantity in the exchange's units."""

    signal_id: str
    whale_id: str
    follower_id: str
    symbol: str
    exchange: str
    exchange_symbol: str
    direction: str
    outcome: Literal["copied", "reduced"]
    wanted_quote: Amount
    final_quote: Amount
    quantity: Amount
    orders: int


class CopySkipped(Payload):
    """A follower does not copy. Many who skip for one reason share one event with `follower_id` null; a feed of one follower names it."""

    signal_id: str
    whale_id: str
    follower_id: str | None
    followers: int
    symbol: str
    reason: str
    limit: str
    value: str


class OrderRequested(Payload):
    """An order on its way to the executor (mode `shadow`: recorded only)."""

    command_id: str
    follower_id: str
    whale_id: str
    cause: str
    kind: str
    leg: int
    mode: str
    exchange: str
    symbol: str
    side: str
    quantity: Amount
    limit_price: Amount | None
    reference_price: Amount | None


class OrderEnded(Payload):
    """The end of an order. `status` is filled, partial, unfilled, rejected or missed."""

    command_id: str
    follower_id: str
    whale_id: str
    cause: str
    kind: str
    exchange: str
    symbol: str
    direction: str
    status: str
    reason: str
    filled: Amount
    average_price: Amount | None
    fee_base: Amount
    fee_quote: Amount
    realized_pnl: Amount
    slippage_bps: Amount | None


class EquityReported(Payload):
    """What an account is worth, in quote."""

    follower_id: str
    exchange: str
    equity: Amount
    available: Amount
    reported_at: datetime


class FollowerConfigured(Payload):
    """A follower was created, or its settings replaced."""

    follower_id: str
    config_version: int
    copy_trading_enabled: bool
    paused: bool
    mode: str
    exchange: str
    max_leverage: Amount


class FollowSet(Payload):
    """A follower follows a whale, or on other terms."""

    follower_id: str
    whale_id: str
    config_version: int
    auto_copy_enabled: bool
    sizing: str
    trade_size_usdt: Amount | None
    trade_size_percent: Amount | None


class FollowEnded(Payload):
    """A follower follows a whale no more; its exits still go on."""

    follower_id: str
    whale_id: str
    config_version: int


class AccountChecked(Payload):
    """The check of an account's keys."""

    follower_id: str
    exchange: str
    allowed: bool
    reasons: list[str]


class DriftDetected(Payload):
    """The exchange holds something else than the lots say."""

    follower_id: str
    exchange: str
    symbol: str
    expected: Amount
    reported: Amount
    foreign: Amount


class SwitchSet(Payload):
    """A switch was set: `scope` global, exchange, whale or follower, `target` which one."""

    scope: str
    target: str
    state: str


class GateSet(Payload):
    """The gates of the signal queue were set."""

    min_priority: str
    paused: bool


class WhaleGap(Payload):
    """Signals of a whale were missed: it is close-only until it is synchronised again."""

    whale_id: str
    symbol: str
    expected: Amount
    found: Amount
    signal_id: str


class WhaleResynced(Payload):
    """A whale's position is known again."""

    whale_id: str
    symbol: str
    position: Amount


class Ready(BaseModel):
    """First event of every stream, or the one behind `reset`. `resumed`: what was missed follows."""

    position: Annotated[str, Field(description="where the stream stands: the id to come back with")]
    resumed: bool


class Reset(BaseModel):
    """What was missed cannot be told: load what is shown anew; the stream goes on from `position`."""

    reason: Literal["too_far_behind", "unknown_position", "log_unreachable"]
    position: str


class Dropped(BaseModel):
    """Last event of a stream that we end."""

    reason: Literal["too_slow", "not_allowed", "stopping"]


Kind = Literal[
    "signal_admitted",
    "signal_released",
    "signal_decided",
    "signal_expired",
    "copy_decided",
    "copy_skipped",
    "order_requested",
    "order_ended",
    "equity_reported",
    "follower_configured",
    "follow_set",
    "follow_ended",
    "account_checked",
    "drift_detected",
    "switch_set",
    "gate_set",
    "whale_gap",
    "whale_resynced",
]
KINDS: Final[dict[Kind, type[Payload]]] = {
    "signal_admitted": SignalAdmitted,
    "signal_released": SignalReleased,
    "signal_decided": SignalDecided,
    "signal_expired": SignalExpired,
    "copy_decided": CopyDecided,
    "copy_skipped": CopySkipped,
    "order_requested": OrderRequested,
    "order_ended": OrderEnded,
    "equity_reported": EquityReported,
    "follower_configured": FollowerConfigured,
    "follow_set": FollowSet,
    "follow_ended": FollowEnded,
    "account_checked": AccountChecked,
    "drift_detected": DriftDetected,
    "switch_set": SwitchSet,
    "gate_set": GateSet,
    "whale_gap": WhaleGap,
    "whale_resynced": WhaleResynced,
}
"""Name of an event's type, the `event:` of the stream, to its data."""
PUBLIC: Final = frozenset({"signal_admitted", "signal_released", "signal_expired", "switch_set", "gate_set", "whale_gap", "whale_resynced"})
"""Shown to every key (a switch of one follower to those who see that follower)."""
