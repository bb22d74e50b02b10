"""A paper venue beside a real one, behind one port: an account's keys say which of the two it trades at (`Credential.paper`).

Rules and prices are the real venue's, for both. A paper venue that is away holds up its own accounts and nobody else's.
"""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

from engine.domain.messages import PlaceOrder
from engine.domain.reports import OpenOrder
from engine.domain.values import MarketRules, Venue
from engine.exchanges.port import (
    AccountView,
    Answer,
    CallFailed,
    Credential,
    Exchange,
    Funding,
    Judgement,
    OrderRequest,
    OrderState,
    Verdict,
)

log = logging.getLogger(__name__)


class PaperBeside:
    """`real` and `paper` are adapters of one venue on two nets."""

    def __init__(self, real: Exchange, paper: Exchange) -> None:
        self.venue: Venue = real.venue
        self.resend_safe, self.signed_rules = real.resend_safe, real.signed_rules
        self._real, self._paper = real, paper
        self._paper_started = False
        self._lock = asyncio.Lock()

    async def _of(self, keys: Credential) -> Exchange:
        """Where the account is; the paper venue is started when it is first needed. Raises `CallFailed`."""
        if not keys.paper:
            return self._real
        async with self._lock:
            if not self._paper_started:
                await self._paper.start()
                self._paper_started = True
        return self._paper

    async def start(self) -> None:
        """Load the real venue's markets."""
        await self._real.start()

    def rules(self) -> tuple[MarketRules, ...]:
        """The real venue's."""
        return self._real.rules()

    async def load_signed_rules(self, keys: Credential) -> None:
        """With a real account's keys."""
        assert not keys.paper, "a paper account knows nothing of the real venue"
        await self._real.load_signed_rules(keys)

    async def marks(self) -> dict[str, Decimal]:
        """The real venue's."""
        return await self._real.marks()

    async def sync_clock(self) -> None:
        """Both clocks; the paper venue may be away."""
        await self._real.sync_clock()
        if self._paper_started:
            try:
                await self._paper.sync_clock()
            except CallFailed as error:
                log.warning("clock of the paper venue %s not measured: %s", self.venue, error)

    async def place(self, keys: Credential, request: OrderRequest) -> Answer:
        """One POST where the account is."""
        try:
            exchange = await self._of(keys)
        except CallFailed as error:
            return Answer(Judgement(Verdict.NOT_SENT, reason=str(error)))
        return await exchange.place(keys, request)

    async def find(self, keys: Credential, order: PlaceOrder) -> OrderState | None:
        """Where the account is."""
        return await (await self._of(keys)).find(keys, order)

    async def search(self, keys: Credential, order: PlaceOrder, since_ms: int) -> tuple[OrderState | None, bool]:
        """Where the account is."""
        return await (await self._of(keys)).search(keys, order, since_ms)

    async def details(self, keys: Credential, order: PlaceOrder, state: OrderState) -> OrderState:
        """Where the account is."""
        return await (await self._of(keys)).details(keys, order, state)

    async def account(self, keys: Credential, marks: dict[str, Decimal]) -> AccountView:
        """Where the account is."""
        return await (await self._of(keys)).account(keys, marks)

    async def open_orders(self, keys: Credential) -> tuple[OpenOrder, ...]:
        """Where the account is."""
        return await (await self._of(keys)).open_orders(keys)

    async def funding(self, keys: Credential, since_ms: int) -> list[Funding]:
        """Where the account is."""
        return await (await self._of(keys)).funding(keys, since_ms)

    async def set_leverage(self, keys: Credential, symbol: str, leverage: Decimal) -> Judgement:
        """Where the account is."""
        try:
            exchange = await self._of(keys)
        except CallFailed as error:
            return error.judgement
        return await exchange.set_leverage(keys, symbol, leverage)

    async def check(self, keys: Credential) -> tuple[str, ...]:
        """Where the account is."""
        return await (await self._of(keys)).check(keys)
