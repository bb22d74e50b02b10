"""An explained signal as lines for people: every number in the unit of its reason, every version, every stage in milliseconds.

Enters: the story of `ops.explain`. Leaves: lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

Row = dict[str, Any]
SHOWN: Final = 20
"""Decisions that are told when no follower is named."""
STAGES: Final = ("decided_at", "attempted_at", "acknowledged_at", "settled_at")
QUOTE: Final = "{found} quote, the limit is {limit}"
SENTENCES: Final[dict[str, str]] = {
    "signal_expired": "the signal was over at {limit_time}, decided {late} later",
    "copy_trading_disabled": "the follower has copying switched off",
    "paused": "the follower or the queue is paused {limit} {found}",
    "account_not_allowed": "the account's check refused live trading: {found}",
    "kill_switch": "halted by the switch {limit}",
    "close_only": "only exits pass: {limit}",
    "auto_copy_disabled": "the follow has copying switched off {found}",
    "symbol_not_allowed": "the follow does not allow {found}",
    "symbol_not_mapped": "{limit} has no market for {found}",
    "trade_type_not_allowed": "{found} is not among {limit}",
    "short_on_spot": "{limit} is spot and has no shorts",
    "not_in_rollout": "the follow is not among the first {limit} percent",
    "whale_in_position": "the whale held the position before the follow began; copied once it was flat",
    "order_already_copied": "the whale's order {found} was copied with an earlier fill",
    "stale": "{found} ms old, the limit is {limit} ms",
    "price_deviation": "the venue's price is {found} bps worse than the whale's, the limit is {limit}",
    "opposite_position": "{found} is held or ordered on the other side",
    "max_open_positions": "{found} positions are open, the limit is {limit}",
    "max_position": QUOTE,
    "max_exposure": QUOTE,
    "daily_loss": "lost {found} quote today, the limit is {limit}",
    "drawdown": "{found} percent below the best, the limit is {limit}",
    "cooldown": "{found} ms after the last copy, the limit is {limit} ms",
    "equity_unknown": "the account's equity is {found} ms old, the limit is {limit} ms",
    "whale_equity_unknown": "the signal does not say the whale's equity",
    "nothing_to_close": "the follower holds nothing of it",
    "exits_not_copied": "the follow does not copy exits",
    "whale_closed": "the whale closed it with {found}, before it was decided",
}
"""What a reason says with its limit and the value that was found."""


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
    yield f"  {place}, published {_time(signal['published_at'])}, {age:.3f} s after it was detected"


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


def sentence(decision: Row) -> str:
    """A reason with its numbers."""
    limit, found = (_told(decision[name] or "") for name in ("limit_value", "found_value"))
    if decision["reason"] == "below_minimum":
        kind = "exit; it leaves with the next one" if decision["action"] in ("reduce", "close") else "order, in quote"
        return f"{found} is less than {limit}, the venue's smallest {kind}"
    times = {"limit_time": "", "late": ""}
    if decision["reason"] == "signal_expired":
        times = {"limit_time": _time(datetime.fromtimestamp(int(limit) / 1000, UTC)), "late": f"{(int(found) - int(limit)) / 1000:.1f} s"}
    return SENTENCES[decision["reason"]].format(limit=limit, found=found, **times).strip()


def _told(value: str) -> str:
    try:
        return number(Decimal(value))
    except ArithmeticError:
        return value


def _order(order: Row, published: datetime | None) -> str:
    text = f"{order['command_key']} {order['kind']} {order['side']} {number(order['quantity'])}: {order['status']}"
    text += f" ({order['reason']} {order['raw_code'] or ''})".replace(" )", ")") if order["reason"] else ""
    if order["filled"]:
        text += f", {number(order['filled'])} at {number(order['average_price'])}, slippage {order['slippage_bps']} bps"
        text += "".join(
            f", {name.replace('_', ' ')} {number(order[name])}" for name in ("fee_base", "fee_quote", "realized_pnl") if order[name]
        )
    return text + _stages(order, published)


def _stages(order: Row, published: datetime | None) -> str:
    if published is None:
        return ""
    reached = [(name.removesuffix("_at"), order[name]) for name in STAGES if order[name] is not None]
    return "".join(f", {name} +{(at - published).total_seconds() * 1000:.0f} ms" for name, at in reached)


def number(amount: Decimal | None) -> str:
    """At most 12 significant digits (whole numbers: all), no trailing zeros, no exponent."""
    if amount is None:
        return "unknown"
    plain = f"{amount:f}" if amount == amount.to_integral_value() else f"{Decimal(f'{amount:.12g}'):f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
