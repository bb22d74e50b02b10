"""Words and values of the domain: literals, signals, settings, limits, market rules. Pure and immutable.

Amounts are `Decimal` (JSON strings on the wire), times are integer milliseconds since the epoch, symbols are ccxt unified symbols.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
Direction = Literal["long", "short"]
Action = Literal["open", "increase", "reduce", "close", "flip"]
TradeType = Literal["spot", "futures"]
SignalSource = Literal["whale", "onchain", "exchange", "manual"]
Priority = Literal["high", "medium", "low"]
Mode = Literal["paper", "shadow", "live"]
Venue = Literal["binance", "binanceusdm", "bybit", "bybitlinear"]
OrderKind = Literal["open", "exit"]
SizingMode = Literal["fixed_quote", "percent_equity", "proportional_equity", "multiplier"]
MinSizePolicy = Literal["skip", "round_up", "accumulate"]
StartMode = Literal["until_flat", "now"]
SwitchState = Literal["running", "close_only", "halt", "halt_exits"]
Scope = Literal["global", "exchange", "whale", "follower"]
SettledStatus = Literal["filled", "partial", "unfilled", "rejected", "missed"]

VENUES: tuple[Venue, ...] = ("binance", "binanceusdm", "bybit", "bybitlinear")
SPOT_VENUES: frozenset[str] = frozenset({"binance", "bybit"})
PRIORITY_RANK: dict[str, int] = {"high": 0, "medium": 1, "low": 2}
SIDE_OF_OPEN: dict[str, Side] = {"long": "buy", "short": "sell"}
SIDE_OF_EXIT: dict[str, Side] = {"long": "sell", "short": "buy"}


class Signal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a whale did, normalised by the sequencer. `published_at` is the append time on `whale.signals.v1`."""

    signal_id: str
    whale_id: str
    source: SignalSource = "whale"
    symbol: str
    trade_type: TradeType
    action: Action
    side: Side
    quantity: Decimal
    price: Decimal
    whale_order_id: str | None = None
    position_before: Decimal | None = None
    position_after: Decimal | None = None
    whale_equity: Decimal | None = None
    leverage: Decimal | None = None
    priority: Priority = "medium"
    detected_at: int
    expires_at: int | None = None
    whale_time: int | None = None
    published_at: int = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of a follower or of one follow; `None` means no limit. Quote amounts are in the account's quote currency (USDT)."""

    max_deviation_bps: Decimal | None = None
    max_staleness_ms: int | None = None
    max_position_quote: Decimal | None = None
    max_exposure_quote: Decimal | None = None
    max_open_positions: int | None = None
    daily_loss_quote: Decimal | None = None
    max_drawdown_percent: Decimal | None = None
    cooldown_ms: int | None = None


class FollowTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one follower copies one whale. `trade_size_percent` is percent of equity (0-100); sizes are notional, not margin."""

    auto_copy_enabled: bool = True
    sizing: SizingMode = "fixed_quote"
    trade_size_usdt: Decimal | None = None
    trade_size_percent: Decimal | None = None
    multiplier: Decimal | None = None
    min_size_policy: MinSizePolicy = "skip"
    symbols_allowed: tuple[str, ...] | None = None
    symbols_denied: tuple[str, ...] = ()
    trade_types_allowed: tuple[TradeType, ...] | None = None
    copy_exits: bool = True
    rollout_percent: int = 100
    start_mode: StartMode = "until_flat"
    limits: Limits = Limits()


class FollowerSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A follower's own switches and limits. `preferred_exchange` is the venue of the one account that belongs to the follower."""

    copy_trading_enabled: bool = True
    paused: bool = False
    mode: Mode = "paper"
    preferred_exchange: Venue = "binance"
    max_leverage: Decimal = Decimal(1)
    limits: Limits = Limits()


class MarketRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a venue demands of an order on one symbol: base-unit steps and bounds, quote minimum, price tick, highest leverage."""

    venue: Venue
    symbol: str
    step: Decimal
    tick: Decimal
    min_quantity: Decimal = Decimal(0)
    max_quantity: Decimal | None = None
    min_notional: Decimal = Decimal(0)
    max_leverage: Decimal = Decimal(1)
    active: bool = True


class VenuePosition(msgspec.Struct, frozen=True):
    """One position as the venue reports it: signed base quantity (spot: the free and locked base balance), entry price if known."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal | None = None
