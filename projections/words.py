"""Decisions in plain words: a row of `copy_decisions` enters, a sentence with its numbers leaves. For the CLI and the dashboard."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

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


def sentence(decision: dict[str, Any]) -> str:
    """A reason with its numbers."""
    limit, found = (_told(decision[name] or "") for name in ("limit_value", "found_value"))
    if decision["reason"] == "below_minimum":
        kind = "exit; it leaves with the next one" if decision["action"] in ("reduce", "close") else "order, in quote"
        return f"{found} is less than {limit}, the venue's smallest {kind}"
    times = {"limit_time": "", "late": ""}
    if decision["reason"] == "signal_expired":
        times = {
            "limit_time": utc_time(datetime.fromtimestamp(int(limit) / 1000, UTC)),
            "late": f"{(int(found) - int(limit)) / 1000:.1f} s",
        }
    return SENTENCES[decision["reason"]].format(limit=limit, found=found, **times).strip()


def _told(value: str) -> str:
    try:
        return number(Decimal(value))
    except ArithmeticError:
        return value


def number(amount: Decimal | None) -> str:
    """At most 12 significant digits (whole numbers: all), no trailing zeros, no exponent."""
    if amount is None:
        return "unknown"
    plain = f"{amount:f}" if amount == amount.to_integral_value() else f"{Decimal(f'{amount:.12g}'):f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def utc_time(at: datetime) -> str:
    """To the millisecond."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
