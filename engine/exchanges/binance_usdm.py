"""Binance USD-M futures behind the port, through ccxt's unmodified `binanceusdm`: one-way mode, leverage brackets, funding."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, ClassVar, Final

from engine.domain.values import Venue, VenuePosition
from engine.exchanges.binance import ENDED, ZERO, Binance, average_of, number
from engine.exchanges.judge import Reply, judge_binance
from engine.exchanges.port import AccountView, Credential, Funding, Judgement, OrderState, Verdict
from engine.exchanges.session import VenueNet
from engine.exchanges.wire import now_ms

FRESH_LEVERAGE: Final = Decimal(20)
"""What an account has before it sets one: all that is known of a symbol's leverage before the brackets were read."""
INCOME_PAGE: Final = 1000
LONGEST_MS: Final = 7 * 86_400_000
"""Longest span of orders and trades that one request lists."""


class BinanceUsdm(Binance):
    """Binance USD-M perpetuals, one-way mode."""

    venue: Venue = "binanceusdm"
    signed_rules = True
    _class_name = "binanceusdm"
    _market_type = "linear"
    _suffix = ":USDT"
    _calls: ClassVar[dict[str, str]] = {
        "order": "fapiprivate_get_order",
        "open": "fapiprivate_get_openorders",
        "all": "fapiprivate_get_allorders",
        "trades": "fapiprivate_get_usertrades",
        "time": "fapipublic_get_time",
        "income": "fapiprivate_get_income",
        "prices": "fapipublic_get_ticker_price",
    }

    def __init__(self, net: VenueNet) -> None:
        super().__init__(net)
        self._brackets: dict[str, Decimal] = {}

    def _state(self, raw: dict[str, Any], base: str) -> OrderState:
        filled, status = number(raw["executedQty"]), str(raw["status"])
        average = number(raw.get("avgPrice")) or average_of(filled, number(raw.get("cumQuote")))
        refused = status if status == "REJECTED" else ""
        return OrderState(str(raw["orderId"]), status in ENDED, filled, average, ZERO, ZERO, status, refused, complete=not filled)

    def _spans(self, since: int) -> list[dict[str, int]]:
        now = now_ms() - self.rack.offset_ms
        if now - since < LONGEST_MS:
            return super()._spans(since)
        return [{"startTime": at, "endTime": min(at + LONGEST_MS, now)} for at in range(since, now, LONGEST_MS)]

    def _highest_leverage(self, symbol: str) -> Decimal:
        return self._brackets.get(symbol, FRESH_LEVERAGE)

    async def load_signed_rules(self, keys: Credential) -> None:
        """GET leverageBracket: the first bracket, that of the smallest positions, allows the most."""
        rows = await self.rack.read(keys, lambda ex: ex.fapiprivate_get_leveragebracket())
        highest = {row["symbol"]: max((number(tier["initialLeverage"]) for tier in row["brackets"]), default=ZERO) for row in rows}
        markets = self.rack.prototype.markets
        found = {symbol: highest.get(markets[symbol]["id"]) for symbol in self.symbols if symbol in markets}
        self._brackets = {symbol: leverage for symbol, leverage in found.items() if leverage}

    async def funding(self, keys: Credential, since_ms: int) -> list[Funding]:
        """GET income, page after page: it lists from `startTime` on, oldest first, for three months."""
        paid: dict[str, Funding] = {}
        by_id = {self._id(symbol): symbol for symbol in self.rack.prototype.markets}
        start = since_ms - self.rack.offset_ms
        while True:
            rows = await self._ask(keys, "income", {"incomeType": "FUNDING_FEE", "startTime": start, "limit": INCOME_PAGE})
            for row in rows:
                if row["symbol"] in by_id and row["asset"] == "USDT":
                    payment = Funding(by_id[row["symbol"]], f"{row['tranId']}-{row['symbol']}", number(row["income"]), int(row["time"]))
                    paid[payment.funding_id] = payment
            if len(rows) < INCOME_PAGE or int(rows[-1]["time"]) <= start:
                return sorted(paid.values(), key=lambda payment: payment.at)
            start = int(rows[-1]["time"])

    async def account(self, keys: Credential, marks: dict[str, Decimal]) -> AccountView:
        """Margin balance and open positions."""
        raw, rows = await asyncio.gather(
            self.rack.read(keys, lambda ex: ex.fapiprivatev3_get_account()),
            self.rack.read(keys, lambda ex: ex.fapiprivatev3_get_positionrisk()),
        )
        by_id = {self._id(symbol): symbol for symbol in self.rack.prototype.markets}
        positions = tuple(
            VenuePosition(by_id[row["symbol"]], number(row["positionAmt"]), number(row.get("entryPrice")) or None)
            for row in rows
            if number(row["positionAmt"]) and row["symbol"] in by_id
        )
        return AccountView(number(raw["totalMarginBalance"]), number(raw["availableBalance"]), positions)

    async def set_leverage(self, keys: Credential, symbol: str, leverage: Decimal) -> Judgement:
        """POST leverage; the reply repeats the new value."""
        query = {"symbol": self._id(symbol), "leverage": int(leverage)}
        with self.rack.take(keys) as wire:
            reply = await wire.attempt(lambda ex: ex.fapiprivate_post_leverage(query))
        return _leverage_verdict(reply)

    async def check(self, keys: Credential) -> tuple[str, ...]:
        """Rights of the key, position mode, margin mode: with several assets as margin there are no isolated positions, and equity is not
        USDT alone."""
        reasons = await self._key_reasons(keys, "enableFutures")
        mode = await self.rack.read(keys, lambda ex: ex.fapiprivate_get_positionside_dual())
        margin = await self.rack.read(keys, lambda ex: ex.fapiprivate_get_multiassetsmargin())
        reasons += ["hedge_mode"] if mode.get("dualSidePosition") else []
        return tuple(reasons + (["multi_assets_mode"] if margin.get("multiAssetsMargin") else []))


def _leverage_verdict(reply: Reply) -> Judgement:
    body = reply.json()
    if reply.status == 200 and isinstance(body, dict) and body.get("leverage"):
        return Judgement(Verdict.ACCEPTED)
    return judge_binance(reply, "")
