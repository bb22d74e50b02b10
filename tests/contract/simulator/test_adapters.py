"""The executor's adapters against the simulator alone: what they ask, and what they make of the answers over time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from engine.config import Settings
from engine.domain.ids import command_id
from engine.domain.messages import PlaceOrder
from engine.domain.values import Venue
from engine.exchanges import binance, binance_usdm, bybit
from engine.exchanges.port import CallFailed, Credential, Exchange, Hint, OrderRequest, Verdict
from engine.exchanges.session import open_net
from engine.exchanges.simulator import Options, Simulator
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import Route
from engine.exchanges.venues import ADAPTERS
from engine.exchanges.wire import now_ms
from engine.executor.jobs import Account
from engine.executor.leverage import LeverageBook
from tests.contract.simulator.clients import KEY, SECRET, admin
from tests.contract.simulator.conftest import register

DAY_MS = 86_400_000
SYMBOL = {"binance": "BTC/USDT", "bybit": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT", "bybitlinear": "BTC/USDT:USDT"}


class Desk:
    """One adapter and the test account."""

    def __init__(self, simulator: Simulator, exchange: Exchange) -> None:
        self.simulator, self.exchange, self.venue = simulator, exchange, exchange.venue
        self.keys = Credential("f", exchange.venue, SecretStr(KEY), SecretStr(SECRET))
        self.number = 0

    def order(self, price: str | None = None, side: str = "buy") -> PlaceOrder:
        """An order of 0.01; without a price an exit."""
        self.number += 1
        return PlaceOrder(
            command_id=command_id(f"adapter-{self.number}", self.venue),
            follower_id="f",
            venue=self.venue,
            symbol=SYMBOL[self.venue],
            side=side,  # type: ignore[arg-type]
            quantity=Decimal("0.01"),
            kind="open" if price else "exit",
            cause="test",
            limit_price=Decimal(price) if price else None,
        )

    async def place(self, order: PlaceOrder) -> int:
        """Send it; gives when."""
        sent = now_ms()
        request = OrderRequest(order.command_id, order.symbol, order.side, order.quantity, order.limit_price, order.reduce_only, sent, 5000)
        answer = await self.exchange.place(self.keys, request)
        assert answer.judgement.verdict is Verdict.ACCEPTED, answer
        return sent

    async def later(self, days: float) -> None:
        """The venue's clock goes on; ours is measured against it anew."""
        await admin(self.simulator, "/_clock", {"offset_ms": int(days * DAY_MS)})
        await self.exchange.sync_clock()


@pytest.fixture
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """The adapter of the venue that the test names."""
    made = Simulator(Options(bybit_async_ms=0))
    register(made)
    await made.start()
    net = open_net(Settings(exchange_url=made.url))
    exchange = ADAPTERS[request.param](net)
    await exchange.start()
    await exchange.marks()
    yield Desk(made, exchange)
    exchange.rack.close()  # type: ignore[attr-defined]
    await net.close()
    await made.stop()


def at(*venues: Venue) -> Any:
    """The test at these venues."""
    return pytest.mark.parametrize("desk", venues, indirect=True)


@at("binance")
async def test_an_archived_order_is_one_that_ended_unfilled(desk: Desk) -> None:
    order = desk.order("40000")
    sent = await desk.place(order)
    await desk.later(91)
    found = await desk.exchange.find(desk.keys, order)
    assert found is not None and (found.final, found.complete, found.filled, found.status) == (True, True, 0, "ARCHIVED")
    assert await desk.exchange.search(desk.keys, order, sent) == (found, False), "it was there: not absent"


@at("binanceusdm")
async def test_what_usdm_forgets_is_absent_to_every_source(desk: Desk) -> None:
    """An order that ended unfilled is gone after three days; one that traded is found for years, by its trades' order."""
    empty, traded = desk.order("40000"), desk.order("90000")
    sent = await desk.place(empty)
    await desk.place(traded)
    await desk.later(4)
    assert await desk.exchange.search(desk.keys, empty, sent) == (None, True)
    found, absent = await desk.exchange.search(desk.keys, traded, sent)
    assert found is not None and not absent and (found.filled, found.complete) == (Decimal("0.01"), True)


@at("bybit", "bybitlinear")
async def test_bybit_history_by_id_knows_what_its_lists_no_longer_show(desk: Desk) -> None:
    """Eight days on and after a restart no list shows the trade by time, history by id does; an unfilled order is gone in a day."""
    empty, traded = desk.order("40000"), desk.order("90000")
    sent = await desk.place(empty)
    await desk.place(traded)
    await admin(desk.simulator, "/_faults", {"action": "restart"})
    await desk.later(8)
    assert await desk.exchange.search(desk.keys, empty, sent) == (None, True)
    found, absent = await desk.exchange.search(desk.keys, traded, sent)
    assert found is not None and not absent and (found.status, found.filled) == ("Filled", Decimal("0.01"))


@at("bybit", "bybitlinear")
async def test_fees_are_read_from_the_executions(desk: Desk) -> None:
    order = desk.order("90000")
    await desk.place(order)
    state = await desk.exchange.find(desk.keys, order)
    assert state is not None
    recent = await desk.exchange.details(desk.keys, order, state)
    assert recent.filled == Decimal("0.01") and recent.fee_base + recent.fee_quote > 0
    (fill,) = desk.simulator.world.registry.by_key["bybit", KEY].fills
    assert fill.fee in (recent.fee_base, recent.fee_quote)
    assert (recent.fee_base > 0) == (desk.venue == "bybit"), "a spot buy pays in base"


@at("bybitlinear")
async def test_fees_that_do_not_add_up_yet_are_asked_for_again(desk: Desk) -> None:
    order = desk.order("90000")
    await desk.place(order)
    state = await desk.exchange.find(desk.keys, order)
    assert state is not None
    (placed,) = desk.simulator.world.registry.by_key["bybit", KEY].orders.values()
    placed.fills.clear()
    with pytest.raises(CallFailed, match="do not add up"):
        await desk.exchange.details(desk.keys, order, state)


@at("binanceusdm")
async def test_highest_leverage_comes_from_the_brackets(desk: Desk) -> None:
    before = {rule.symbol: rule.max_leverage for rule in desk.exchange.rules()}
    assert set(before.values()) == {20}, "what a fresh account has"
    await desk.exchange.load_signed_rules(desk.keys)
    highest = {rule.symbol: rule.max_leverage for rule in desk.exchange.rules()}
    listed = {market.symbol: market.max_leverage for market in desk.simulator.world.markets["binanceusdm"].values()}
    assert highest == {symbol: listed[symbol] for symbol in highest}
    assert (highest["BTC/USDT:USDT"], highest["LTC/USDT:USDT"]) == (125, 50)


@at("binanceusdm", "bybitlinear")
async def test_funding_is_listed_oldest_first_over_pages_and_windows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance_usdm, "INCOME_PAGE", 3)
    await desk.place(desk.order("90000"))
    for number in range(100):
        await admin(desk.simulator, "/_clock", {"offset_ms": int(number * DAY_MS / 12)})
        rate = "0.0001" if number % 2 else "-0.0001"
        await admin(desk.simulator, "/_funding", {"venue": desk.venue, "symbol": "BTC/USDT:USDT", "rate": rate})
    await desk.exchange.sync_clock()
    paid = await desk.exchange.funding(desk.keys, now_ms() - 17 * DAY_MS // 2)
    newest = await desk.exchange.funding(desk.keys, now_ms() - DAY_MS // 24)
    truth = desk.simulator.world.registry.by_key["binanceusdm" if desk.venue == "binanceusdm" else "bybit", KEY].payments
    assert [(row.symbol, row.amount, row.at) for row in paid] == [("BTC/USDT:USDT", each.amount, each.at_ms) for each in truth]
    assert len({row.funding_id for row in paid}) == 100
    assert newest == paid[-1:]


@at("binance", "bybit")
async def test_spot_pays_no_funding_and_tells_everything_in_public(desk: Desk) -> None:
    await desk.exchange.load_signed_rules(desk.keys)
    assert await desk.exchange.funding(desk.keys, 0) == []
    assert not desk.exchange.signed_rules


@at("binance", "binanceusdm", "bybit", "bybitlinear")
async def test_fees_of_an_order_with_more_trades_than_a_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance, "TRADES_PAGE", 3)
    monkeypatch.setattr(bybit, "EXECUTIONS_PAGE", 3)
    order = msgspec.structs.replace(desk.order("70000"), quantity=Decimal(5))
    await desk.place(order)
    state = await desk.exchange.find(desk.keys, order)
    assert state is not None and state.filled == 5
    whole = await desk.exchange.details(desk.keys, order, state)
    fills = desk.simulator.world.registry.by_key["bybit" if desk.venue.startswith("bybit") else desk.venue, KEY].fills
    assert len(fills) > 6
    assert whole.fee_base + whole.fee_quote == sum(fill.fee for fill in fills)


@at("binanceusdm")
async def test_a_search_over_more_than_a_week_asks_week_by_week(desk: Desk) -> None:
    order = desk.order("40000")
    sent = await desk.place(order)
    await desk.later(16)
    before = desk.simulator.dispatcher.requests.copy()
    assert await desk.exchange.search(desk.keys, order, sent - 16 * DAY_MS) == (None, True)
    asked = desk.simulator.dispatcher.requests - before
    assert asked["binanceusdm GET /fapi/v1/allOrders"] == asked["binanceusdm GET /fapi/v1/userTrades"] == 3


@at("bybit", "bybitlinear")
async def test_an_order_with_another_id_is_not_ours(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that overlooks what it is asked by shows any order of the market."""
    other, ours = desk.order("40000"), desk.order("40000")
    await desk.place(other)
    run = desk.simulator.dispatcher.run

    def overlooking(call: Call, route: Route) -> Any:
        call.params.pop("orderLinkId", None)
        call.params |= {"openOnly": "1", "settleCoin": "USDT"}
        return run(call, route)

    monkeypatch.setattr(desk.simulator.dispatcher, "run", overlooking)
    assert await desk.exchange.find(desk.keys, ours) is None
    assert await desk.exchange.find(desk.keys, other) is not None


@pytest.mark.parametrize(
    ("desk", "flags", "reason"),
    [
        ("binanceusdm", {"multi_assets": True}, "multi_assets_mode"),
        ("binanceusdm", {"hedge": True}, "hedge_mode"),
        ("bybitlinear", {"margin_mode": "PORTFOLIO_MARGIN"}, "portfolio_margin"),
        ("bybitlinear", {"hedge": True}, "hedge_mode"),
    ],
    indirect=["desk"],
)
async def test_modes_that_refuse_live_trading(desk: Desk, flags: dict[str, Any], reason: str) -> None:
    assert await desk.exchange.check(desk.keys) == ()
    register(desk.simulator, reset=True, **flags)
    assert await desk.exchange.check(desk.keys) == (reason,)


@at("binance", "binanceusdm", "bybit", "bybitlinear")
async def test_a_market_that_the_venue_no_longer_lists_ends_nothing_but_its_own_orders(desk: Desk) -> None:
    """A market that goes from the venue's list while an order there is in doubt: the order is still found, a new one is refused here."""
    order = desk.order("90000")
    sent = await desk.place(order)
    markets = desk.exchange.rack.prototype.markets  # type: ignore[attr-defined]
    gone = {symbol: market for symbol, market in markets.items() if symbol != order.symbol}
    desk.exchange.rack.prototype.set_markets(list(gone.values()))  # type: ignore[attr-defined]
    desk.exchange.rack._drop_idle()  # type: ignore[attr-defined]
    found, absent = await desk.exchange.search(desk.keys, order, sent)
    assert found is not None and not absent and found.filled == Decimal("0.01")
    assert (await desk.exchange.set_leverage(desk.keys, order.symbol, Decimal(2))).verdict is Verdict.ACCEPTED
    again = OrderRequest("x" * 32, order.symbol, "buy", order.quantity, order.limit_price, False, now_ms(), 5000)
    answer = await desk.exchange.place(desk.keys, again)
    assert (answer.judgement.verdict, answer.judgement.hint) == (Verdict.NOT_SENT, Hint.LOCAL)


@at("binanceusdm", "bybitlinear")
async def test_leverage_is_set_again_for_other_keys(desk: Desk) -> None:
    """New keys may be those of another account at the venue, whose leverage is its own."""
    book, account = LeverageBook({desk.venue: desk.exchange}, lambda account: None), Account("f", desk.venue)
    registry, market = desk.simulator.world.registry, desk.simulator.world.markets[desk.venue]["BTCUSDT"]
    exchange = "bybit" if desk.venue == "bybitlinear" else desk.venue
    other = registry.by_key[exchange, KEY + "-2"] = replace(registry.by_key[exchange, KEY], api_key=KEY + "-2", leverage={})
    order = msgspec.structs.replace(desk.order("90000"), leverage=Decimal(3))
    for keys in (desk.keys, replace(desk.keys, api_key=SecretStr(other.api_key), version=2)):
        assert (await book.prepare(account, keys, order)).verdict is Verdict.ACCEPTED
    assert registry.by_key[exchange, KEY].leverage_of(market) == other.leverage_of(market) == 3
