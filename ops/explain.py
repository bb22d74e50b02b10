"""`remora explain`: one signal (or the signal behind an order) as its followers' decisions, each with its numbers and its orders.

Enters: a signal id or a client order id, perhaps a follower. Leaves: a story read from the read models, as JSON or as text.
"""

from __future__ import annotations

import json as jsonlib
from datetime import datetime
from typing import Any, Final

from engine.config import Settings
from engine.errors import ConfigInvalid
from ops.commands.common import query

SIGNAL: Final = """
SELECT id, signal_key, whale_key, symbol, side, action, amount, price, priority, status, held, position_before, position_after,
       source_partition, source_offset, detected_at, published_at, received_at, processed_at, error_message
FROM whale_signals WHERE signal_key = %(subject)s
   OR signal_key = (SELECT cause FROM trades WHERE command_key = %(subject)s)
"""
DECISIONS: Final = """
SELECT follower_key, outcome, reason, limit_value, found_value, venue, venue_symbol, direction, sizing, inputs, wanted_quote, final_quote,
       quantity, cuts, config_version, decided_at, position
FROM copy_decisions WHERE signal_id = %(signal)s AND (%(follower)s::text IS NULL OR follower_key = %(follower)s) ORDER BY follower_key
"""
ORDERS: Final = """
SELECT follower_key, command_key, kind, side, quantity, status, reason, raw_code, exchange_order_id, filled, average_price, reference_price,
       slippage_bps, fee_base, fee_quote, realized_pnl, attempts, decided_at, attempted_at, acknowledged_at, settled_at
FROM trades WHERE cause = %(cause)s AND (%(follower)s::text IS NULL OR follower_key = %(follower)s) ORDER BY follower_key, leg
"""
STAGES: Final = ("decided_at", "attempted_at", "acknowledged_at", "settled_at")


def decisions_of(settings: Settings, subject: str, follower: str | None) -> dict[str, Any]:
    """The signal with its decisions, each with its orders. Errors: ConfigInvalid when there is no such signal or order."""
    found = query(settings, SIGNAL, subject=subject)
    if not found:
        raise ConfigInvalid(f"There is no signal and no order {subject!r} in the read models.")
    signal = found[0]
    decisions = query(settings, DECISIONS, signal=signal["id"], follower=follower)
    orders = query(settings, ORDERS, cause=signal["signal_key"], follower=follower)
    for decision in decisions:
        decision["orders"] = [order for order in orders if order["follower_key"] == decision["follower_key"]]
    return {"signal": signal, "decisions": decisions}


def print_story(story: dict[str, Any], json: bool) -> None:
    """As one JSON object, or as lines for people."""
    if json:
        print(jsonlib.dumps(story, default=str))
        return
    signal = story["signal"]
    print(
        f"{signal['signal_key']}: whale {signal['whale_key']} {signal['action']} {signal['symbol']}, {signal['side']} {signal['amount']:f}"
    )
    print(f"  at {signal['price']:f}, priority {signal['priority']}, {signal['status']}")
    print(f"  whale.signals partition {signal['source_partition']} offset {signal['source_offset']}, published {signal['published_at']}")
    for decision in story["decisions"]:
        for line in _decision(decision):
            print(line)
        for order in decision["orders"]:
            print(f"    {_order(order, signal['published_at'])}")


def _decision(decision: dict[str, Any]) -> list[str]:
    version = f"settings version {decision['config_version']}"
    if decision["outcome"] == "skipped":
        numbers = f" (limit {decision['limit_value']}, found {decision['found_value']})" if decision["found_value"] else ""
        return [f"  {decision['follower_key']}: skipped, {decision['reason']}{numbers}, {version}"]
    lines = [f"  {decision['follower_key']}: {decision['outcome']} on {decision['venue']} {decision['venue_symbol']}, {version}"]
    inputs = ", ".join(f"{name} {value}" for name, value in (decision["inputs"] or {}).items())
    lines.append(f"    {decision['sizing']} ({inputs}): wanted {decision['wanted_quote']}, got {decision['final_quote']} quote")
    lines += [f"    cut by {cap} from {before} to {after}" for cap, before, after in decision["cuts"] or ()]
    return lines


def _order(order: dict[str, Any], published: datetime | None) -> str:
    text = f"{order['command_key']} {order['kind']} {order['side']} {order['quantity']:f}: {order['status']}"
    text += f" ({order['reason']} {order['raw_code'] or ''})" if order["reason"] else ""
    if order["filled"]:
        text += f", {order['filled']:f} at {order['average_price']:f}, slippage {order['slippage_bps']} bps"
    return text + _stages(order, published)


def _stages(order: dict[str, Any], published: datetime | None) -> str:
    if published is None:
        return ""
    reached = [(name.removesuffix("_at"), order[name]) for name in STAGES if order[name] is not None]
    return "".join(f", {name} +{(at - published).total_seconds() * 1000:.0f} ms" for name, at in reached)
