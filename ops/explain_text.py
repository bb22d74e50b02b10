"""An explained signal as lines for people: every number in the unit of its reason, every version, every stage in milliseconds.

Enters: the story of `ops.explain`. Leaves: lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from projections.words import number, sentence, utc_time

Row = dict[str, Any]
SHOWN: Final = 20
"""Decisions that are told when no follower is named."""
STAGES: Final = ("decided_at", "attempted_at", "acknowledged_at", "settled_at")


def lines(story: Row) -> Iterator[str]:
    """The whole story."""
    signal, decisions = story["signal"], story["decisions"]
    yield from _signal(signal)
    yield f"  {len(decisions)} decisions: {_counts(decisions) or 'nobody followed the whale'}"
    shown = decisions if story["follower"] else decisions[:SHOWN]
    for decision in shown:
        yield from _decision(decision, signal)
        for order in decision["orders"]:
            yield f"    {_order(order, signal['published_at'])}"
    if len(decisions) > len(shown):
        yield f"  and {len(decisions) - len(shown)} more: name a follower, or take --json"
    if story["follower"] and not decisions:
        yield f"  {story['follower']} did not follow {signal['whale_key']} then, or is in a shard that has not decided yet"


def _signal(signal: Row) -> Iterator[str]:
    yield (
        f"{signal['signal_key']}: whale {signal['whale_key']} {signal['action']} {signal['symbol']}, "
        f"{signal['side']} {number(signal['amount'])} at {number(signal['price'])}"
    )
    if signal["position_after"] is not None:
        yield f"  the whale's position: {number(signal['position_before'])} to {number(signal['position_after'])}"
    yield f"  {signal['status']}, priority {signal['priority']}" + (f", held by {signal['held']}" if signal["held"] else "")
    age = (signal["published_at"] - signal["detected_at"]).total_seconds()
    place = f"whale.signals partition {signal['source_partition']} offset {signal['source_offset']}"
    yield f"  {place}, published {utc_time(signal['published_at'])}, {age:.3f} s after it was detected"


def _counts(decisions: list[Row]) -> str:
    counts = Counter(decision["outcome"] + (f" {decision['reason']}" if decision["reason"] else "") for decision in decisions)
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


def _decision(decision: Row, signal: Row) -> Iterator[str]:
    now = decision["current_version"]
    version = f"settings version {decision['config_version']}"
    version += f" (now {now})" if now not in (None, decision["config_version"]) else ""
    place = f"shard {decision['shard']} event {decision['event_offset']}"
    where = f" on {decision['venue']} {decision['venue_symbol']}" if decision["venue"] else ""
    told = f": {sentence(decision)}" if decision["reason"] else ""
    what = f"skipped, {decision['reason']}" if decision["outcome"] == "skipped" else decision["outcome"] + where
    if decision["outcome"] != "skipped" and decision["reason"]:
        what += f", without its open, {decision['reason']}"
    yield f"  {decision['follower_key']}: {what}{told}; {version}, {place}"
    if decision["sizing"]:
        yield f"    {_sizing(decision)}"
    for cap, before, after in decision["cuts"] or ():
        yield f"    cut by {cap} from {number(Decimal(before))} to {number(Decimal(after))} quote"


def _sizing(decision: Row) -> str:
    inputs = ", ".join(f"{name} {number(Decimal(value))}" for name, value in (decision["inputs"] or {}).items())
    amounts = [number(decision[name]) for name in ("wanted_quote", "final_quote", "quantity")]
    return f"{decision['sizing']} ({inputs}): wanted {amounts[0]} quote, got {amounts[1]} quote = {amounts[2]}"


def _order(order: Row, published: datetime | None) -> str:
    text = f"{order['command_key']} {order['kind']} {order['side']} {number(order['quantity'])}: {order['status']}"
    text += f" ({order['reason']} {order['raw_code'] or ''})".replace(" )", ")") if order["reason"] else ""
    if order["filled"]:
        text += f", {number(order['filled'])} at {number(order['average_price'])}, slippage {order['slippage_bps']} bps"
        text += "".join(
            f", {name.replace('_', ' ')} {number(order[name])}" for name in ("fee_base", "fee_quote", "realized_pnl") if order[name]
        )
    return text + _stages(order, published) + _executions(order.get("executions"))


def _executions(places: Row | None) -> str:
    """Where the executor wrote it down; nothing when the log does not tell."""
    known = (
        [f"{name} at offset {places[name]}" for name in ("attempted", "unknown", "settled") if places[name] is not None] if places else []
    )
    return f", trade.executions partition {places['partition']}: {', '.join(known)}" if places and known else ""


def _stages(order: Row, published: datetime | None) -> str:
    if published is None:
        return ""
    reached = [(name.removesuffix("_at"), order[name]) for name in STAGES if order[name] is not None]
    return "".join(f", {name} +{(at - published).total_seconds() * 1000:.0f} ms" for name, at in reached)
