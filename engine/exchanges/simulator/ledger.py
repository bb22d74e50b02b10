"""The truth: which client order id executed how often. Written by the matching engine only, read by `GET /_ledger`.

An entry is one (exchange, API key, client order id). `executions` counts the orders that the matching engine took under that id
(also those that expired without a fill); an order refused before the engine, or turned down by it, counts as `rejections`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO

import orjson

from engine.exchanges.simulator.model import ZERO, Account, Market, Order, plain


@dataclass(slots=True)
class Entry:
    """All that happened under one client order id of one account."""

    account: Account
    market: Market
    client_id: str
    side: str
    requested: Decimal
    received_us: int
    last_received_us: int
    requests: int = 0
    rejections: int = 0
    last_refusal: str = ""
    orders: list[Order] = field(default_factory=list)

    def describe(self) -> dict[str, object]:
        """The entry as JSON: amounts as exact decimal strings, times in milliseconds (and microseconds of arrival)."""
        taken = [order for order in self.orders if order.status != "REJECTED"]
        executed = sum((order.filled for order in taken), ZERO)
        quote = sum((order.quote for order in taken), ZERO)
        fees: dict[str, Decimal] = {}
        for order in taken:
            for asset, amount in order.fees().items():
                fees[asset] = fees.get(asset, ZERO) + amount
        return {
            "exchange": self.account.exchange,
            "venue": self.market.venue,
            "api_key": self.account.api_key,
            "account": self.account.label,
            "client_order_id": self.client_id,
            "symbol": self.market.symbol,
            "market_id": self.market.id,
            "side": self.side,
            "requested": plain(self.requested),
            "requests": self.requests,
            "executions": len(taken),
            "filled_orders": sum(1 for order in taken if order.filled),
            "rejections": self.rejections + len(self.orders) - len(taken),
            "last_refusal": self.last_refusal,
            "executed": plain(executed),
            "quote": plain(quote),
            "average": plain((quote / executed).quantize(Decimal("1e-10"))) if executed else "0",
            "fees": {asset: plain(amount) for asset, amount in fees.items()},
            "received_at": self.received_us // 1000,
            "received_us": self.received_us,
            "last_received_us": self.last_received_us,
            "executed_at": taken[0].updated_ms if taken else None,
            "status": self.orders[-1].status if self.orders else "REFUSED",
            "order_ids": [str(order.id) for order in self.orders],
        }


class Ledger:
    """Entries in order of first arrival; `file`, if given, gets one JSON line for every change (flushed at once)."""

    def __init__(self, file: Path | None = None) -> None:
        self.entries: dict[tuple[str, str, str], Entry] = {}
        self._file: IO[bytes] | None = file.open("ab", buffering=0) if file else None
        self.orders_received = 0
        self.first_received_us = 0
        self.last_received_us = 0

    def received(self, account: Account, market: Market, client_id: str, side: str, quantity: Decimal, received_us: int) -> Entry:
        """An authenticated order request arrived."""
        self.orders_received += 1
        self.first_received_us = self.first_received_us or received_us
        self.last_received_us = received_us
        key = (account.exchange, account.api_key, client_id)
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = Entry(account, market, client_id, side, quantity, received_us, received_us)
        entry.requests += 1
        entry.last_received_us = received_us
        return entry

    def taken(self, order: Order) -> None:
        """The matching engine took an order."""
        self.entries[(order.account.exchange, order.account.api_key, order.ask.client_id)].orders.append(order)

    def refused(self, account: Account, client_id: str, reason: str) -> None:
        """An order request was refused before the matching engine."""
        entry = self.entries.get((account.exchange, account.api_key, client_id))
        if entry is not None:
            entry.rejections += 1
            entry.last_refusal = reason

    def changed(self, order: Order) -> None:
        """An order filled or ended: append it to the file."""
        if self._file is not None:
            entry = self.entries[(order.account.exchange, order.account.api_key, order.ask.client_id)]
            self._file.write(orjson.dumps(entry.describe(), option=orjson.OPT_APPEND_NEWLINE))

    def page(self, after: int, limit: int) -> tuple[list[dict[str, object]], int | None]:
        """Entries from position `after`, at most `limit`, and where the next page starts."""
        entries = list(self.entries.values())
        end = after + limit
        return [entry.describe() for entry in entries[after:end]], end if end < len(entries) else None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
