"""Matching, money and books without HTTP: given an account and a price, when an order comes, then fills and balances."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.exchanges.simulator import margin
from engine.exchanges.simulator.accounts import Registry
from engine.exchanges.simulator.clock import Clock
from engine.exchanges.simulator.ledger import Ledger
from engine.exchanges.simulator.markets import REFERENCE, build_markets, whale_price
from engine.exchanges.simulator.matching import Engine
from engine.exchanges.simulator.model import Account, NewOrder, Order, Refused, plain
from engine.exchanges.simulator.prices import BookShape, PricePath, take, take_quote

D = Decimal


class Desk:
    """One exchange account at one engine."""

    def __init__(self, venue: str = "binanceusdm", usdt: str = "10000") -> None:
        self.markets = build_markets()
        self.prices = PricePath(REFERENCE, 3, BookShape())
        self.ledger = Ledger()
        self.engine = Engine(self.markets, self.prices, self.ledger, Clock())
        self.account: Account = Registry().register({"venue": venue, "api_key": "k", "secret": "s", "usdt": usdt})
        self.market = self.markets[venue]["ETHUSDT"]
        self.number = 0

    def send(self, side: str, quantity: str, price: str = "0", **more: Any) -> Order:
        """Check, admit and execute one order."""
        self.number += 1
        kind = "LIMIT" if price != "0" else "MARKET"
        ask = NewOrder(self.market, side, kind, D(quantity), f"c{self.number}", price=D(price), **more)
        self.ledger.received(self.account, self.market, ask.client_id, side, ask.quantity, 1)
        self.engine.check(self.account, ask)
        order = self.engine.admit(self.account, ask, 1)
        self.engine.execute(order)
        return order

    def drive(self, price: str) -> None:
        """Move the coin."""
        self.prices.set(self.market.coin, D(price))
        self.engine.moved([self.market.coin])

    @property
    def usdt(self) -> Decimal:
        """The wallet."""
        return self.account.balance("USDT").total


def test_a_market_order_walks_up_the_book() -> None:
    desk = Desk(usdt="1000000")
    asks = desk.prices.book(desk.market).asks
    order = desk.send("BUY", str(asks[0][1] + asks[1][1]))
    assert [(f.price, f.quantity) for f in order.fills] == asks[:2]
    assert order.average == (order.quote / order.filled).quantize(D("1e-10"))


def test_profit_is_realised_and_fees_are_paid() -> None:
    desk = Desk()
    opened = desk.send("BUY", "1")
    desk.drive("4000")
    closed = desk.send("SELL", "1", reduce_only=True)
    fees = sum((f.fee for f in opened.fills + closed.fills), D(0))
    assert desk.usdt == 10_000 + closed.quote - opened.quote - fees
    assert desk.account.position(desk.market).quantity == 0


def test_a_flip_takes_the_new_price_as_entry() -> None:
    desk = Desk()
    desk.send("BUY", "1")
    order = desk.send("SELL", "3")
    position = desk.account.position(desk.market)
    assert (position.quantity, position.entry) == (D(-2), order.fills[-1].price)


def test_margin_is_held_for_positions_and_resting_orders() -> None:
    desk = Desk(usdt="1000")
    desk.account.leverage["ETHUSDT"] = 10
    desk.send("BUY", "2")
    free = margin.available(desk.account, desk.prices)
    assert D(295) < free < D(310)
    desk.send("BUY", "0.5", "3000")
    assert margin.available(desk.account, desk.prices) == free - D(150)
    with pytest.raises(Refused, match="insufficient_margin"):
        desk.send("BUY", "1")
    desk.send("SELL", "2")


def test_spot_money_is_put_aside_while_an_order_rests() -> None:
    desk = Desk("binance")
    order = desk.send("BUY", "1", "3000")
    wallet = desk.account.balance("USDT")
    assert (wallet.free, wallet.locked) == (D(7000), D(3000))
    desk.drive("2990")
    assert order.status == "FILLED" and order.fills[0].maker
    assert (wallet.free, wallet.locked) == (D(7000), D(0))
    assert desk.account.balance("ETH").free == D("0.999")
    desk.engine.cancel(desk.send("SELL", "0.5", "5000"))
    assert desk.account.balance("ETH").free == D("0.999")
    with pytest.raises(Refused, match="insufficient_balance"):
        desk.send("SELL", "1")


def test_spot_orders_sized_in_quote_never_spend_more() -> None:
    desk = Desk("binance")
    order = desk.send("BUY", "0", quote_quantity=D(1000))
    assert D(999) < order.quote <= D(1000) and order.status == "FILLED"
    sold = desk.send("SELL", "0", quote_quantity=D(500))
    assert D(499) < sold.quote <= D(500)


def test_fill_or_kill_and_post_only() -> None:
    desk = Desk(usdt="100000000")
    asks = desk.prices.book(desk.market).asks
    order = desk.send("BUY", "20000", str(asks[1][0]), time_in_force="FOK")
    assert (order.status, order.filled) == ("EXPIRED", 0)
    with pytest.raises(Refused, match="post_only"):
        desk.send("BUY", "1", str(asks[0][0]), post_only=True)
    assert desk.send("BUY", "1", "3000", post_only=True).status == "NEW"


def test_bybit_turns_a_crossing_post_only_order_down_after_its_ack() -> None:
    desk = Desk("bybitlinear")
    order = desk.send("BUY", "1", str(desk.prices.book(desk.market).asks[0][0]), post_only=True)
    assert (order.status, order.reject_reason) == ("REJECTED", "post_only")


def test_money_spent_between_ack_and_execution_rejects() -> None:
    desk = Desk("bybitlinear", usdt="400")
    first, second = (NewOrder(desk.market, "BUY", "MARKET", D(1), name) for name in ("a", "b"))
    for ask in (first, second):
        desk.ledger.received(desk.account, desk.market, ask.client_id, "BUY", D(1), 1)
        desk.engine.check(desk.account, ask)
    orders = [desk.engine.admit(desk.account, ask, 1) for ask in (first, second)]
    for order in orders:
        desk.engine.execute(order)
        desk.engine.execute(order)
    assert [order.status for order in orders] == ["FILLED", "REJECTED"]


def test_books_are_seeded_and_ordered() -> None:
    one, two, other = (PricePath(REFERENCE, seed, BookShape()) for seed in (1, 1, 2))
    for markets in build_markets().values():
        for market in markets.values():
            book = one.book(market)
            assert book.bids == two.book(market).bids
            assert [p for p, _ in book.bids] == sorted((p for p, _ in book.bids), reverse=True)
            assert book.bids[0][0] < book.asks[0][0] and len(book.asks) == 20
            assert all(p % market.tick == 0 and q % market.step == 0 and q > 0 for p, q in book.asks + book.bids)
    assert one.book(market).asks != other.book(market).asks


def test_taking_stops_at_the_limit_and_at_the_budget() -> None:
    levels = [(D(10), D(1)), (D(11), D(2)), (D(12), D(3))]
    assert take(levels, D(5), D(11), "BUY") == levels[:2]
    assert take(levels, D("1.5"), D(0), "BUY") == [(D(10), D(1)), (D(11), D("0.5"))]
    assert take(levels, D(5), D("11.5"), "SELL") == []
    assert take_quote(levels, D(21), D("0.1")) == [(D(10), D(1)), (D(11), D(1))]


def test_whale_prices_reach_the_path_in_its_units() -> None:
    markets = build_markets()
    assert whale_price(markets, "KBONK/USDC:USDC", D("0.004")) == ("KBONK/USDC:USDC", D("0.004"))
    assert whale_price(markets, "BONK/USDT", D("0.000004")) == ("KBONK/USDC:USDC", D("0.004"))
    assert whale_price(markets, "XYZ-CL/USDC:USDC", D(80)) is None


def test_plain_text_of_amounts() -> None:
    assert [plain(D(text)) for text in ("1E+3", "0.10", "0.00", "-0", "1E-8")] == ["1000", "0.1", "0", "0", "0.00000001"]
