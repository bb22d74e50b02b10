"""Funding of perpetual positions: an administrator's rate enters, payments leave, and the journals that list them.

Binance lists them as income (`FUNDING_FEE`), Bybit in the transaction log (`SETTLEMENT`), beside what trades changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator.binance_common import optional_market
from engine.exchanges.simulator.bybit_common import order_id, page, refuse, uuid_text
from engine.exchanges.simulator.bybit_queries import link_of
from engine.exchanges.simulator.margin import MAKER_FEE, QUOTE, TAKER_FEE
from engine.exchanges.simulator.model import ZERO, Account, Fill, Market, Payment, plain
from engine.exchanges.simulator.wire import Call
from engine.exchanges.simulator.world import DAY_MS, Route, World

_EIGHT: Final = Decimal("1e-8")


def pay(world: World, market: Market, rate: Decimal) -> int:
    """Settle one market at a rate: longs pay a positive one to shorts. Returns how many positions were settled."""
    paid, mark = 0, world.prices.mid(market)
    for account in world.registry.by_key.values():
        for position in account.positions.values():
            if position.market is market and position.quantity:
                amount = (-position.quantity * mark * rate).quantize(_EIGHT)
                # No venue settles a market twice in a millisecond, however quick the administrator is.
                at_ms = max(world.clock.now_ms(), account.payments[-1].at_ms + 1 if account.payments else 0)
                account.balance(QUOTE).free += amount
                account.payments.append(Payment(world.engine.next_order_id(), market, at_ms, amount, rate, position.quantity, mark))
                paid += 1
    return paid


def income(world: World, call: Call) -> list[dict[str, Any]]:
    """GET income: funding, and realised profit and commission of each fill, oldest first; the newest rows when no start is given."""
    market, kind, limit = optional_market(world, call), call.params.get("incomeType", ""), min(call.integer("limit", 100), 1000)
    now = world.clock.now_ms()
    start, end = call.integer("startTime", 0), call.integer("endTime", now)
    oldest = max(start, now - (90 if start else 7) * DAY_MS)
    rows = [row for row in _income_rows(call.owner, market) if oldest <= row["time"] <= end and kind in ("", row["incomeType"])]
    rows.sort(key=lambda row: row["time"])
    return rows[:limit] if start else rows[-limit:]


def _income_rows(owner: Account, market: Market | None) -> Iterator[dict[str, Any]]:
    for fill in owner.fills:
        if market in (None, fill.order.market):
            ids = {"tranId": fill.id, "tradeId": str(fill.id)}
            if fill.realized:
                yield _income(fill.order.market, "REALIZED_PNL", fill.realized, fill.at_ms, "") | ids
            if fill.fee:
                yield _income(fill.order.market, "COMMISSION", -fill.fee, fill.at_ms, str(fill.id)) | ids
    for payment in owner.payments:
        if market in (None, payment.market):
            row = _income(payment.market, "FUNDING_FEE", payment.amount, payment.at_ms, "FUNDING_FEE")
            yield row | {"tranId": payment.id, "tradeId": ""}


def _income(market: Market, kind: str, amount: Decimal, at_ms: int, info: str) -> dict[str, Any]:
    return {"symbol": market.id, "incomeType": kind, "income": plain(amount), "asset": QUOTE, "info": info, "time": at_ms}


def transaction_log(world: World, call: Call) -> dict[str, Any]:
    """GET account/transaction-log: what changed the USDT wallet, newest first, in a window of at most seven days (a day by default)."""
    params, now = call.params, world.clock.now_ms()
    start, end = _window(call, now)
    category, kind, currency = (params.get(name, "") for name in ("category", "type", "currency"))
    rows = [
        row
        for row in _log_rows(world, call.owner)
        if start <= int(row["transactionTime"]) <= end
        and category in ("", row["category"])
        and kind in ("", row["type"])
        and currency in ("", row["currency"])
    ]
    chosen, cursor = page(call, rows, 20, 50)
    return {"nextPageCursor": cursor, "list": chosen}


def _window(call: Call, now: int) -> tuple[int, int]:
    start, end = call.integer("startTime", 0), call.integer("endTime", 0)
    if not start:
        return (end or now) - DAY_MS, end or now
    if end - start > 7 * DAY_MS:
        raise refuse(10001, "params error: The time range between startTime and endTime cannot exceed 7 days")
    return start, end or start + DAY_MS


def _log_rows(world: World, owner: Account) -> Iterator[dict[str, Any]]:
    """Newest first; the balance after each row is found by undoing the later ones."""
    balance = owner.balance(QUOTE).total
    events: list[Fill | Payment] = [*owner.fills, *owner.payments]
    for event in sorted(events, key=lambda event: event.at_ms)[::-1]:
        row, change = _settlement(event) if isinstance(event, Payment) else _trade(event)
        yield row | {"change": plain(change), "cashBalance": plain(balance)}
        balance -= change


def _settlement(payment: Payment) -> tuple[dict[str, Any], Decimal]:
    amounts = {"funding": plain(payment.amount), "fee": "0", "cashFlow": "0", "feeRate": plain(payment.rate)}
    sizes = {"qty": plain(abs(payment.size)), "size": plain(payment.size), "tradePrice": plain(payment.mark)}
    ids = {"id": f"{payment.id}_{payment.market.id}_161440", "tradeId": uuid_text(payment.id), "orderId": "", "orderLinkId": ""}
    row = _row(payment.market, "SETTLEMENT", "Buy" if payment.size > 0 else "Sell", payment.at_ms)
    return row | ids | amounts | sizes, payment.amount


def _trade(fill: Fill) -> tuple[dict[str, Any], Decimal]:
    order, market = fill.order, fill.order.market
    fee = fill.fee if fill.fee_asset == QUOTE else ZERO
    flow = fill.realized
    if market.is_spot:
        flow = -fill.quote if order.ask.side == "BUY" else fill.quote
    rate = (MAKER_FEE if fill.maker else TAKER_FEE)[market.venue]
    amounts = {"funding": "", "fee": plain(fee), "cashFlow": plain(flow), "feeRate": plain(rate)}
    sizes = {"qty": plain(fill.quantity), "size": plain(fill.quantity), "tradePrice": plain(fill.price)}
    ids = {"id": f"{fill.id}_{market.id}_161440", "tradeId": str(fill.id), "orderId": order_id(order), "orderLinkId": link_of(order)}
    return _row(market, "TRADE", order.ask.side.title(), fill.at_ms) | ids | amounts | sizes, flow - fee


def _row(market: Market, kind: str, side: str, at_ms: int) -> dict[str, Any]:
    category = "spot" if market.is_spot else "linear"
    words = {"transSubType": "", "bonusChange": "", "extraFees": ""}
    return {"symbol": market.id, "category": category, "side": side, "type": kind, "currency": QUOTE, "transactionTime": str(at_ms)} | words


USDM: Final = {("GET", "/fapi/v1/income"): Route(income, "signed", 30)}
BYBIT: Final = {("GET", "/v5/account/transaction-log"): Route(transaction_log, "signed", group="query")}
