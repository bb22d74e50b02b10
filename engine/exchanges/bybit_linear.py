"""Bybit v5 linear perpetuals (unified account, one-way mode): positions, leverage, funding."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Final

from engine.domain.values import Venue, VenuePosition
from engine.exchanges.binance import number
from engine.exchanges.bybit import QUOTE, Bybit
from engine.exchanges.judge import Reply, judge_bybit
from engine.exchanges.port import AccountView, Credential, Funding, Judgement, Verdict
from engine.exchanges.wire import now_ms

LOG_WINDOW_MS: Final = 7 * 86_400_000
"""Longest span between startTime and endTime of the transaction log."""
_UNCHANGED: Final = frozenset({110043})


class BybitLinear(Bybit):
    """Bybit USDT perpetuals, one-way mode."""

    venue: Venue = "bybitlinear"
    category = "linear"

    async def account(self, keys: Credential, marks: dict[str, Decimal]) -> AccountView:
        """USDT equity and open positions."""
        wallet, rows = await asyncio.gather(
            self._wallet(keys), self._list(keys, "private_get_v5_position_list", {"settleCoin": QUOTE, "limit": 200})
        )
        quote: dict[str, Any] = next((row for row in wallet["coin"] if row["coin"] == QUOTE), {})
        by_id = {self._id(symbol): symbol for symbol in self.rack.prototype.markets}
        positions = tuple(
            VenuePosition(by_id[row["symbol"]], _signed(row), number(row.get("avgPrice")) or None)
            for row in rows
            if number(row["size"]) and row["symbol"] in by_id
        )
        return AccountView(number(quote.get("equity")), number(wallet.get("totalAvailableBalance")), positions)

    async def funding(self, keys: Credential, since_ms: int) -> list[Funding]:
        """Settlements in the transaction log, in windows of at most seven days, page after page (newest first within a window)."""
        paid: list[Funding] = []
        by_id = {self._id(symbol): symbol for symbol in self.rack.prototype.markets}
        until = now_ms() - self.rack.offset_ms + 1000
        for start in range(since_ms - self.rack.offset_ms, until, LOG_WINDOW_MS):
            query = {"accountType": "UNIFIED", "type": "SETTLEMENT", "currency": QUOTE, "limit": 50}
            query |= {"startTime": start, "endTime": min(start + LOG_WINDOW_MS, until)}
            rows = await self._pages(keys, "private_get_v5_account_transaction_log", query)
            paid += [_funding(row, by_id[row["symbol"]]) for row in reversed(rows) if row["symbol"] in by_id]
        return sorted({payment.funding_id: payment for payment in paid}.values(), key=lambda payment: payment.at)

    async def set_leverage(self, keys: Credential, symbol: str, leverage: Decimal) -> Judgement:
        """POST set-leverage; "not modified" is success."""
        text = str(leverage.normalize()) if leverage % 1 else str(int(leverage))
        query = {"category": "linear", "symbol": self._id(symbol), "buyLeverage": text, "sellLeverage": text}
        with self.rack.take(keys) as wire:
            reply = await wire.attempt(lambda ex: ex.private_post_v5_position_set_leverage(query))
        return _leverage_verdict(reply)

    async def check(self, keys: Credential) -> tuple[str, ...]:
        """Rights of the key, position mode and margin mode."""
        reasons, rights = await self._rights(keys)
        if not {"Order", "Position"} <= set(rights.get("ContractTrade") or []):
            reasons.append("key_cannot_trade")
        rows = await self._list(keys, "private_get_v5_position_list", {"symbol": "BTCUSDT"})
        reasons += ["hedge_mode"] if any(int(row.get("positionIdx") or 0) for row in rows) else []
        return tuple(reasons + await self._margin_reasons(keys))

    async def _margin_reasons(self, keys: Credential) -> list[str]:
        """A portfolio margin account has no leverage that could be set."""
        raw = await self.rack.read(keys, lambda ex: ex.private_get_v5_account_info())
        return ["portfolio_margin"] if raw["result"].get("marginMode") == "PORTFOLIO_MARGIN" else []


def _funding(row: dict[str, Any], symbol: str) -> Funding:
    """`funding` is positive when it was received."""
    return Funding(symbol, str(row["id"]), number(row["funding"]), int(row["transactionTime"]))


def _signed(row: dict[str, Any]) -> Decimal:
    return number(row["size"]) if row["side"] == "Buy" else -number(row["size"])


def _leverage_verdict(reply: Reply) -> Judgement:
    body = reply.json()
    code = body.get("retCode") if isinstance(body, dict) else None
    if reply.status == 200 and (code == 0 or code in _UNCHANGED):
        return Judgement(Verdict.ACCEPTED)
    return judge_bybit(reply, "")
