"""Bodies of writes: JSON enters, the domain's own settings and terms leave.

The fields are those of the contract (`engine/contracts/commands.py`); an API refuses unknown ones, since a misspelt limit would not limit.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from engine.contracts.commands import FollowerSettingsInput, FollowTermsInput, LimitsInput
from engine.contracts.types import FollowerId, Note, PositiveAmount, Symbol, TradeType, Venue
from engine.domain.values import FollowerSettings, FollowTerms, Mode

FORBID = ConfigDict(extra="forbid")
Symbols = Annotated[tuple[Symbol, ...], Field(max_length=500, strict=False)]
T = TypeVar("T")


class LimitsBody(LimitsInput):
    """Limits of a follower or of one follow; an absent one does not limit. Quote amounts are USDT."""

    model_config = FORBID


class TermsBody(FollowTermsInput):
    """How a follower copies a whale: the whole terms, what is absent has its default."""

    model_config = FORBID
    symbols_allowed: Symbols | None = None
    symbols_denied: Symbols = ()
    trade_types_allowed: Annotated[tuple[TradeType, ...], Field(max_length=2, strict=False)] | None = None
    limits: LimitsBody = LimitsBody()


class FollowerBody(FollowerSettingsInput):
    """A new follower with its settings."""

    model_config = FORBID
    follower_id: FollowerId
    limits: LimitsBody = LimitsBody()


class FollowerPatch(BaseModel):
    """What is to change; the rest stays. `limits`: only those named change, null takes one away."""

    model_config = ConfigDict(extra="forbid", strict=True)
    copy_trading_enabled: bool | None = None
    paused: bool | None = None
    mode: Mode | None = None
    preferred_exchange: Venue | None = None
    max_leverage: PositiveAmount | None = None
    limits: LimitsBody | None = None

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, as JSON."""
        sent = self.model_dump(mode="json", exclude_unset=True)
        return {name: value for name, value in sent.items() if value is not None}


class ReasonBody(BaseModel):
    """Why, for the audit trail."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: Note = ""


def to_domain(kind: type[T], body: BaseModel, *without: str) -> T:
    """A body as the engine's own value."""
    return msgspec.convert(body.model_dump(mode="json", exclude_defaults=True, exclude=set(without)), kind)


def settings_of(body: FollowerBody) -> FollowerSettings:
    """Of a new follower."""
    return to_domain(FollowerSettings, body, "follower_id")


def terms_of(body: TermsBody) -> FollowTerms:
    """Of a follow."""
    return to_domain(FollowTerms, body)


def patched(row: dict[str, Any], patch: FollowerPatch) -> FollowerSettings:
    """The settings of a row of `users` with what changes."""
    now = {
        "copy_trading_enabled": row["copy_trading_enabled"],
        "paused": bool(row["paused"]),
        "mode": row["mode"],
        "preferred_exchange": row["preferred_exchange"],
        "max_leverage": str(row["leverage_limit"] or Decimal(1)),
    }
    changes = patch.changes()
    limits = (row["limits"] or {}) | changes.pop("limits", {})
    return msgspec.convert(now | changes | {"limits": limits}, FollowerSettings)
