"""Binance behind the port, through ccxt's unmodified `binance`: what spot and USD-M (`binance_usdm`) share, and spot.

A client order id is unique among OPEN orders only, so an order proved absent is not sent again as an open (`resend_safe` False).
Spot market and IOC orders answer with their fills (FULL); futures answer with the end state (RESULT) and fees are read from the trades.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Final

from engine.domain.messages import PlaceOrder
from engine.domain.reports import OpenOrder
from engine.domain.symbols import mapped
from engine.domain.values import MarketRules, Venue, VenuePosition
from engine.exchanges.judge import judge_binance
from engine.exchanges.port import AccountView, Answer, CallFailed, Credential, Funding, Hint, Judgement, OrderRequest, OrderState, Verdict
from engine.exchanges.session import VenueNet
from engine.exchanges.wire import WireRack

ZERO: Final = Decimal(0)
ENDED: Final = frozenset({"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"})
_ABSENT: Final = frozenset({"-2013", "-2011"})
_ARCHIVED: Final = "-2026"
"""Spot: it was there, and ended without a trade over 90 days ago. (USD-M forgets such orders after 3 days and says -2013.)"""
_QUOTE: Final = "USDT"
TRADES_PAGE: Final = 1000
"""Most trades that one request lists."""


def number(value: Any) -> Decimal:
    """A raw amount as Decimal; an empty or missing one is 0."""
    return Decimal(str(value)) if value not in (None, "") else ZERO


def average_of(quantity: Decimal, quote: Decimal) -> Decimal | None:
    return quote / quantity if quantity else None


class Binance:
    """What both markets of Binance share."""

    venue: Venue
    resend_safe = False
    signed_rules = False
    _class_name: str
    _market_type: str
    _suffix: str
    """What follows `BASE/QUOTE` in the unified symbols."""
    _calls: ClassVar[dict[str, str]]
    """ccxt's names of the endpoints that differ between the two."""

    def __init__(self, net: VenueNet) -> None:
        options = {"fetchCurrencies": False, "fetchMargins": False, "fetchMarkets": {"types": [self._market_type]}, "leverageBrackets": {}}
        self.rack = WireRack(self._class_name, net, options)
        self.symbols = frozenset(listing.venue_symbol for _, venue, listing in mapped() if venue == self.venue)
        self._marks: dict[str, Decimal] = {}

    async def start(self) -> None:
        """Load markets and measure the clock."""
        await self.rack.load_markets()
        await self.sync_clock()

    async def place(self, keys: Credential, request: OrderRequest) -> Answer:
        """One POST of an IOC limit (opens) or market order (exits), signed with the attempt's timestamp."""
        params: dict[str, Any] = {"clientOrderId": request.client_id}
        if request.limit_price is not None:
            params["timeInForce"] = "IOC"
        if request.reduce_only and self._market_type == "linear":
            params["reduceOnly"] = True
        kind = "market" if request.limit_price is None else "limit"
        price = None if request.limit_price is None else str(request.limit_price)
        with self.rack.take(keys, request.sent_at, request.recv_window_ms) as wire:
            reply = await wire.attempt(lambda ex: ex.create_order(request.symbol, kind, request.side, str(request.quantity), price, params))
        judgement = judge_binance(reply, request.client_id)
        if judgement.verdict is not Verdict.ACCEPTED:
            return Answer(judgement)
        return Answer(judgement, self._state(reply.json(), self._base(request.symbol)))

    async def _ask(self, keys: Credential | None, call: str, query: dict[str, Any]) -> Any:
        return await self.rack.read(keys, lambda ex: getattr(ex, self._calls[call])(query))

    def _base(self, symbol: str) -> str:
        return symbol.split("/")[0]

    def _id(self, symbol: str) -> str:
        return self.rack.market_id(symbol)

    def _state(self, raw: dict[str, Any], base: str) -> OrderState:
        raise NotImplementedError

    async def find(self, keys: Credential, order: PlaceOrder) -> OrderState | None:
        """GET order by origClientOrderId; None while the venue says it does not exist."""
        query = {"symbol": self._id(order.symbol), "origClientOrderId": order.command_id}
        try:
            raw = await self._ask(keys, "order", query)
        except CallFailed as error:
            if error.judgement.code in _ABSENT:
                return None
            if error.judgement.code == _ARCHIVED and self._market_type == "spot":
                return OrderState("", final=True, filled=ZERO, average_price=None, status="ARCHIVED")
            raise
        return await self._fresh(keys, order, raw)

    async def _fresh(self, keys: Credential, order: PlaceOrder, raw: dict[str, Any]) -> OrderState:
        state = self._state(raw, self._base(order.symbol))
        return await self.details(keys, order, state) if state.final and not state.complete else state

    async def search(self, keys: Credential, order: PlaceOrder, since_ms: int) -> tuple[OrderState | None, bool]:
        """Order by id, open orders, all orders and trades since the attempt must agree."""
        found = await self.find(keys, order)
        if found:
            return found, False
        market, since = self._id(order.symbol), since_ms - self.rack.offset_ms - 1000
        open_orders = await self._ask(keys, "open", {"symbol": market})
        orders, trades = [], []
        for span in self._spans(since):
            orders += await self._ask(keys, "all", {"symbol": market} | span)
            trades += await self._ask(keys, "trades", {"symbol": market} | span)
        ours = next((raw for raw in [*open_orders, *orders] if raw.get("clientOrderId") == order.command_id), None)
        if ours is not None:
            return await self._fresh(keys, order, ours), False
        others = {str(trade["orderId"]) for trade in trades} - {str(raw["orderId"]) for raw in orders}
        for order_id in sorted(others):
            # Placed before our time and filled within it (by hand, say): whose it is, only itself can tell.
            raw = await self._ask(keys, "order", {"symbol": market, "orderId": order_id})
            if raw["clientOrderId"] == order.command_id:
                return await self._fresh(keys, order, raw), False
        return None, True

    async def open_orders(self, keys: Credential) -> tuple[OpenOrder, ...]:
        """GET openOrders of all symbols, which is dear: see `engine.executor.limits`."""
        rows: list[dict[str, Any]] = await self._ask(keys, "open", {})
        return tuple(
            OpenOrder(
                market=row["symbol"],
                client_order_id=row["clientOrderId"],
                exchange_order_id=str(row["orderId"]),
                side="buy" if row["side"] == "BUY" else "sell",
                quantity=number(row["origQty"]),
                filled=number(row["executedQty"]),
            )
            for row in rows
        )

    def _spans(self, since: int) -> list[dict[str, int]]:
        """The times that the history calls are asked with, so that together they reach from `since` until now."""
        return [{"startTime": since}]

    async def details(self, keys: Credential, order: PlaceOrder, state: OrderState) -> OrderState:
        """The state with fees and average price from the order's trades."""
        if not state.filled:
            return _with_fees(state, ZERO, ZERO, state.average_price)
        trades = await self._trades_of(keys, self._id(order.symbol), state.exchange_order_id)
        quantity = sum((number(trade["qty"]) for trade in trades), ZERO)
        if quantity != state.filled:
            raise CallFailed(Judgement(Verdict.UNKNOWN, Hint.NONE, "", "the trades do not add up to the order yet"))
        quote = sum((number(trade["qty"]) * number(trade["price"]) for trade in trades), ZERO)
        base = self._base(order.symbol)
        return _with_fees(state, *self._fees(trades, base), average_of(quantity, quote))

    async def _trades_of(self, keys: Credential, market: str, order_id: str) -> list[dict[str, Any]]:
        """Every trade of an order, page after page."""
        query: dict[str, Any] = {"symbol": market, "orderId": order_id, "limit": TRADES_PAGE}
        trades: list[dict[str, Any]] = await self._ask(keys, "trades", query)
        page = trades
        while len(page) == TRADES_PAGE:
            page = await self._ask(keys, "trades", query | {"fromId": int(page[-1]["id"]) + 1})
            trades = trades + page
        return trades

    async def sync_clock(self) -> None:
        """Measure the venue's clock."""
        await self.rack.measure_clock(lambda ex: getattr(ex, self._calls["time"])(), lambda body: int(body["serverTime"]))

    def rules(self) -> tuple[MarketRules, ...]:
        """Rules of the mapped symbols, from the filters of exchangeInfo."""
        markets = self.rack.prototype.markets or {}
        return tuple(self._rule(markets[symbol]) for symbol in sorted(self.symbols) if symbol in markets)

    def _rule(self, market: dict[str, Any]) -> MarketRules:
        filters = {item["filterType"]: item for item in market["info"]["filters"]}
        lot, whole = filters["LOT_SIZE"], filters.get("MARKET_LOT_SIZE", {})
        notional = filters.get("NOTIONAL", filters.get("MIN_NOTIONAL", {}))
        highest = min((number(value) for value in (lot.get("maxQty"), whole.get("maxQty")) if number(value)), default=None)
        return MarketRules(
            venue=self.venue,
            symbol=market["symbol"],
            step=number(lot["stepSize"]),
            tick=number(filters["PRICE_FILTER"]["tickSize"]),
            min_quantity=number(lot["minQty"]),
            max_quantity=highest,
            min_notional=number(notional.get("minNotional", notional.get("notional"))),
            max_leverage=self._highest_leverage(market["symbol"]),
            active=bool(market["active"]),
        )

    def _highest_leverage(self, symbol: str) -> Decimal:
        del symbol
        return Decimal(1)

    async def load_signed_rules(self, keys: Credential) -> None:
        """Everything of spot's rules is public."""

    async def funding(self, keys: Credential, since_ms: int) -> list[Funding]:
        """Spot pays none."""
        return []

    async def marks(self) -> dict[str, Decimal]:
        """Last prices of the mapped symbols."""
        rows = await self._ask(None, "prices", {})
        by_id = {row["symbol"]: number(row["price"]) for row in rows}
        markets = self.rack.prototype.markets
        prices = {symbol: by_id.get(markets[symbol]["id"]) for symbol in self.symbols if symbol in markets}
        self._marks = {symbol: price for symbol, price in prices.items() if price}
        return self._marks

    def _fees(self, trades: list[dict[str, Any]], base: str) -> tuple[Decimal, Decimal]:
        """Commissions in base and in quote; one in a third asset (BNB) counts in quote, at the newest mark."""
        in_base = in_quote = ZERO
        for trade in trades:
            fee, asset = number(trade.get("commission")), str(trade.get("commissionAsset"))
            if asset == base:
                in_base += fee
            else:
                in_quote += fee if asset == _QUOTE else fee * self._marks.get(f"{asset}/{_QUOTE}{self._suffix}", ZERO)
        return in_base, in_quote

    async def _key_reasons(self, keys: Credential, right: str) -> list[str]:
        rights = await self.rack.read(keys, lambda ex: ex.sapi_get_account_apirestrictions())
        reasons = ["key_can_withdraw"] if rights.get("enableWithdrawals") else []
        return reasons + ([] if rights.get(right) else ["key_cannot_trade"])


def _with_fees(state: OrderState, fee_base: Decimal, fee_quote: Decimal, average: Decimal | None) -> OrderState:
    return OrderState(state.exchange_order_id, state.final, state.filled, average, fee_base, fee_quote, state.status, state.refused)


class BinanceSpot(Binance):
    """Binance spot: only long lots, exits are plain market sells, fees of a buy are taken in base."""

    venue: Venue = "binance"
    _class_name = "binance"
    _market_type = "spot"
    _suffix = ""
    _calls: ClassVar[dict[str, str]] = {
        "order": "private_get_order",
        "open": "private_get_openorders",
        "all": "private_get_allorders",
        "trades": "private_get_mytrades",
        "time": "public_get_time",
        "prices": "public_get_ticker_price",
    }

    def _state(self, raw: dict[str, Any], base: str) -> OrderState:
        filled, status = number(raw["executedQty"]), str(raw["status"])
        fills = raw.get("fills")
        fees = self._fees(fills, base) if fills is not None else (ZERO, ZERO)
        complete = fills is not None or not filled
        average = average_of(filled, number(raw.get("cummulativeQuoteQty")))
        refused = status if status == "REJECTED" else ""
        return OrderState(str(raw["orderId"]), status in ENDED, filled, average, *fees, status, refused, complete)

    async def account(self, keys: Credential, marks: dict[str, Decimal]) -> AccountView:
        """Balances; equity counts every mapped coin at its mark."""
        raw = await self.rack.read(keys, lambda ex: ex.private_get_account())
        return spot_view({row["asset"]: (number(row["free"]), number(row["locked"])) for row in raw["balances"]}, self.symbols, marks)

    async def set_leverage(self, keys: Credential, symbol: str, leverage: Decimal) -> Judgement:
        """Spot has no leverage."""
        return Judgement(Verdict.ACCEPTED)

    async def check(self, keys: Credential) -> tuple[str, ...]:
        """Rights of the key."""
        return tuple(await self._key_reasons(keys, "enableSpotAndMarginTrading"))


def spot_view(balances: dict[str, tuple[Decimal, Decimal]], symbols: frozenset[str], marks: dict[str, Decimal]) -> AccountView:
    """Spot balances (asset -> free, locked) as equity in USDT and base quantities of the mapped symbols."""
    free, locked = balances.get(_QUOTE, (ZERO, ZERO))
    equity, held = free + locked, []
    for asset, amounts in balances.items():
        symbol, total = f"{asset}/{_QUOTE}", sum(amounts, ZERO)
        if total and symbol in symbols:
            held.append(VenuePosition(symbol, total))
            equity += total * marks.get(symbol, ZERO)
    return AccountView(equity, free, tuple(held))
