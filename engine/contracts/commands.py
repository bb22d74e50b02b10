"""`follower.commands.v1`: what a follower wants, one command a record, keyed by follower_id, on the follower's own partition.

The JSON has the shape of the engine's own messages, so that a record that passed here is read by the engine as it is.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from engine.contracts.types import (
    Amount,
    Contract,
    Count,
    FollowerId,
    Id,
    Milliseconds,
    Note,
    PositiveAmount,
    Symbol,
    TradeType,
    Venue,
    wrong,
)


class LimitsInput(Contract):
    """Limits of a follower or of one follow; an absent one does not limit. Quote amounts are USDT."""

    max_deviation_bps: Amount | None = None
    max_staleness_ms: Milliseconds | None = None
    max_position_quote: Amount | None = None
    max_exposure_quote: Amount | None = None
    max_open_positions: Count | None = None
    daily_loss_quote: Amount | None = None
    max_drawdown_percent: Amount | None = None
    cooldown_ms: Milliseconds | None = None


_SIZE_OF = {"fixed_quote": "trade_size_usdt", "percent_equity": "trade_size_percent", "multiplier": "multiplier"}
Symbols = Annotated[tuple[Symbol, ...], Field(max_length=500)]


class FollowTermsInput(Contract):
    """How one follower copies one whale. Sizes are notional; `trade_size_percent` is percent of equity."""

    auto_copy_enabled: bool = True
    sizing: Literal["fixed_quote", "percent_equity", "proportional_equity", "multiplier"] = "fixed_quote"
    trade_size_usdt: PositiveAmount | None = None
    trade_size_percent: PositiveAmount | None = None
    multiplier: PositiveAmount | None = None
    min_size_policy: Literal["skip", "round_up", "accumulate"] = "skip"
    symbols_allowed: Symbols | None = None
    symbols_denied: Symbols = ()
    trade_types_allowed: tuple[TradeType, ...] | None = None
    copy_exits: bool = True
    rollout_percent: Annotated[int, Field(ge=0, le=100)] = 100
    start_mode: Literal["until_flat", "now"] = "until_flat"
    limits: LimitsInput = LimitsInput()

    @model_validator(mode="after")
    def _has_its_size(self) -> Self:
        field = _SIZE_OF.get(self.sizing)
        if field is not None and getattr(self, field) is None:
            raise wrong(field, "(missing)", f"an amount above zero, since sizing is {self.sizing}")
        if self.trade_size_percent is not None and self.trade_size_percent > 100:
            raise wrong("trade_size_percent", self.trade_size_percent, "at most 100")
        return self


class FollowerSettingsInput(Contract):
    """A follower's own switches and limits; `preferred_exchange` is the venue of its account."""

    copy_trading_enabled: bool = True
    paused: bool = False
    mode: Literal["paper", "shadow", "live"] = "paper"
    preferred_exchange: Venue = "binance"
    max_leverage: PositiveAmount = Decimal(1)
    limits: LimitsInput = LimitsInput()


class _Command(Contract):
    request_id: Annotated[Id, Field(description="A repeat of the same request is a no-op.")]
    follower_id: FollowerId
    actor: Note = ""


class ConfigureFollower(_Command):
    """Create the follower or replace its settings."""

    t: Literal["ConfigureFollower"]
    settings: FollowerSettingsInput


class FollowWhale(_Command):
    """Begin to follow a whale, or replace the terms of the follow."""

    t: Literal["FollowWhale"]
    whale_id: Id
    terms: FollowTermsInput


class UnfollowWhale(_Command):
    """Stop opening copies of a whale; its exits go on."""

    t: Literal["UnfollowWhale"]
    whale_id: Id


class ClosePosition(_Command):
    """Close lots by hand: all of the follower's, or those of a venue symbol and / or a whale."""

    t: Literal["ClosePosition"]
    symbol: Symbol | None = None
    whale_id: Id | None = None


FollowerCommand = Annotated[ConfigureFollower | FollowWhale | UnfollowWhale | ClosePosition, Field(discriminator="t")]
FOLLOWER_COMMAND: TypeAdapter[ConfigureFollower | FollowWhale | UnfollowWhale | ClosePosition] = TypeAdapter(FollowerCommand)
