"""Bybit v5 (unified account) behind the port, through ccxt's unmodified `bybit`: what both categories share, and spot.

`orderLinkId` is unique for ever, so the same id may be sent again even after a wrong ABSENT (`resend_safe`). The reply to a create is
only an acknowledgement: every order is read back, by `orderLinkId` through the list calls (ccxt's fetch by `clientOrderId` asks for
something that Bybit does not know and never finds anything).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.domain.messages import PlaceOrder
from engine.domain.reports import OpenOrder
from engine.domain.symbols import mapped
from engine.domain.values import MarketRules, Venue
from engine.exchanges.binance import ZERO, number, spot_view
from engine.exchanges.judge import judge_bybit
from engine.exchanges.port import AccountView, Answer, CallFailed, Credential, Funding, Hint, Judgement, OrderRequest, OrderState, Verdict
from engine.exchanges.session import VenueNet
from engine.exchanges.wire import WireRack

_ENDED: Final = frozenset({"Filled", "Cancelled", "PartiallyFilledCanceled", "Rejected", "Deactivated"})
_UNIFIED: Final = {"enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6}
QUOTE: Final = "USDT"
EXECUTIONS_PAGE: Final = 100
"""Most executions that one request lists."""
ORDERS_PAGE: Final = 50
"""Most open orders that one request lists."""


class Bybit:
    """What both categories of Bybit share."""

    venue: Venue
    resend_safe = True
    signed_rules = False
    category: str

    def __init__(self, net: VenueNet) -> None:
        self.rack = WireRack("bybit", net, _UNIFIED | {"fetchMarkets": {"types": [self.category]}})
        self.symbols = frozenset(listing.venue_symbol for _, venue, listing in mapped() if venue == self.venue)

    async def start(self) -> None:
        """Load markets and measure the clock."""
        await self.rack.load_markets()
        await self.sync_clock()

    async def sync_clock(self) -> None:
        """Measure the venue's clock."""
        await self.rack.measure_clock(lambda ex: ex.public_get_v5_market_time(), lambda body: int(body["result"]["timeNano"]) // 1_000_000)

    async def place(self, keys: Credential, request: OrderRequest) -> Answer:
        """One POST; ACCEPTED is an acknowledgement without a state."""
        params: dict[str, Any] = {"clientOrderId": request.client_id}
        if request.limit_price is not None:
            params["timeInForce"] = "IOC"
        if request.reduce_only and self.category == "linear":
            params["reduceOnly"] = True
        kind = "market" if request.limit_price is None else "limit"
        price = None if request.limit_price is None else str(request.limit_price)
        with self.rack.take(keys, request.sent_at, request.recv_window_ms) as wire:
            reply = await wire.attempt(lambda ex: ex.create_order(request.symbol, kind, request.side, str(request.quantity), price, params))
        return Answer(judge_bybit(reply, request.client_id))

    def _id(self, symbol: str) -> str:
        return self.rack.market_id(symbol)

    async def _ask(self, keys: Credential, method: str, query: dict[str, Any]) -> dict[str, Any]:
        raw = await self.rack.read(keys, lambda ex: getattr(ex, method)({"category": self.category} | query))
        result: dict[str, Any] = raw["result"]
        return result

    async def _list(self, keys: Credential, method: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self._ask(keys, method, query))["list"]
        return rows

    async def _pages(self, keys: Credential, method: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        result: dict[str, Any] = {}
        while not result or (result["list"] and result.get("nextPageCursor")):
            more = {"cursor": result["nextPageCursor"]} if result else {}
            result = await self._ask(keys, method, query | more)
            rows += result["list"]
        return rows

    async def find(self, keys: Credential, order: PlaceOrder) -> OrderState | None:
        """Realtime, then history, by orderLinkId."""
        query = {"orderLinkId": order.command_id, "symbol": self._id(order.symbol)}
        for method in ("private_get_v5_order_realtime", "private_get_v5_order_history"):
            rows = await self._list(keys, method, query)
            ours = next((row for row in rows if row["orderLinkId"] == order.command_id), None)
            if ours is not None:
                return self._state(ours, order.symbol.split("/")[0])
        return None

    async def search(self, keys: Credential, order: PlaceOrder, since_ms: int) -> tuple[OrderState | None, bool]:
        """Realtime, history and executions by orderLinkId must agree."""
        found = await self.find(keys, order)
        if found:
            return found, False
        query = {"orderLinkId": order.command_id, "symbol": self._id(order.symbol)}
        return None, not await self._list(keys, "private_get_v5_execution_list", query)

    async def open_orders(self, keys: Credential) -> tuple[OpenOrder, ...]:
        """Realtime of all symbols, page after page; of perpetuals those that settle in USDT."""
        query = {"limit": ORDERS_PAGE} | ({"settleCoin": QUOTE} if self.category == "linear" else {})
        rows = await self._pages(keys, "private_get_v5_order_realtime", query)
        return tuple(_open_order(row) for row in rows if row["orderStatus"] not in _ENDED)

    def _state(self, raw: dict[str, Any], base: str) -> OrderState:
        filled, status = number(raw["cumExecQty"]), str(raw["orderStatus"])
        average = number(raw.get("avgPrice")) or (number(raw.get("cumExecValue")) / filled if filled else None)
        fees = {asset: number(fee) for asset, fee in (raw.get("cumFeeDetail") or {}).items()}
        complete = bool(fees) or not filled
        refused = str(raw.get("rejectReason") or status) if status == "Rejected" else ""
        return OrderState(
            str(raw["orderId"]),
            status in _ENDED,
            filled,
            average,
            fees.get(base, ZERO),
            fees.get(QUOTE, ZERO),
            status,
            refused,
            complete,
        )

    async def details(self, keys: Credential, order: PlaceOrder, state: OrderState) -> OrderState:
        """Fees from the executions, for orders that do not carry them."""
        query = {"orderLinkId": order.command_id, "symbol": self._id(order.symbol), "limit": EXECUTIONS_PAGE}
        rows = [row for row in await self._pages(keys, "private_get_v5_execution_list", query) if row.get("execType", "Trade") == "Trade"]
        quantity = sum((number(row["execQty"]) for row in rows), ZERO)
        if quantity != state.filled:
            raise CallFailed(Judgement(Verdict.UNKNOWN, Hint.NONE, "", "the executions do not add up to the order yet"))
        base = order.symbol.split("/")[0]
        in_base = sum((number(row["execFee"]) for row in rows if self._fee_asset(row, order, base) == base), ZERO)
        in_quote = sum((number(row["execFee"]) for row in rows if self._fee_asset(row, order, base) == QUOTE), ZERO)
        return OrderState(
            state.exchange_order_id, state.final, state.filled, state.average_price, in_base, in_quote, state.status, state.refused
        )

    def _fee_asset(self, row: dict[str, Any], order: PlaceOrder, base: str) -> str:
        named = row.get("feeCurrency")
        if named:
            return str(named)
        return base if self.category == "spot" and order.side == "buy" else QUOTE

    def rules(self) -> tuple[MarketRules, ...]:
        """Rules of the mapped symbols, from instruments-info."""
        markets = self.rack.prototype.markets or {}
        return tuple(self._rule(markets[symbol]) for symbol in sorted(self.symbols) if symbol in markets)

    def _rule(self, market: dict[str, Any]) -> MarketRules:
        info = market["info"]
        lot, leverage = info["lotSizeFilter"], info.get("leverageFilter", {})
        highest = min(
            (number(lot.get(name)) for name in ("maxOrderQty", "maxMktOrderQty", "maxMarketOrderQty") if number(lot.get(name))),
            default=None,
        )
        return MarketRules(
            venue=self.venue,
            symbol=market["symbol"],
            step=number(lot.get("qtyStep", lot.get("basePrecision"))),
            tick=number(info["priceFilter"]["tickSize"]),
            min_quantity=number(lot["minOrderQty"]),
            max_quantity=highest,
            min_notional=number(lot.get("minNotionalValue", lot.get("minOrderAmt"))),
            max_leverage=number(leverage.get("maxLeverage")) or Decimal(1),
            active=bool(market["active"]),
        )

    async def load_signed_rules(self, keys: Credential) -> None:
        """Everything of the rules is public."""

    async def funding(self, keys: Credential, since_ms: int) -> list[Funding]:
        """Spot pays none."""
        return []

    async def marks(self) -> dict[str, Decimal]:
        """Last prices of the mapped symbols."""
        raw = await self.rack.read(None, lambda ex: ex.public_get_v5_market_tickers({"category": self.category}))
        by_id = {row["symbol"]: number(row["lastPrice"]) for row in raw["result"]["list"]}
        markets = self.rack.prototype.markets
        prices = {symbol: by_id.get(markets[symbol]["id"]) for symbol in self.symbols if symbol in markets}
        return {symbol: price for symbol, price in prices.items() if price}

    async def _wallet(self, keys: Credential) -> dict[str, Any]:
        raw = await self.rack.read(keys, lambda ex: ex.private_get_v5_account_wallet_balance({"accountType": "UNIFIED"}))
        accounts: list[dict[str, Any]] = raw["result"]["list"]
        return accounts[0] if accounts else {"coin": []}

    async def _rights(self, keys: Credential) -> tuple[list[str], dict[str, Any]]:
        raw = await self.rack.read(keys, lambda ex: ex.private_get_v5_user_query_api())
        rights = raw["result"].get("permissions", {})
        reasons = ["key_can_withdraw"] if "Withdraw" in (rights.get("Wallet") or []) else []
        return reasons + (["key_read_only"] if int(raw["result"].get("readOnly") or 0) else []), rights


class BybitSpot(Bybit):
    """Bybit spot: quantities in base coin, exits are plain market sells."""

    venue: Venue = "bybit"
    category = "spot"

    async def account(self, keys: Credential, marks: dict[str, Decimal]) -> AccountView:
        """Wallet balances; equity counts every mapped coin at its mark."""
        wallet = await self._wallet(keys)
        balances = {row["coin"]: _free_and_locked(row) for row in wallet["coin"]}
        return spot_view(balances, self.symbols, marks)

    async def set_leverage(self, keys: Credential, symbol: str, leverage: Decimal) -> Judgement:
        """Spot has no leverage."""
        return Judgement(Verdict.ACCEPTED)

    async def check(self, keys: Credential) -> tuple[str, ...]:
        """Rights of the key."""
        reasons, rights = await self._rights(keys)
        return tuple(reasons + ([] if rights.get("Spot") else ["key_cannot_trade"]))


def _free_and_locked(row: dict[str, Any]) -> tuple[Decimal, Decimal]:
    total, locked = number(row["walletBalance"]), number(row.get("locked"))
    return total - locked, locked


def _open_order(row: dict[str, Any]) -> OpenOrder:
    return OpenOrder(
        market=row["symbol"],
        client_order_id=row["orderLinkId"],
        exchange_order_id=row["orderId"],
        side="buy" if row["side"] == "Buy" else "sell",
        quantity=number(row["qty"]),
        filled=number(row["cumExecQty"]),
    )
