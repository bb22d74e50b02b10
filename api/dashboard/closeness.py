"""How close a follower is to its limits: the limits of its settings and what stands against them enter, meters leave.

What the engine decides by is its own state; this is what the read models know of it, and each meter says what it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from api.dashboard.words import millis, money, quantity

ZERO: Final = Decimal(0)
Figures = Mapping[str, Any]


class Meter(NamedTuple):
    """One limit. `share` is how much of it is used, 0 to 1, None where only single copies are held against it."""

    name: str
    label: str
    used: str
    limit: str
    share: float | None
    hint: str

    @property
    def tone(self) -> str:
        """Colour of the meter."""
        return "plain" if self.share is None or self.share < 0.75 else "warn" if self.share < 1 else "bad"


class Kind(NamedTuple):
    """How a limit is shown."""

    label: str
    hint: str
    used: Callable[[Figures], Decimal]
    text: Callable[[Decimal], str]


def _largest(figures: Figures) -> Decimal:
    return max((Decimal(quote) for quote in figures["markets"]), default=ZERO)


def _exposure(figures: Figures) -> Decimal:
    return sum((Decimal(quote) for quote in figures["markets"]), ZERO)


def _loss(figures: Figures) -> Decimal:
    today: Decimal = figures["today"]
    return max(ZERO, -today)


def _drawdown(figures: Figures) -> Decimal:
    best, equity = figures["best"], figures["equity"]
    return max(ZERO, (best - equity) / best * 100) if best and equity is not None else ZERO


def _cooling(figures: Figures) -> Decimal:
    """What is left of the cooldown."""
    since, limit = figures["since_open_ms"], figures["limits"].get("cooldown_ms")
    return max(ZERO, Decimal(limit) - since) if since is not None and limit is not None else ZERO


def _quote(amount: Decimal) -> str:
    return f"{money(amount)} USDT"


def _percent(amount: Decimal) -> str:
    return f"{amount:.2f} %"


def _bps(amount: Decimal) -> str:
    return f"{quantity(amount)} bps"


KINDS: Final[dict[str, Kind]] = {
    "max_position_quote": Kind("Largest position", "cost of the largest market, with what is ordered", _largest, _quote),
    "max_exposure_quote": Kind("Exposure", "cost of all markets, with what is ordered", _exposure, _quote),
    "max_open_positions": Kind("Open positions", "markets held or ordered", lambda f: Decimal(len(f["markets"])), quantity),
    "daily_loss_quote": Kind("Loss today", "realised today (UTC); the engine adds what is open at its marks", _loss, _quote),
    "max_drawdown_percent": Kind("Drawdown", "equity of the account that copies, below its best of 90 days", _drawdown, _percent),
    "cooldown_ms": Kind("Cooldown", "what is left of it since the last open", _cooling, millis),
}
EACH_COPY: Final[dict[str, tuple[str, str, Callable[[Decimal], str]]]] = {
    "max_deviation_bps": ("Price deviation", "held against each copy; shown is the worst fill of a day", _bps),
    "max_staleness_ms": ("Staleness", "held against each copy", millis),
}


def meters(limits: Mapping[str, Any], known: Figures) -> list[Meter]:
    """One meter a limit that is set. `known` is a row of `board_used`."""
    found, figures = [], {**known, "limits": limits}
    for name, kind in KINDS.items():
        if (limit := limits.get(name)) is not None:
            most, used = Decimal(str(limit)), kind.used(figures)
            share = float(used / most) if most else 1.0
            found.append(Meter(name, kind.label, kind.text(used), kind.text(most), min(share, 1.0), kind.hint))
    for name, (label, hint, text) in EACH_COPY.items():
        if (limit := limits.get(name)) is not None:
            worst = figures["worst_bps"] if name == "max_deviation_bps" and figures["worst_bps"] is not None else None
            found.append(Meter(name, label, text(worst) if worst is not None else "", text(Decimal(str(limit))), None, hint))
    return found
