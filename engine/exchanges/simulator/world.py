"""The one object that handlers see: engine, prices, accounts, ledger, clock and knobs; and the shape of a route."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from engine.exchanges.simulator.accounts import Registry
from engine.exchanges.simulator.clock import Clock
from engine.exchanges.simulator.ledger import Ledger
from engine.exchanges.simulator.matching import Engine
from engine.exchanges.simulator.model import Account, Market, NewOrder, Order, Refused
from engine.exchanges.simulator.prices import PricePath
from engine.exchanges.simulator.wire import Call

DAY_MS: Final = 86_400_000


@dataclass(slots=True)
class World:
    """Everything behind the HTTP surface. `async_ms`: how long after its ack Bybit executes an order."""

    markets: dict[str, dict[str, Market]]
    prices: PricePath
    engine: Engine
    ledger: Ledger
    registry: Registry
    clock: Clock
    async_ms: float = 1.0
    countdowns: dict[tuple[str, str], asyncio.TimerHandle] = field(default_factory=dict)
    """By API key and market id, when the account's open orders there end."""

    def place(self, call: Call, ask: NewOrder, check: Callable[[], None]) -> Order:
        """Record the arrival, run the venue's checks, admit the order. Refusals are in the ledger, then raised."""
        account = call.owner
        self.ledger.received(account, ask.market, ask.client_id, ask.side, ask.quantity, call.received_us)
        try:
            check()
            self.engine.check(account, ask)
        except Refused as refusal:
            self.ledger.refused(account, ask.client_id, refusal.reason)
            raise
        order = self.engine.admit(account, ask, call.received_us)
        call.orders.append(order)
        return order

    def execute_after_ack(self, call: Call, order: Order) -> None:
        """Bybit's way: the reply says accepted, matching (or a late rejection) comes `async_ms` after it."""
        if call.fault == "ack_then_reject":
            asyncio.get_running_loop().call_later(self.async_ms / 1000, self.engine.end, order, "REJECTED", "late")
        elif self.async_ms:
            asyncio.get_running_loop().call_later(self.async_ms / 1000, self.engine.execute, order)
        else:
            self.engine.execute(order)

    def visible(self, order: Order) -> bool:
        """Queries can see the order already (it is not lagging)."""
        return order.visible_ms <= self.clock.now_ms()

    def open_orders(self, account: Account, market: Market | None = None) -> list[Order]:
        """The account's visible open orders, oldest first."""
        now = self.clock.now_ms()
        return [o for o in account.open_orders.values() if (market is None or o.market is market) and o.visible_ms <= now]

    def seen(self, account: Account, market: Market | None = None) -> list[Order]:
        """The account's visible orders, oldest first."""
        now = self.clock.now_ms()
        return [o for o in account.orders.values() if (market is None or o.market is market) and o.visible_ms <= now]


Handler = Callable[[World, Call], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: who may call it (`none`, `key`, `signed`), its weight on the IP (`weight_all` without a symbol), what faults it
    belongs to (`kind`), which limit of the account counts it (`group`)."""

    handler: Handler
    auth: str = "none"
    weight: int = 1
    kind: str = "other"
    group: str = ""
    weight_all: int = 0
