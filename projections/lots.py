"""One lot as the read model sees it: its row enters, facts are folded as the engine folds them, the row leaves.

A lot is what a follower holds of a venue's symbol because of one whale. `cost` is what is held did cost; entry is cost / filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from engine.domain.messages import PlaceOrder
from engine.domain.values import Direction, Mode
from projections.ids import user_id
from projections.staging import when

ZERO: Final = Decimal(0)
COLUMNS: Final = (
    "id",
    "user_id",
    "exchange",
    "symbol",
    "side",
    "quantity",
    "entry_price",
    "leverage",
    "status",
    "realized_pnl",
    "opened_at",
    "closed_at",
    "follower_key",
    "whale_key",
    "mode",
    "filled",
    "pending",
    "reserved",
    "cost",
    "realized",
    "fee_base",
    "fee_quote",
    "funding",
    "dust",
    "drift",
    "updated_at",
    "version",
)


class LotKey(NamedTuple):
    """What makes a lot one lot."""

    follower_id: str
    venue: str
    symbol: str
    direction: Direction
    mode: Mode
    whale_id: str


@dataclass(slots=True)
class Lot:
    """The state of one row. `opened_at` and `closed_at` are texts as the table has them."""

    number: int
    leverage: int = 1
    realized: Decimal = ZERO
    filled: Decimal = ZERO
    pending: Decimal = ZERO
    reserved: Decimal = ZERO
    cost: Decimal = ZERO
    fee_base: Decimal = ZERO
    fee_quote: Decimal = ZERO
    funding: Decimal = ZERO
    dust: Decimal = ZERO
    drift: Decimal = ZERO
    opened_at: str = ""
    closed_at: str | None = None
    updated_at: str = ""
    version: int = 0

    @property
    def empty(self) -> bool:
        """Nothing held and nothing under way."""
        return not (self.filled or self.pending or self.reserved)

    def touch(self, at: int) -> None:
        """One more event."""
        self.version += 1
        self.updated_at = when(at)

    def settle(self, was_empty: bool, at: int) -> None:
        """Note when it began or ended."""
        if was_empty and not self.empty:
            self.opened_at, self.closed_at = when(at), None
        elif self.empty:
            self.opened_at = self.opened_at or when(at)
            self.closed_at = self.closed_at if was_empty and self.closed_at else when(at)

    def gain(self, gross: Decimal, net: Decimal, price: Decimal) -> None:
        """An open was filled: `gross` was paid for, `net` is what was left of it."""
        self.filled += net
        self.cost += gross * price

    def shrink(self, after: Decimal) -> None:
        """Less is held; what is left did cost its share."""
        if after <= 0 or not self.filled:
            self.filled = self.cost = ZERO
        else:
            self.cost = self.cost * after / self.filled
            self.filled = after

    def profit(self, direction: Direction, quantity: Decimal, price: Decimal) -> Decimal:
        """What leaving `quantity` at `price` brings, before fees: only shadow exits need it, the engine tells it for the others."""
        if not self.filled:
            return ZERO
        bought = self.cost if quantity == self.filled else self.cost * quantity / self.filled
        sold = quantity * price
        return sold - bought if direction == "long" else bought - sold

    def row(self, key: LotKey) -> tuple[object, ...]:
        """As `COLUMNS`."""
        entry = self.cost / self.filled if self.filled else None
        status = "open" if self.filled else "closed" if self.empty else "pending"
        return (
            self.number,
            user_id(key.follower_id),
            key.venue,
            key.symbol,
            key.direction,
            self.filled,
            entry,
            self.leverage,
            status,
            self.realized,
            self.opened_at,
            self.closed_at,
            key.follower_id,
            key.whale_id,
            key.mode,
            self.filled,
            self.pending,
            self.reserved,
            self.cost,
            self.realized,
            self.fee_base,
            self.fee_quote,
            self.funding,
            self.dust,
            self.drift,
            self.updated_at,
            self.version,
        )


def key_of_order(order: PlaceOrder) -> LotKey:
    """The lot that an order opens or exits: an exit's side is the opposite of its lot's."""
    direction: Direction = "long" if (order.side == "buy") == (order.kind == "open") else "short"
    return LotKey(order.follower_id, order.venue, order.symbol, direction, order.mode, order.whale_id)
