"""One lot as the read model sees it: its row enters, facts are folded as the engine folds them, the row leaves.

A lot is what a follower holds of a venue's symbol because of one whale. `cost` is what is held did cost; entry is cost / filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from projections.staging import NULL, text, when, who
from projections.views import OrderView

ZERO: Final = Decimal(0)
COLUMNS: Final = (
    "id",
    "user_id",
    "follower_key",
    "exchange",
    "symbol",
    "side",
    "mode",
    "whale_key",
    "quantity",
    "entry_price",
    "leverage",
    "status",
    "realized_pnl",
    "opened_at",
    "closed_at",
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
LotKey = tuple[str, str, str, str, str, str]
"""Follower, venue, venue's symbol, direction, mode, whale: what makes a lot one lot."""


@dataclass(slots=True)
class Lot:
    """The state of one row. `opened_at` and `closed_at` are texts as the table has them, `updated_at` is the shard time in ms."""

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
    updated_at: int = 0
    version: int = 0

    @property
    def empty(self) -> bool:
        """Nothing held and nothing under way."""
        return not (self.filled or self.pending or self.reserved)

    def touch(self, at: int) -> None:
        """One more event."""
        self.version += 1
        self.updated_at = at

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

    def profit(self, direction: str, quantity: Decimal, price: Decimal) -> Decimal:
        """What leaving `quantity` at `price` brings, before fees: only shadow exits need it, the engine tells it for the others."""
        if not self.filled:
            return ZERO
        bought = self.cost if quantity == self.filled else self.cost * quantity / self.filled
        sold = quantity * price
        return sold - bought if direction == "long" else bought - sold

    def line(self, key: LotKey) -> str:
        """As `COLUMNS`."""
        follower, venue, symbol, direction, mode, whale = key
        entry = self.cost / self.filled if self.filled else NULL
        status = "open" if self.filled else "closed" if self.empty else "pending"
        return (
            f"{self.number}\t{who(follower)}\t{venue}\t{text(symbol)}\t{direction}\t{mode}\t{text(whale)}\t{self.filled}\t{entry}\t"
            f"{self.leverage}\t{status}\t{self.realized}\t{self.opened_at}\t{self.closed_at or NULL}\t{self.filled}\t{self.pending}\t"
            f"{self.reserved}\t{self.cost}\t{self.realized}\t{self.fee_base}\t{self.fee_quote}\t{self.funding}\t{self.dust}\t{self.drift}\t"
            f"{when(self.updated_at)}\t{self.version}"
        )


def key_of_order(order: OrderView) -> LotKey:
    """The lot that an order opens or exits: an exit's side is the opposite of its lot's."""
    direction = "long" if (order.side == "buy") == (order.kind == "open") else "short"
    return (order.follower_id, order.venue, order.symbol, direction, order.mode, order.whale_id)
