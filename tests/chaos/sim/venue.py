"""An executor's adapter to one virtual venue (`engine.exchanges.port.Exchange`): requests travel, replies are judged by the real judge."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from decimal import Decimal

from engine.domain.messages import PlaceOrder
from engine.domain.values import MarketRules, Venue, VenuePosition
from engine.exchanges.judge import Reply, judge_binance, judge_bybit
from engine.exchanges.port import AccountView, Answer, CallFailed, Credential, Funding, Hint, Judgement, OrderRequest, OrderState, Verdict
from tests.chaos.sim.exchange import Book, Placed, price_of, rules_of, symbols_of
from tests.chaos.sim.loop import rest

TIMEOUT_S = 2.5
UNREADABLE = CallFailed(Judgement(Verdict.UNKNOWN, Hint.NONE, "503", "read failed"))

_BINANCE = {
    "clock": (400, '{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'),
    "funds": (400, '{"code":-2010,"msg":"Account has insufficient balance for requested action."}'),
    "duplicate": (400, '{"code":-2010,"msg":"Duplicate order sent."}'),
    "reduce_only": (400, '{"code":-2022,"msg":"ReduceOnly Order is rejected."}'),
}
_BYBIT = {
    "clock": (200, '{"retCode":10002,"retMsg":"invalid request, please check your server timestamp or recv_window param"}'),
    "funds": (200, '{"retCode":110007,"retMsg":"ab not enough for new order"}'),
    "duplicate": (200, '{"retCode":110072,"retMsg":"OrderLinkedID is duplicate"}'),
    "reduce_only": (200, '{"retCode":110017,"retMsg":"current position is zero, cannot fix reduce-only order qty"}'),
}


class VirtualVenue:
    """One venue as one process reaches it."""

    def __init__(self, venue: Venue, book: Book) -> None:
        self.venue, self._book = venue, book
        self.is_bybit = venue.startswith("bybit")
        self.resend_safe = self.is_bybit
        self.signed_rules = False

    async def start(self) -> None:
        """Markets are known."""

    def rules(self) -> tuple[MarketRules, ...]:
        """Market rules."""
        return rules_of(self.venue)

    async def load_signed_rules(self, keys: Credential) -> None:
        """All rules are public."""

    async def funding(self, keys: Credential, since_ms: int) -> list[Funding]:
        """Nobody pays."""
        del keys, since_ms
        return []

    async def marks(self) -> dict[str, Decimal]:
        """Prices."""
        await self._read()
        return {symbol: price_of(symbol) for symbol in symbols_of(self.venue)}

    async def sync_clock(self) -> None:
        """There is one clock."""

    async def _read(self) -> None:
        await rest(self._book.random.uniform(0.002, 0.02))
        if self._book.random.random() < self._book.faults.read_failed:
            raise UNREADABLE

    async def place(self, keys: Credential, request: OrderRequest) -> Answer:
        """One POST."""
        reply = await self._post((keys.follower_id, self.venue), request)
        judgement = (judge_bybit if self.is_bybit else judge_binance)(reply, request.client_id)
        if judgement.verdict is not Verdict.ACCEPTED or self.is_bybit:
            return Answer(judgement)
        placed = self._book.orders[keys.follower_id, self.venue, request.client_id][-1]
        return Answer(judgement, self._state(placed, with_fees=self.venue == "binance"))

    def _post(self, account: tuple[str, str], request: OrderRequest) -> asyncio.Future[Reply]:
        book, loop, context = self._book, self._book.loop, copy_context()
        faults, chance = book.faults, book.random.random()
        answer: asyncio.Future[Reply] = loop.create_future()

        def reply(found: Reply) -> None:
            if not answer.done():
                answer.set_result(found)

        def arrive(late: bool, answered: bool, broken: bool) -> None:
            outcome = book.arrive(account, request, late)
            if answered:
                found = Reply(True, 503, "") if broken else self._reply(outcome, request)
                loop.call_later(book.random.uniform(0.002, 0.02), reply, found, context=context)

        loop.call_later(TIMEOUT_S, reply, Reply(True, failure="timeout"), context=context)
        travel = book.random.uniform(0.002, 0.02)
        for name in ("refused", "lost", "reply_lost", "broken", "limited", "slow"):
            chance -= getattr(faults, name)
            if chance < 0:
                break
        else:
            loop.outside(travel, arrive, False, True, False)
            return answer
        if name == "refused":
            loop.call_later(travel, reply, Reply(True, refused_connection=True), context=context)
        elif name == "limited":
            limited = Reply(True, 429, '{"code":-1003,"msg":"Too many requests."}', {"Retry-After": "1"})
            loop.call_later(travel, reply, limited, context=context)
        elif name == "slow":
            loop.outside(book.random.uniform(0.1, 4.0), arrive, False, True, False)
        elif name == "broken" and chance < -faults.broken / 2:
            loop.call_later(travel, reply, Reply(True, 503, ""), context=context)
        elif name in ("broken", "reply_lost"):
            loop.outside(travel, arrive, True, name == "broken", name == "broken")
        return answer

    def _reply(self, outcome: tuple[int, Placed | str], request: OrderRequest) -> Reply:
        _, found = outcome
        if isinstance(found, str):
            return Reply(True, *(_BYBIT if self.is_bybit else _BINANCE)[found])
        if self.is_bybit:
            result = f'{{"orderId":"{found.order_id}","orderLinkId":"{request.client_id}"}}'
            return Reply(True, 200, f'{{"retCode":0,"retMsg":"OK","result":{result}}}')
        return Reply(True, 200, f'{{"orderId":"{found.order_id}","clientOrderId":"{request.client_id}"}}')

    def _state(self, placed: Placed, with_fees: bool) -> OrderState:
        complete = placed.executed and (with_fees or not placed.filled)
        fees = (placed.fee_base, placed.fee_quote) if complete else (Decimal(0), Decimal(0))
        average = placed.price or None
        return OrderState(placed.order_id, placed.executed, placed.filled, average, *fees, "seen", placed.refused, complete)

    async def find(self, keys: Credential, order: PlaceOrder) -> OrderState | None:
        """By client id, as far as it is visible."""
        await self._read()
        placed = self._book.visible((keys.follower_id, self.venue), order.command_id)
        return None if placed is None else self._state(placed, with_fees=self.is_bybit)

    async def search(self, keys: Credential, order: PlaceOrder, since_ms: int) -> tuple[OrderState | None, bool]:
        """All sources at once."""
        del since_ms
        await self._read()
        placed = self._book.visible((keys.follower_id, self.venue), order.command_id)
        return (None, True) if placed is None else (self._state(placed, with_fees=True), False)

    async def details(self, keys: Credential, order: PlaceOrder, state: OrderState) -> OrderState:
        """With fees."""
        await self._read()
        placed = self._book.visible((keys.follower_id, self.venue), order.command_id)
        if placed is None:
            raise UNREADABLE
        assert placed.order_id == state.exchange_order_id
        return self._state(placed, with_fees=True)

    async def account(self, keys: Credential, marks: dict[str, Decimal]) -> AccountView:
        """Equity and positions of this moment."""
        del marks
        await self._read()
        account = (keys.follower_id, self.venue)
        held = self._book.held(account)
        cash = self._book.cash[account]
        equity = cash + sum((quantity * price_of(symbol) for symbol, quantity in held.items()), Decimal(0))
        return AccountView(equity, cash, tuple(VenuePosition(symbol, quantity) for symbol, quantity in held.items()))

    async def set_leverage(self, keys: Credential, symbol: str, leverage: Decimal) -> Judgement:
        """Taken."""
        del keys, symbol, leverage
        await rest(0.005)
        return Judgement(Verdict.ACCEPTED)

    async def check(self, keys: Credential) -> tuple[str, ...]:
        """All is well."""
        del keys
        return ()
