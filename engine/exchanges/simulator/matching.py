"""The matching engine: an admitted order enters, fills, positions and ledger entries leave. Nothing else changes an account."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from engine.exchanges.simulator import margin
from engine.exchanges.simulator.clock import Clock
from engine.exchanges.simulator.filters import check_filters
from engine.exchanges.simulator.ledger import Ledger
from engine.exchanges.simulator.model import ZERO, Account, Fill, Market, NewOrder, Order, Position, Refused
from engine.exchanges.simulator.prices import Level, PricePath, take, take_quote

_IMMEDIATE = frozenset({"IOC", "FOK"})
MOST_OPEN: Final = {"binance": 200, "binanceusdm": 200, "bybit": 500}
"""Open orders that an account may have in one market."""
MOST_WAITING: Final = {"binance": 5, "binanceusdm": 10}
"""Of them those that wait for a price (MAX_NUM_ALGO_ORDERS)."""


class Engine:
    """Order books and accounts of all venues. Order and trade ids only grow."""

    def __init__(self, markets: dict[str, dict[str, Market]], prices: PricePath, ledger: Ledger, clock: Clock) -> None:
        self.markets, self.prices, self.ledger, self.clock = markets, prices, ledger, clock
        self.resting: dict[str, dict[int, Order]] = {}
        self._protected: dict[str, dict[tuple[str, str, str], tuple[Account, Position]]] = {}
        self.closed: dict[str, Callable[[], bool]] = {}
        """By venue, whether its markets are closed; a venue that is not here is open."""
        self._order_id = clock.now_ms() * 1000
        self._trade_id = clock.now_ms()

    def next_order_id(self) -> int:
        """A new order id (also for algo orders and generated client ids)."""
        self._order_id += 1
        return self._order_id

    def check(self, account: Account, ask: NewOrder) -> None:
        """Raises `Refused` when the account may not place this order now."""
        self._check_client_id(account, ask)
        closed = self.closed.get(ask.market.venue)
        if closed is not None and closed():
            raise Refused("market_closed")
        if not account.can_trade:
            raise Refused("not_permitted")
        self._check_numbers(account, ask)
        if not ask.market.is_spot:
            margin.check_position_side(account, ask)
        if not ask.trigger_price:
            margin.check_reduce_only(account, ask)
            margin.check_funds(account, ask, self.prices)
        if ask.post_only and account.exchange != "bybit" and self._crosses(ask):
            raise Refused("post_only")

    def admit(self, account: Account, ask: NewOrder, received_us: int) -> Order:
        """Take an order into the books without executing it yet; call `execute` next."""
        now = self.clock.now_ms()
        status = "UNTRIGGERED" if ask.trigger_price else "PENDING"
        order = Order(self.next_order_id(), account, ask, ask.quantity, status, now, now, received_us)
        account.orders[order.id] = order
        account.by_client[ask.client_id] = order
        account.open_orders[order.id] = order
        self.ledger.taken(order)
        if ask.trigger_price:
            self.resting.setdefault(ask.market.coin, {})[order.id] = order
        return order

    def execute(self, order: Order) -> None:
        """Match an admitted order against the book; what is left rests, or ends the order."""
        if order.status != "PENDING":
            return
        ask = order.ask
        try:
            self._recheck(order)
        except Refused as refusal:
            self.end(order, "REJECTED", refusal.reason)
            return
        limit = margin.reducible(order.account, ask, order.quantity) if ask.reduce_only and not ask.market.is_spot else order.quantity
        for price, part in self._taken(order, limit):
            self._fill(order, price, part, maker=False)
        self._after_taking(order, limit)
        self._attach_stops(order)

    def cancel(self, order: Order) -> None:
        """End an open order by its owner's wish."""
        self.end(order, "CANCELED", "user")

    def amend(self, order: Order, quantity: Decimal, price: Decimal, trigger: Decimal = ZERO) -> None:
        """Change an open order's size, limit and trigger; it stays as it was when the market's filters or the account do not allow it
        (`Refused`). What then crosses the book trades at once; an order that has traded its new size already ends."""
        wanted = replace(order.ask, quantity=quantity, price=price, trigger_price=trigger or order.ask.trigger_price)
        check_filters(wanted, self.prices)
        waits = order.status == "UNTRIGGERED"
        if not waits:
            self._check_amended(order, wanted)
        margin.unlock(order)
        order.ask, order.quantity, order.updated_ms = wanted, quantity, self.clock.now_ms()
        if waits:
            return
        if order.remaining <= 0:
            self.end(order, "CANCELED", "user")
            return
        limit = margin.reducible(order.account, wanted, order.remaining) if wanted.reduce_only else order.remaining
        for level, part in self._taken(order, limit):
            self._fill(order, level, part, maker=False)
        self._after_taking(order, order.quantity)

    def _check_amended(self, order: Order, wanted: NewOrder) -> None:
        if wanted.post_only and self._crosses(wanted):
            raise Refused("post_only")
        left, status = max(wanted.quantity - order.filled, ZERO), order.status
        margin.unlock(order)
        order.status = "PENDING"
        try:
            margin.check_funds(order.account, replace(wanted, quantity=left), self.prices)
        except Refused:
            margin.lock(order)
            raise
        finally:
            order.status = status

    def end(self, order: Order, status: str, reason: str = "") -> None:
        """Close an order: CANCELED, EXPIRED or REJECTED."""
        margin.unlock(order)
        order.status, order.updated_ms, order.reject_reason = status, self.clock.now_ms(), reason
        self._closed(order)

    def moved(self, coins: Iterable[str]) -> None:
        """Prices moved: fire triggers, fill what rests inside the new books."""
        for coin in coins:
            for order in list(self.resting.get(coin, {}).values()):
                if order.status == "UNTRIGGERED":
                    self._trigger(order)
                elif order.is_open:
                    self._cross(order)
            for account, position in list(self._protected.get(coin, {}).values()):
                self._check_stops(account, position)

    def watch_stops(self, account: Account, position: Position) -> None:
        """Close the position by a market order when its take profit or stop loss is reached."""
        key = (account.api_key, position.market.id, position.side)
        self._protected.setdefault(position.market.coin, {})[key] = (account, position)

    def _attach_stops(self, order: Order) -> None:
        """Take profit and stop loss that ride on a linear order move to the position with its first fill."""
        wanted = {name: order.ask.echo[name] for name in ("takeProfit", "stopLoss") if order.ask.echo.get(name)}
        if wanted and order.filled and not order.market.is_spot:
            position = order.account.position(order.market, order.ask.position_side)
            position.stops |= wanted
            self.watch_stops(order.account, position)

    def _check_stops(self, account: Account, position: Position) -> None:
        if not position.quantity:
            position.stops.clear()
            self._protected[position.market.coin].pop((account.api_key, position.market.id, position.side))
            return
        mid, long = self.prices.mid(position.market), position.quantity > 0
        profit, loss = (Decimal(position.stops.get(name) or 0) for name in ("takeProfit", "stopLoss"))
        if (profit and (mid >= profit if long else mid <= profit)) or (loss and (mid <= loss if long else mid >= loss)):
            side, size = ("SELL" if long else "BUY"), abs(position.quantity)
            ask = NewOrder(position.market, side, "Market", size, f"sim{self.next_order_id()}", reduce_only=True)
            ask.position_side, ask.time_in_force = position.side, "IOC"
            now = self.clock.now_us()
            self.ledger.received(account, ask.market, ask.client_id, side, size, now)
            self.execute(self.admit(account, ask, now))

    def _rests(self, ask: NewOrder) -> bool:
        """It may stay in the book, or waits for its price."""
        return bool(ask.trigger_price) or not (ask.is_market or ask.time_in_force in _IMMEDIATE)

    def _check_numbers(self, account: Account, ask: NewOrder) -> None:
        if not self._rests(ask):
            return
        there = [order for order in account.open_orders.values() if order.market is ask.market]
        if len(there) >= MOST_OPEN[account.exchange]:
            raise Refused("open_orders")
        most = MOST_WAITING.get(account.exchange)
        if most and ask.trigger_price and sum(order.status == "UNTRIGGERED" for order in there) >= most:
            raise Refused("waiting_orders")

    def _check_client_id(self, account: Account, ask: NewOrder) -> None:
        known = account.by_client.get(ask.client_id)
        if known is not None and (account.exchange == "bybit" or known.is_open):
            raise Refused("duplicate_client_id")

    def _recheck(self, order: Order) -> None:
        ask = order.ask
        margin.check_reduce_only(order.account, ask)
        margin.check_funds(order.account, ask, self.prices)
        if ask.post_only and self._crosses(ask):
            raise Refused("post_only")

    def _crosses(self, ask: NewOrder) -> bool:
        book = self.prices.book(ask.market)
        return ask.price >= book.ask[0] if ask.side == "BUY" else ask.price <= book.bid[0]

    def _taken(self, order: Order, quantity: Decimal) -> list[Level]:
        ask, book = order.ask, self.prices.book(order.market)
        levels = book.asks if ask.side == "BUY" else book.bids
        if ask.quote_quantity:
            taken = take_quote(levels, ask.quote_quantity, ask.market.step)
            order.quantity = sum((part for _, part in taken), ZERO)
            return taken
        taken = take(levels, quantity, ask.price, ask.side)
        if ask.time_in_force == "FOK" and sum((part for _, part in taken), ZERO) < order.quantity:
            return []
        return taken

    def _after_taking(self, order: Order, limit: Decimal) -> None:
        ask = order.ask
        if order.account.exchange == "bybit" and limit < order.quantity:
            order.quantity = limit
        if order.quantity and order.remaining <= 0:
            order.status = "FILLED"
            self._closed(order)
        elif ask.is_market or ask.time_in_force in _IMMEDIATE:
            self.end(order, "EXPIRED", "liquidity")
        else:
            order.status = "PARTIALLY_FILLED" if order.filled else "NEW"
            margin.lock(order)
            self.resting.setdefault(order.market.coin, {})[order.id] = order
            self.ledger.changed(order)

    def _trigger(self, order: Order) -> None:
        price, ask = self.prices.mid(order.market), order.ask
        if price >= ask.trigger_price if ask.trigger_rises else price <= ask.trigger_price:
            self.resting[order.market.coin].pop(order.id)
            order.status, order.triggered = "PENDING", True
            self.execute(order)

    def _cross(self, order: Order) -> None:
        book, ask = self.prices.book(order.market), order.ask
        levels = book.asks if ask.side == "BUY" else book.bids
        room = margin.reducible(order.account, ask, order.remaining) if ask.reduce_only and not ask.market.is_spot else order.remaining
        for _, part in take(levels, room, ask.price, ask.side):
            self._fill(order, ask.price, part, maker=True)
        if order.remaining <= 0:
            order.status = "FILLED"
            self._closed(order)
        elif order.filled:
            order.status = "PARTIALLY_FILLED"

    def _fill(self, order: Order, price: Decimal, quantity: Decimal, *, maker: bool) -> None:
        account, ask, market = order.account, order.ask, order.market
        quote, now = price * quantity, self.clock.now_ms()
        fee, asset = margin.fee_of(market, ask.side, quantity, quote, maker)
        self._trade_id += 1
        fill = Fill(self._trade_id, order, price, quantity, quote, fee, asset, now, maker, ZERO)
        self._release(order, quantity)
        if market.is_spot:
            margin.settle_spot(account, market, ask.side, fill)
        else:
            fill.realized = margin.settle_perpetual(account, ask, fill)
        order.filled += quantity
        order.quote += quote
        order.updated_ms = now
        order.fills.append(fill)
        account.fills.append(fill)

    def _release(self, order: Order, quantity: Decimal) -> None:
        """A resting spot order pays from what it had put aside."""
        if order.locked:
            part = quantity * order.ask.price if order.ask.side == "BUY" else quantity
            balance = order.account.balance(order.lock_asset)
            balance.locked -= part
            balance.free += part
            order.locked -= part

    def _closed(self, order: Order) -> None:
        order.account.open_orders.pop(order.id, None)
        waiting = self.resting.get(order.market.coin)
        if waiting is not None:
            waiting.pop(order.id, None)
        self.ledger.changed(order)
