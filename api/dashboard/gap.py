"""Where the difference between whales and followers went: rows of `board_gap` enter, parts that add up leave. Quote amounts, Decimal.

The window's orders of copies, each with sign s (+1 buy, -1 sell), filled quantity q, fill price F, the whale's price W, the price M when it
was decided (the venue's mark if one came after the whale's fill; W if it was decided within a second of it; else unknown), and V, the
newest mark of the market (else the newest price at which a whale traded it):

    perfect  = sum of s q (V - W) / r by lot     what the follows asked for at the whales' prices, no fees; r = filled / wanted of opens
    delay    = sum of s q (M - W)                the market moved before the engine decided
    slippage = sum of s q (F - M)                what came after: the way to the venue, spread, depth
    unsplit  = sum of s q (F - W) without M      delay and slippage together, where no recent mark was known
    fees     = fees in quote, base fees at F
    sizing   = perfect - sum of s q (V - W)      caps, steps and partial fills; negative when rounding up helped
    actual   = sum of s q (V - F) - fees         what the followers have

perfect - delay - slippage - unsplit - fees - sizing = actual, exactly. Decision 0078 says what is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

ZERO: Final = Decimal(0)
PARTS: Final[dict[str, tuple[str, str]]] = {
    "delay": ("Delay", "The market moved between the whale's fill and the decision to copy it."),
    "slippage": ("Slippage", "Between the decision and the fill: the way to the venue, spread and depth of the book."),
    "unsplit": ("Price, not split", "Delay and slippage together, for orders decided late and without a mark from after the whale's fill."),
    "fees": ("Fees", "What the venues took; fees in the base coin at the fill's price."),
    "sizing": ("Sizing", "Copies that were smaller (or larger) than asked for: caps, venue steps, partial fills."),
}
WIDTH: Final = 1000
"""Units of the bars' drawing."""


class Step(NamedTuple):
    """One row of the waterfall: a bar from `x` over `width`, nothing at `zero`, in units of `WIDTH`; `amount` as it changes the result."""

    name: str
    label: str
    hint: str
    amount: Decimal
    x: float
    width: float
    tone: str
    zero: float


@dataclass(frozen=True)
class Gap:
    """The sums of a window. Parts are positive when they cost the followers."""

    perfect: Decimal = ZERO
    delay: Decimal = ZERO
    slippage: Decimal = ZERO
    unsplit: Decimal = ZERO
    fees: Decimal = ZERO
    sizing: Decimal = ZERO
    actual: Decimal = ZERO
    notional: Decimal = ZERO
    fills: int = 0

    @property
    def lost(self) -> Decimal:
        """The whole difference."""
        return self.perfect - self.actual

    @property
    def lost_bps(self) -> Decimal | None:
        """The difference in basis points of what was traded."""
        return self.lost / self.notional * 10_000 if self.notional else None

    def steps(self) -> list[Step]:
        """The waterfall from copied perfectly to what the followers have; a part that is nothing and optional is left out."""
        levels = [ZERO, self.perfect]
        parts = [(name, getattr(self, name)) for name in PARTS if name != "unsplit" or self.unsplit]
        for _, cost in parts:
            levels.append(levels[-1] - cost)
        low, high = min(*levels, self.actual, ZERO), max(*levels, self.actual, ZERO)
        scale = WIDTH / float(high - low) if high > low else 0.0

        def bar(name: str, label: str, hint: str, amount: Decimal, begin: Decimal, end: Decimal, tone: str) -> Step:
            left, right = sorted((begin, end))
            return Step(
                name, label, hint, amount, float(left - low) * scale, max(float(right - left) * scale, 3.0), tone, float(-low) * scale
            )

        first = "Copied perfectly", "What the follows asked for, at the whales' own prices and without fees."
        last = "Followers got", "Result of what was really filled, at real prices, less fees."
        found = [bar("perfect", *first, self.perfect, ZERO, self.perfect, "whole")]
        for number, (name, cost) in enumerate(parts, 1):
            tone = "loss" if cost > 0 else "gain"
            found.append(bar(name, *PARTS[name], -cost, levels[number], levels[number + 1], tone))
        return [*found, bar("actual", *last, self.actual, ZERO, self.actual, "whole")]


def read_gap(row: Mapping[str, Any]) -> Gap:
    """One row."""
    return Gap(**{name: row[name] for name in Gap.__dataclass_fields__})


def total(gaps: Iterable[Gap]) -> Gap:
    """The sum over whales."""
    known = list(gaps)
    return Gap(**{name: sum(getattr(gap, name) for gap in known) for name in Gap.__dataclass_fields__}) if known else Gap()
