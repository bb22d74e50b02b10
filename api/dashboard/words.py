"""Values as people read them: amounts, times and codes enter, short text leaves. Amounts stay `Decimal` until they are text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from projections.words import number, sentence

CENT: Final = Decimal("0.01")
TENTH: Final = Decimal("0.1")
MINUS: Final = "\u2212"
NONE: Final = "\u2013"

STATUS: Final[dict[str, str]] = {
    "pending": "queued",
    "attempted": "sent",
    "unknown": "answer unknown",
    "filled": "filled",
    "partial": "partly filled",
    "unfilled": "not filled",
    "rejected": "refused by venue",
    "missed": "not sent",
    "shadow": "shadow",
}
TONE: Final[dict[str, str]] = {
    "filled": "good",
    "copied": "good",
    "running": "good",
    "PROCESSED": "good",
    "partial": "warn",
    "reduced": "warn",
    "unknown": "warn",
    "close_only": "warn",
    "unfilled": "warn",
    "rejected": "bad",
    "missed": "bad",
    "halt": "bad",
    "halt_exits": "bad",
    "FAILED": "bad",
}
"""Codes that are coloured; everything else is plain."""
VENUE: Final[dict[str, str]] = {
    "binance": "Binance spot",
    "binanceusdm": "Binance USD-M",
    "bybit": "Bybit spot",
    "bybitlinear": "Bybit linear",
}
SIZING: Final[dict[str, str]] = {
    "fixed_quote": "fixed amount",
    "percent_equity": "percent of equity",
    "proportional_equity": "in proportion to equity",
    "multiplier": "multiple of the whale's quantity",
    "exit": "exit",
}


def money(amount: Decimal | None, signed: bool = False) -> str:
    """Quote amount with thousands and cents; tiny ones keep two digits that say something."""
    if amount is None:
        return NONE
    if amount and abs(amount) < CENT:
        text = f"{float(abs(amount)):.2g}" if abs(amount) >= Decimal("0.0001") else "0.00"
    else:
        text = f"{abs(amount).quantize(CENT, ROUND_HALF_EVEN):,}"
    if text == "0.00":
        return text
    return (MINUS if amount < 0 else "+" if signed else "") + text


def quantity(amount: Decimal | None) -> str:
    """Base units or a price: what the log says, at most 10 significant digits."""
    if amount is None:
        return NONE
    text = number(Decimal(f"{amount:.10g}"))
    whole, _, rest = text.lstrip("-").partition(".")
    grouped = f"{int(whole):,}" + (f".{rest}" if rest else "")
    return MINUS + grouped if amount < 0 else grouped


def points(amount: Decimal | None) -> str:
    """Basis points with a sign, without their unit."""
    return NONE if amount is None else f"{MINUS if amount < 0 else '+' if amount else ''}{abs(amount).quantize(TENTH, ROUND_HALF_EVEN)}"


def signed_bps(amount: Decimal | None) -> str:
    """Basis points with a sign."""
    return NONE if amount is None else f"{points(amount)} bps"


def millis(value: Any) -> str:
    """Milliseconds, from a minute on in larger units."""
    if value is None:
        return NONE
    ms = float(value)
    if abs(ms) < 1000:
        return f"{ms:.1f} ms" if abs(ms) < 10 else f"{ms:.0f} ms"
    if abs(ms) < 60_000:
        return f"{ms / 1000:.2f} s"
    return span(ms / 1000)


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def clock(at: datetime | None) -> str:
    """Time of the day in UTC; the title has the rest."""
    return at.astimezone(UTC).strftime("%H:%M:%S") if at else NONE


def stamp(at: datetime | None) -> str:
    """Date and time to the millisecond, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC" if at else NONE


def tone(code: object) -> str:
    """Class of a status or an outcome."""
    return TONE.get(str(code), "plain")


def spaced(code: object) -> str:
    """A code as words."""
    return str(code).replace("_", " ")


def side_tone(value: Decimal | None) -> str:
    """Class of an amount: gained, lost or neither."""
    return "gain" if value is not None and value > 0 else "loss" if value is not None and value < 0 else "flat"


def exit_words(decision: Mapping[str, Any]) -> str:
    """What an exit came to at once: perhaps nothing, because the opens that it is about are still under way, or too little is left."""
    if decision["quantity"]:
        return f"exit of {quantity(decision['quantity'])}"
    pending = Decimal((decision["inputs"] or {}).get("pending", "0"))
    return (
        "its opens were still under way: what they bring leaves when they settle" if pending else "too small for the venue: it leaves later"
    )


FILTERS: Final[dict[str, Any]] = {
    "money": money,
    "quantity": quantity,
    "bps": signed_bps,
    "points": points,
    "millis": millis,
    "span": span,
    "clock": clock,
    "stamp": stamp,
    "tone": tone,
    "spaced": spaced,
    "side_tone": side_tone,
    "status": lambda code: STATUS.get(code, spaced(code)),
    "venue": lambda code: VENUE.get(code, code),
    "sizing": lambda code: SIZING.get(code, spaced(code)),
    "sentence": sentence,
    "exit_words": exit_words,
}
