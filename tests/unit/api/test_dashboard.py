"""The dashboard's pure parts: the gap adds up, amounts and limits read well, answers are shared."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.closeness import meters
from api.dashboard.gap import WIDTH, Gap, total
from api.dashboard.guide import whale_of
from api.dashboard.shared import Shared
from api.dashboard.words import exit_words, millis, money, quantity, signed_bps
from engine.errors import DependencyUnreachable
from tests.support import wait_until

AMOUNTS = st.decimals(-10_000, 10_000, places=4)
D = Decimal


def gap(perfect: Decimal, *parts: Decimal) -> Gap:
    """A gap whose parts are given."""
    delay, slippage, unsplit, fees, sizing = parts
    return Gap(perfect, delay, slippage, unsplit, fees, sizing, perfect - sum(parts), D(1), 1)


@given(AMOUNTS, st.tuples(*[AMOUNTS] * 5))
def test_the_waterfall_leads_from_perfect_to_what_they_got(perfect: Decimal, parts: tuple[Decimal, ...]) -> None:
    found = gap(perfect, *parts)
    steps = found.steps()
    assert sum(step.amount for step in steps[:-1]) == steps[-1].amount == found.actual
    assert found.lost == sum(parts)
    for step in steps:
        assert -0.01 <= step.x <= WIDTH + 0.01
        assert step.width <= WIDTH + 3
    assert ("unsplit" in {step.name for step in steps}) == bool(parts[2])


def test_gaps_of_whales_add_up() -> None:
    both = total([gap(D(5), D(1), D(2), D(0), D(1), D(0)), gap(D(-2), D(0), D(1), D(1), D(0), D("0.5"))])
    assert (both.perfect, both.slippage, both.actual, both.fills) == (3, 3, D("-3.5"), 2)
    assert total([]) == Gap()
    assert Gap().lost_bps is None
    assert [step.width for step in Gap().steps()] == [3.0] * 6


@pytest.mark.parametrize(
    ("amount", "signed", "text"),
    [
        ("1234567.891", False, "1,234,567.89"),
        ("-0.5", True, "−0.50"),
        ("0.5", True, "+0.50"),
        ("0.00123", False, "0.0012"),
        ("0.00000001", False, "0.00"),
        ("-0.00000001", True, "0.00"),
        ("0", True, "0.00"),
    ],
)
def test_money(amount: str, signed: bool, text: str) -> None:
    assert money(D(amount), signed) == text


def test_words() -> None:
    assert (money(None), quantity(None), millis(None), signed_bps(None)) == ("–",) * 4
    assert [quantity(D(text)) for text in ("0.001562", "-1234.50", "64000", "1E+3")] == ["0.001562", "−1,234.5", "64,000", "1,000"]
    assert [millis(value) for value in (0.04, 82.4, 1530, 90_000, 7_200_000)] == ["0.0 ms", "82 ms", "1.53 s", "1.5 min", "2.0 h"]
    assert signed_bps(D("-1.25")) == "−1.2 bps"


def test_how_close_a_follower_is_to_its_limits() -> None:
    limits = {"max_position_quote": "500", "max_exposure_quote": "500", "max_open_positions": 4, "daily_loss_quote": "50"}
    limits |= {"max_drawdown_percent": "10", "cooldown_ms": 2000, "max_deviation_bps": "100", "max_staleness_ms": 30_000}
    known: dict[str, Any] = {"markets": ["300", "120.5"], "today": D(-10), "since_open_ms": 500, "worst_bps": D("12.5"), "best": D(1000)}
    found = {meter.name: meter for meter in meters(limits, known | {"equity": D(950)})}
    assert found["max_position_quote"].share == 0.6
    assert (found["max_exposure_quote"].used, found["max_exposure_quote"].tone) == ("420.50 USDT", "warn")
    assert found["max_open_positions"].share == 0.5
    assert found["daily_loss_quote"].share == 0.2
    assert (found["max_drawdown_percent"].used, found["max_drawdown_percent"].limit) == ("5.00 %", "10.00 %")
    assert found["cooldown_ms"].used == "1.50 s"
    assert (found["max_deviation_bps"].used, found["max_deviation_bps"].share) == ("12.5 bps", None)
    assert found["max_staleness_ms"].limit == "30.00 s"
    assert meters({}, known | {"equity": None}) == []
    [full] = meters({"max_open_positions": 0}, known | {"equity": None})
    assert (full.share, full.tone) == (1.0, "bad")


def test_no_two_followers_share_a_practice_whale() -> None:
    """A signal of the one's would be copied by the other."""
    names = ["me", "x" * 55 + "a", "x" * 55 + "b", "x" * 64]
    whales = {whale_of(name) for name in names}
    assert len(whales) == len(names) and "practice-me" in whales and max(map(len, whales)) == 64


async def test_an_answer_is_made_once_and_an_error_is_not_kept() -> None:
    now, made = [0.0], 0
    gate = asyncio.Event()
    shared = Shared(lambda: now[0])

    async def make() -> int:
        nonlocal made
        made += 1
        await gate.wait()
        return made

    asked = [asyncio.create_task(shared.get("x", 1.0, make)) for _ in range(3)]
    await wait_until(lambda: made == 1, 5.0, "the first has begun")
    gate.set()
    assert await asyncio.gather(*asked) == [1, 1, 1]
    assert await shared.get("x", 1.0, make) == 1
    now[0] = 1.5
    assert await shared.get("x", 1.0, make) == 2

    async def fail() -> int:
        raise DependencyUnreachable("away")

    for _ in range(2):
        with pytest.raises(DependencyUnreachable):
            await shared.get("y", 100.0, fail)
    assert await shared.get("y", 100.0, make) == 3


async def test_what_takes_long_is_kept_longer() -> None:
    now, made = [0.0], 0
    shared = Shared(lambda: now[0])

    async def make() -> int:
        nonlocal made
        made += 1
        now[0] += 3.0
        return made

    assert await shared.get("x", 1.0, make) == 1
    now[0] = 14.9
    assert await shared.get("x", 1.0, make) == 1
    now[0] = 15.1
    assert await shared.get("x", 1.0, make) == 2


def test_what_an_exit_came_to() -> None:
    assert exit_words({"quantity": D("0.5"), "inputs": {}}) == "exit of 0.5"
    assert "under way" in exit_words({"quantity": D(0), "inputs": {"pending": "0.1"}})
    assert "too small" in exit_words({"quantity": D(0), "inputs": None})
