"""The simulator's ledger held against the read models: every order, every fee, every position, to the last digit.

Enters: what the simulator says (`GET /_ledger`) and rows of `trades` and `positions`. Leaves: differences as sentences; none means equal.
"""

from __future__ import annotations

import json
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from engine.config import Settings
from engine.domain.values import SPOT_VENUES
from ops.commands.common import query

ZERO: Final = Decimal(0)
PAGE: Final = 5000
TRADES: Final = """
SELECT command_key, follower_key, exchange, symbol, status, mode, filled, average_price, fee_base, fee_quote, published_at, leg, kind
FROM trades WHERE origin = 'log'
"""
LOTS: Final = """
SELECT follower_key, exchange, symbol, side, sum(filled) AS filled, sum(dust) AS dust, sum(pending + reserved) AS open
FROM positions WHERE origin = 'log' AND mode IS DISTINCT FROM 'shadow' GROUP BY 1, 2, 3, 4
"""


@dataclass(frozen=True)
class Truth:
    """The ledger: orders by client order id, accounts by their label (the follower)."""

    orders: dict[str, dict[str, Any]]
    accounts: dict[str, dict[str, Any]]
    doubled: tuple[str, ...]


def read_ledger(base_url: str) -> Truth:
    """All pages of the simulator's ledger."""
    orders: dict[str, dict[str, Any]] = {}
    doubled, after = [], 0
    while True:
        page = _get(f"{base_url}/_ledger?after={after}&limit={PAGE}")
        for entry in page["entries"]:
            if entry["client_order_id"] in orders or entry["executions"] > 1:
                doubled.append(entry["client_order_id"])
            orders[entry["client_order_id"]] = entry
        if page["next"] is None:
            return Truth(orders, {account["label"]: account for account in page["accounts"]}, tuple(doubled))
        after = page["next"]


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def differences(settings: Settings, truth: Truth) -> list[str]:
    """Sentences about what differs between ledger, trades and positions."""
    return compare(truth, {row["command_key"]: row for row in query(settings, TRADES)}, query(settings, LOTS))


def compare(truth: Truth, trades: Mapping[str, Mapping[str, Any]], lots: Iterable[Mapping[str, Any]]) -> list[str]:
    """The same about any trades (by command) and lots, in the form of the rows that `TRADES` and `LOTS` select."""
    found = [f"order {order} was executed more than once" for order in truth.doubled]
    return [*found, *_orders(truth, trades), *_positions(truth, lots)]


def _orders(truth: Truth, trades: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for command, trade in trades.items():
        yield from _order(command, trade, truth.orders.get(command))
    for command, entry in truth.orders.items():
        if Decimal(entry["executed"]) and command not in trades:
            yield f"order {command} was executed ({entry['executed']} {entry['symbol']}) and has no trade"


def _order(command: str, trade: Mapping[str, Any], entry: Mapping[str, Any] | None) -> Iterable[str]:
    executed = Decimal(entry["executed"]) if entry else ZERO
    filled = ZERO if trade["mode"] == "shadow" else trade["filled"]
    if executed != filled:
        yield f"order {command} ({trade['status']}): ledger executed {executed}, trade filled {filled}"
    if entry is None or not executed:
        return
    fees = {asset: Decimal(amount) for asset, amount in entry["fees"].items() if Decimal(amount)}
    base = trade["symbol"].split("/")[0]
    ours = {asset: amount for asset, amount in ((base, trade["fee_base"]), ("USDT", trade["fee_quote"])) if amount}
    if fees != ours:
        yield f"order {command}: ledger fees {fees}, trade fees {ours}"
    average = Decimal(entry["quote"]) / executed
    if trade["average_price"] is None or abs(trade["average_price"] - average) > average * Decimal("1e-9"):
        yield f"order {command}: ledger average {average}, trade average {trade['average_price']}"


def _positions(truth: Truth, lots: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    ours: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for lot in lots:
        if lot["open"]:
            yield f"{lot['follower_key']} {lot['symbol']}: {lot['open']} is still ordered"
        held = lot["filled"] + lot["dust"]
        ours[lot["follower_key"], lot["exchange"], lot["symbol"]] += held if lot["side"] == "long" else -held
    theirs = dict(_held(truth))
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key, ZERO) != theirs.get(key, ZERO):
            yield f"{' '.join(key)}: ledger holds {theirs.get(key, ZERO)}, lots say {ours.get(key, ZERO)}"


def _held(truth: Truth) -> Iterable[tuple[tuple[str, str, str], Decimal]]:
    traded = {(entry["account"], entry["venue"], entry["symbol"]) for entry in truth.orders.values()}
    for follower, venue, symbol in traded:
        if venue in SPOT_VENUES:
            balance = truth.accounts[follower]["balances"].get(symbol.split("/")[0], {"total": "0"})
            yield (follower, venue, symbol), Decimal(balance["total"])
    for follower, account in truth.accounts.items():
        for held in account["positions"]:
            quantity = Decimal(held["quantity"])
            yield (follower, held["venue"], held["symbol"]), quantity if held["side"] != "short" else -abs(quantity)
