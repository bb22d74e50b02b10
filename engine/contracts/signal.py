"""`whale.signals.v1`: what a detector says about one trade of a whale."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from engine.contracts.types import Amount, Contract, Id, PositiveAmount, Priority, SignedAmount, Symbol, Timestamp, TradeType, wrong

SIGNAL_TYPE: Final = "remora.whale.signal.v1"
"""`ce_type` of version 1. An incompatible change gets a new type; compatible ones only add optional fields."""
DEFAULT_EXPIRY: Final = timedelta(seconds=60)
GROWING: Final = frozenset({"open", "increase"})
EXITS: Final = frozenset({"reduce", "close"})

_PERPETUAL: Final = re.compile(r"[^/:]+/([^/:]+):\1")

_CONDITIONS: Final[dict[str, Any]] = {
    "dependentRequired": {"position_before": ["position_after"], "position_after": ["position_before"]},
    "allOf": [
        {
            "if": {"properties": {"action": {"enum": ["reduce", "flip"]}}},
            "then": {"required": ["position_before", "position_after"]},
        },
        {
            "if": {"properties": {"trade_type": {"const": "spot"}}},
            "then": {"properties": {"symbol": {"pattern": "^[^:]+$"}, "action": {"enum": ["open", "increase", "reduce", "close"]}}},
            "else": {"properties": {"symbol": {"pattern": "^[^/:]+/([^/:]+):\\1$"}}},
        },
    ],
}


class WhaleSignal(Contract):
    """One trade of a whale. Amounts are strings; positions are the whale's own, signed, in base units (negative is short)."""

    model_config = ConfigDict(title="WhaleSignal v1", json_schema_extra=_CONDITIONS)
    TYPE: ClassVar[str] = SIGNAL_TYPE

    signal_id: Annotated[Id, Field(description="Unique per source and whale; a repeat is a no-op.")]
    whale_id: Annotated[Id, Field(description="Who traded; also the record's key.")]
    source: Annotated[Literal["whale", "onchain", "exchange", "manual"], Field(description="Where it was seen.")] = "whale"
    symbol: Annotated[Symbol, Field(description="ccxt unified symbol: BTC/USDT (spot) or BTC/USDT:USDT (linear perpetual).")]
    trade_type: Annotated[TradeType, Field(description="Must fit the symbol.")]
    action: Annotated[
        Literal["open", "increase", "reduce", "close", "flip"],
        Field(description="open: from flat; close: to flat; flip: through zero to the other side (futures only)."),
    ]
    side: Annotated[Literal["buy", "sell"], Field(description="Side of the whale's own fill.")]
    whale_order_id: Annotated[Id | None, Field(description="Fills of one order share it.")] = None
    quantity: Annotated[PositiveAmount, Field(description="Base units of the whale's fill.")]
    price: Annotated[PositiveAmount, Field(description="Quote price of the whale's fill.")]
    position_before: Annotated[SignedAmount | None, Field(description="Required for reduce and flip.")] = None
    position_after: Annotated[SignedAmount | None, Field(description="Required for reduce and flip.")] = None
    whale_equity: Annotated[Amount | None, Field(description="The whale's account equity in quote.")] = None
    leverage: Annotated[PositiveAmount | None, Field(description="The whale's leverage.")] = None
    priority: Priority = "medium"
    detected_at: Annotated[Timestamp, Field(description="When the detector saw it; published later than 24 h after it: too_old.")]
    expires_at: Annotated[Timestamp | None, Field(description="Opens: 60 s after detected_at when absent. Exits never expire.")] = None
    whale_time: Annotated[Timestamp | None, Field(description="When the whale's fill happened, if that is another time.")] = None

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        self._check_market()
        self._check_positions()
        if self.expires_at is not None and self.expires_at <= self.detected_at:
            raise wrong("expires_at", self.expires_at, "a time after detected_at")
        return self

    def _check_market(self) -> None:
        if self.trade_type == "futures":
            if not _PERPETUAL.fullmatch(self.symbol):
                raise wrong("symbol", self.symbol, "a linear perpetual such as BTC/USDT:USDT, since trade_type is futures")
            return
        if ":" in self.symbol:
            raise wrong("symbol", self.symbol, "a spot symbol such as BTC/USDT, since trade_type is spot")
        if self.action == "flip":
            raise wrong("action", self.action, "open, increase, reduce or close, since trade_type is spot")
        if self.side != ("buy" if self.action in GROWING else "sell"):
            raise wrong("side", self.side, f"buy for open and increase, sell for reduce and close on spot; action is {self.action}")

    def _check_positions(self) -> None:
        before, after = self.position_before, self.position_after
        if before is None or after is None:
            missing = "position_before" if before is None else "position_after"
            if self.action in ("reduce", "flip"):
                raise wrong(missing, "(missing)", f"the whale's position, since action is {self.action}")
            if before is not after:
                raise wrong(missing, "(missing)", "position_before and position_after, both or none")
            return
        if not _position_fits(self.action, before, after):
            raise wrong("position_after", after, f"{_MEANING[self.action]}; position_before is {before}")
        if (after > before) != (self.side == "buy"):
            raise wrong("side", self.side, f"the side that leads from {before} to {after}")
        if self.trade_type == "spot" and min(before, after) < 0:
            raise wrong("position_after", after, "zero or more, since trade_type is spot")


_MEANING: Final = {
    "open": "a larger position on the same side (open)",
    "increase": "a larger position on the same side (increase)",
    "reduce": "a smaller position on the same side (reduce)",
    "close": "zero from a position (close)",
    "flip": "a position on the other side (flip)",
}


def _position_fits(action: str, before: Decimal, after: Decimal) -> bool:
    if action in GROWING:
        return abs(after) > abs(before) and before * after >= 0
    if action == "reduce":
        return abs(after) < abs(before) and before * after >= 0
    if action == "close":
        return before != 0 and after == 0
    return before * after < 0
