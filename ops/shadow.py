"""`remora shadow diff`: what followers in mode shadow would have done beside what a reference did with the same signals.

Enters: shadow orders and a reference's trades, both summed by follower, signal and side. The reference is the older system (an imported
follower beside its own older trades) or another follower of ours. Leaves: one row a signal and follower, with its verdict, and sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import SecretStr

from engine.config import Settings
from ops.commands.common import query
from projections.sql import load

SQL: Final = load("shadow.sql")
VERDICTS: Final = ("same", "size", "price", "only_shadow", "only_reference")
Row = dict[str, Any]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Options:
    """Whom to compare with whom. `against` None: each imported follower with its older trades, which lie in `source` (None: our database).

    `size_percent` and `price_bps` are what may differ.
    """

    follower: str | None = None
    against: str | None = None
    source: str | None = None
    hours: int = 24
    size_percent: Decimal = Decimal(1)
    price_bps: Decimal = Decimal(50)


def shadow_diff(settings: Settings, options: Options) -> dict[str, Any]:
    """Read both sides and compare. Errors: DependencyUnreachable."""
    ours = query(settings, SQL["shadow_orders"], hours=options.hours, follower=options.follower)
    if options.against is not None:
        theirs = query(settings, SQL["trades_of"], hours=options.hours, follower=options.against)
    else:
        older = settings if options.source is None else settings.model_copy(update={"database_url": SecretStr(options.source)})
        theirs = query(older, SQL["older_trades"], hours=options.hours, follower=options.follower)
    rows = compare(ours, theirs, options)
    add_reasons(settings, rows)
    return {"summary": summary(rows), "differences": [row for row in rows if row["verdict"] != "same"]}


def compare(ours: Iterable[Row], theirs: Iterable[Row], options: Options) -> list[Row]:
    """One row for each signal, side and follower that either side traded. With `against`, its trades stand for every shadow follower."""
    shadow = {(row["follower"], row["signal"], row["side"]): row for row in ours}
    followers = sorted({follower for follower, _, _ in shadow}) or ([options.follower] if options.follower else [])
    reference: dict[Key, Row] = {}
    for row in theirs:
        for follower in followers if options.against is not None else [row["follower"]]:
            reference[follower, row["signal"], row["side"]] = row
    times = {key: row["at"] for key, row in (*reference.items(), *shadow.items())}
    return [_row(key, shadow.get(key), reference.get(key), options) for key in sorted(times, key=lambda key: (times[key], key))]


def _row(key: Key, ours: Row | None, theirs: Row | None, options: Options) -> Row:
    either = ours or theirs
    assert either is not None, "one of the two has the key"
    found: Row = {"follower": key[0], "signal": key[1], "side": key[2], "symbol": either["symbol"]}
    found |= {"shadow_quantity": ours and ours["quantity"], "reference_quantity": theirs and theirs["quantity"]}
    found |= {"shadow_price": ours and ours["price"], "reference_price": theirs and theirs["price"]}
    found |= {"size_percent": None, "price_bps": None, "reason": None, "reference_status": theirs and theirs["status"]}
    if ours is None or theirs is None:
        return found | {"verdict": "only_reference" if ours is None else "only_shadow"}
    size = percent(theirs["quantity"], ours["quantity"])
    worse = price_bps(key[2], ours["price"], theirs["price"])
    verdict = "size" if size is None or abs(size) > options.size_percent else "same"
    if verdict == "same" and worse is not None and abs(worse) > options.price_bps:
        verdict = "price"
    return found | {"size_percent": size, "price_bps": worse, "verdict": verdict}


def percent(theirs: Decimal, ours: Decimal) -> Decimal | None:
    """By how much the reference's quantity is larger; None when ours is nothing."""
    return round((theirs / ours - 1) * 100, 2) if ours else None


def price_bps(side: str, ours: Decimal | None, theirs: Decimal | None) -> Decimal | None:
    """How much worse the reference's price is than the one the shadow order counted with; negative: better. None when one is not known."""
    if not ours or theirs is None:
        return None
    worse = theirs - ours if side == "buy" else ours - theirs
    return round(worse / ours * 10_000, 1)


def add_reasons(settings: Settings, rows: Sequence[Row]) -> None:
    """Why the shadow follower did not copy what the reference traded; `no_decision` when it never decided on that signal."""
    missing: dict[str, list[Row]] = {}
    for row in rows:
        if row["verdict"] == "only_reference":
            missing.setdefault(row["follower"], []).append(row)
    for follower, lacking in missing.items():
        found = query(settings, SQL["decided"], follower=follower, signals=[row["signal"] for row in lacking])
        reasons = {row["signal"]: row["reason"] or row["outcome"] for row in found}
        for row in lacking:
            row["reason"] = reasons.get(row["signal"], "no_decision")


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts by verdict, reasons of what is missing, and what both sides traded, in quote."""
    counts = Counter(row["verdict"] for row in rows)
    return {
        "compared": len(rows),
        **{verdict: counts[verdict] for verdict in VERDICTS},
        "reasons": dict(Counter(row["reason"] for row in rows if row["reason"]).most_common()),
        "shadow_quote": _quote(rows, "shadow"),
        "reference_quote": _quote(rows, "reference"),
    }


def _quote(rows: Iterable[Mapping[str, Any]], side: str) -> Decimal:
    amounts = ((row[f"{side}_quantity"], row[f"{side}_price"]) for row in rows)
    return round(sum((quantity * price for quantity, price in amounts if quantity and price), Decimal(0)), 2)
