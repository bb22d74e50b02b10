"""The demo's report: what came in, what was decided and why, what was filled, how long it took, and whether the books agree."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from engine.config import Settings
from engine.domain.values import VENUES
from ops.commands.common import query
from ops.truth import TRADES, Truth, differences, read_ledger

OUTCOMES: Final = "SELECT outcome, reason, whale_key, count(*) AS decisions FROM copy_decisions GROUP BY 1, 2, 3"
STATUSES: Final = "SELECT status, count(*) AS signals FROM whale_signals WHERE origin = 'log' GROUP BY 1 ORDER BY 1"
OPEN: Final = "SELECT count(*) AS positions FROM positions WHERE origin = 'log' AND status = 'open'"
SETTLE_S: Final = 30.0
FILLED: Final = ("filled", "partial")


async def settled_differences(settings: Settings, simulator_url: str) -> tuple[Truth, list[str]]:
    """The ledger and what differs from it; the newest outcomes get a moment to reach the read models."""
    end = time.monotonic() + SETTLE_S
    while True:
        truth = await asyncio.to_thread(read_ledger, simulator_url)
        found = await asyncio.to_thread(differences, settings, truth)
        if not found or time.monotonic() > end:
            return truth, found
        await asyncio.sleep(0.5)


def build_report(settings: Settings, truth: Truth, found: Sequence[str], published: int, rejected: int) -> dict[str, Any]:
    """One object with the fields that the main job promises."""
    outcomes = query(settings, OUTCOMES)
    trades = query(settings, TRADES)
    sent = [trade for trade in trades if trade["mode"] != "shadow"]
    filled = [trade for trade in sent if trade["status"] in FILLED]
    copied = [row for row in outcomes if row["outcome"] != "skipped"]
    return {
        "signals_in": published,
        "signals_rejected": rejected,
        "signals": {row["status"]: row["signals"] for row in query(settings, STATUSES)},
        "decisions": sum(row["decisions"] for row in outcomes),
        "copied": sum(row["decisions"] for row in copied),
        "copied_by_whale": dict(_total(copied, "whale_key")),
        "skipped": dict(_total((row for row in outcomes if row["outcome"] == "skipped"), "reason")),
        "orders_sent": len(sent),
        "filled": len(filled),
        "filled_by_venue": {venue: sum(trade["exchange"] == venue for trade in filled) for venue in VENUES},
        "not_filled": dict(Counter(trade["status"] for trade in sent if trade["status"] not in FILLED)),
        "positions_open": query(settings, OPEN)[0]["positions"],
        "latency_ms": _latency(truth, sent),
        "ledger_equal": not found,
        "differences": list(found[:20]),
    }


def _total(rows: Iterable[Mapping[str, Any]], key: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for row in rows:
        total[row[key]] += row["decisions"]
    return total


def _latency(truth: Truth, trades: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """From the signal's append to the order request's arrival at the simulator, of orders that a signal caused."""
    delays = sorted(
        truth.orders[trade["command_key"]]["received_at"] - trade["published_at"].timestamp() * 1000
        for trade in trades
        if trade["published_at"] is not None and trade["command_key"] in truth.orders
    )
    return {"p50": percentile(delays, 50), "p99": percentile(delays, 99)}


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Nearest-rank percentile of an ordered sequence, None of an empty one."""
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))], 1)
