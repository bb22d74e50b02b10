"""`remora explain`: one signal (or the signal behind an order) as its followers' decisions, each with its numbers and its orders.

Enters: a signal id or a client order id, perhaps a follower. Leaves: a story read from the read models and, for the
places of the executor's records, from the log; as JSON or as text.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
from dataclasses import asdict
from typing import Any

from engine.config import Settings
from engine.errors import ConfigInvalid
from engine.log.executions import Places, Sought, find_executions
from engine.topology import shard_of
from ops.commands.common import query
from ops.explain_text import lines
from projections.sql import load

SQL = load("dashboard.sql")


def decisions_of(settings: Settings, subject: str, follower: str | None) -> dict[str, Any]:
    """The signal with its decisions, each with its orders. Errors: ConfigInvalid when there is no such signal or order."""
    found = query(settings, SQL["story_signal"], subject=subject)
    if not found:
        raise ConfigInvalid(f"There is no signal and no order {subject!r} in the read models.")
    signal = found[0]
    decisions = query(settings, SQL["story_decisions"], signal=signal["id"], follower=follower)
    orders: dict[str, list[dict[str, Any]]] = {}
    for order in query(settings, SQL["story_orders"], cause=signal["signal_key"], follower=follower):
        orders.setdefault(order["follower_key"], []).append(order)
    for decision in decisions:
        decision |= {"action": signal["action"], "orders": orders.get(decision["follower_key"], [])}
    return {"signal": signal, "follower": follower, "decisions": decisions}


async def story_of(settings: Settings, subject: str, follower: str | None) -> dict[str, Any]:
    """`decisions_of` with the log positions of the executor's records, as far as the log tells: `executions` of each order."""
    story = await asyncio.to_thread(decisions_of, settings, subject, follower)
    orders = [order for decision in story["decisions"] for order in decision["orders"]]
    shards = {order["command_key"]: shard_of(order["follower_key"], settings.partitions) for order in orders}
    sought = [Sought(order["command_key"], shards[order["command_key"]], order["decided_at"] or order["created_at"]) for order in orders]
    found = await find_executions(settings, sought) if sought else {}
    for order in orders:
        key = order["command_key"]
        order["executions"] = {"partition": shards[key]} | asdict(found.get(key, Places()))
    return story


def print_story(story: dict[str, Any], json: bool) -> None:
    """As one JSON object, or as lines for people."""
    if json:
        print(jsonlib.dumps(story, default=str))
        return
    for line in lines(story):
        print(line)
