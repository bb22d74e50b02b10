"""`remora explain`: one signal (or the signal behind an order) as its followers' decisions, each with its numbers and its orders.

Enters: a signal id or a client order id, perhaps a follower. Leaves: a story read from the read models, as JSON or as text.
"""

from __future__ import annotations

import json as jsonlib
from typing import Any, Final

from engine.config import Settings
from engine.errors import ConfigInvalid
from ops.commands.common import query
from ops.explain_text import lines

SIGNAL: Final = """
SELECT id, signal_key, whale_key, symbol, side, action, amount, price, priority, status, held, position_before, position_after,
       whale_order_id, source_partition, source_offset, detected_at, expires_at, published_at, received_at, processed_at, error_message
FROM whale_signals WHERE signal_key = %(subject)s
   OR signal_key = (SELECT cause FROM trades WHERE command_key = %(subject)s)
"""
DECISIONS: Final = """
SELECT d.follower_key, d.outcome, d.reason, d.limit_value, d.found_value, d.venue, d.venue_symbol, d.direction, d.sizing, d.inputs,
       d.wanted_quote, d.final_quote, d.quantity, d.cuts, d.config_version, now.version AS current_version, d.decided_at,
       d.position >> 52 & 1023 AS shard, d.position >> 8 & ((1::bigint << 44) - 1) AS event_offset
FROM copy_decisions d LEFT JOIN LATERAL (
    SELECT greatest(u.config_version, max(f.config_version)) AS version
    FROM users u LEFT JOIN user_whale_follows f ON f.follower_key = u.follower_key
    WHERE u.follower_key = d.follower_key GROUP BY u.config_version
) now ON true
WHERE d.signal_id = %(signal)s AND (%(follower)s::text IS NULL OR d.follower_key = %(follower)s) ORDER BY d.follower_key
"""
ORDERS: Final = """
SELECT follower_key, command_key, kind, side, quantity, status, reason, raw_code, exchange_order_id, filled, average_price, reference_price,
       slippage_bps, fee_base, fee_quote, realized_pnl, attempts, decided_at, attempted_at, acknowledged_at, settled_at
FROM trades WHERE cause = %(cause)s AND (%(follower)s::text IS NULL OR follower_key = %(follower)s)
ORDER BY follower_key, decided_at, leg
"""


def decisions_of(settings: Settings, subject: str, follower: str | None) -> dict[str, Any]:
    """The signal with its decisions, each with its orders. Errors: ConfigInvalid when there is no such signal or order."""
    found = query(settings, SIGNAL, subject=subject)
    if not found:
        raise ConfigInvalid(f"There is no signal and no order {subject!r} in the read models.")
    signal = found[0]
    decisions = query(settings, DECISIONS, signal=signal["id"], follower=follower)
    orders: dict[str, list[dict[str, Any]]] = {}
    for order in query(settings, ORDERS, cause=signal["signal_key"], follower=follower):
        orders.setdefault(order["follower_key"], []).append(order)
    for decision in decisions:
        decision |= {"action": signal["action"], "orders": orders.get(decision["follower_key"], [])}
    return {"signal": signal, "follower": follower, "decisions": decisions}


def print_story(story: dict[str, Any], json: bool) -> None:
    """As one JSON object, or as lines for people."""
    if json:
        print(jsonlib.dumps(story, default=str))
        return
    for line in lines(story):
        print(line)
