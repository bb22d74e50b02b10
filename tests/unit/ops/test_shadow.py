"""Shadow orders beside a reference's trades: what counts as the same, and what is missing on which side."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ops.shadow import Options, compare, price_bps, summary

AT = datetime(2026, 1, 1, tzinfo=UTC)


def trade(follower: str = "f", signal: str = "s", side: str = "buy", quantity: str = "1", price: str | None = "100") -> dict[str, Any]:
    """One side's sum."""
    amount = None if price is None else Decimal(price)
    return {
        "follower": follower,
        "signal": signal,
        "side": side,
        "symbol": "BTC/USDT",
        "quantity": Decimal(quantity),
        "price": amount,
        "status": "filled",
        "at": AT,
    }


@pytest.mark.parametrize(
    ("theirs", "verdict", "size", "bps"),
    [
        (trade(quantity="1.005", price="100.4"), "same", "0.50", "40.0"),
        (trade(quantity="1.2", price="100.4"), "size", "20.00", "40.0"),
        (trade(quantity="0.5"), "size", "-50.00", "0.0"),
        (trade(price="101"), "price", "0.00", "100.0"),
        (trade(price="99"), "price", "0.00", "-100.0"),
        (trade(price=None), "same", "0.00", None),
    ],
)
def test_verdicts(theirs: dict[str, Any], verdict: str, size: str, bps: str | None) -> None:
    [row] = compare([trade()], [theirs], Options())
    assert (row["verdict"], row["size_percent"], row["price_bps"]) == (verdict, Decimal(size), None if bps is None else Decimal(bps))


def test_a_worse_price_is_positive_on_both_sides() -> None:
    assert price_bps("buy", Decimal(100), Decimal(101)) == price_bps("sell", Decimal(100), Decimal(99)) == 100


def test_missing_on_either_side() -> None:
    rows = compare(
        [trade(signal="a"), trade(signal="b")], [trade(signal="b"), trade(signal="c"), trade(signal="b", side="sell")], Options()
    )
    assert [(row["signal"], row["side"], row["verdict"]) for row in rows] == [
        ("a", "buy", "only_shadow"),
        ("b", "buy", "same"),
        ("b", "sell", "only_reference"),
        ("c", "buy", "only_reference"),
    ]
    found = summary(rows)
    assert (found["compared"], found["same"], found["only_shadow"], found["only_reference"]) == (4, 1, 1, 2)
    assert (found["shadow_quote"], found["reference_quote"]) == (200, 300)


def test_one_reference_stands_for_every_shadow_follower() -> None:
    rows = compare([trade("x"), trade("y", quantity="2")], [trade("live")], Options(against="live"))
    assert [(row["follower"], row["verdict"]) for row in rows] == [("x", "same"), ("y", "size")]
    [lacking] = compare([], [trade("live")], Options(follower="x", against="live"))
    assert (lacking["follower"], lacking["verdict"]) == ("x", "only_reference")
