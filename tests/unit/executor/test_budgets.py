"""Request budgets: per key and per IP, the share of reports, the pauses that venues ask for."""

from __future__ import annotations

import pytest

from engine.exchanges.port import Hint, Judgement, Verdict
from engine.executor.jobs import Account
from engine.executor.limits import RATES, REPORT_SHARE, Bucket, Limits, Rate


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_never_exceeds_the_rate_in_any_window() -> None:
    clock, sent = 1000.0, []
    bucket = Bucket(Rate(100, 10))
    for _ in range(40_000):
        if not bucket.delay(1, clock):
            bucket.take(1)
            sent.append(clock)
        clock += 0.001
    assert len(sent) > 350, "most of it is used"
    assert all(later - first >= 10 for first, later in zip(sent, sent[100:], strict=False)), "never 101 in 10 s"


def test_reads_leave_a_share_to_orders() -> None:
    clock = Clock()
    limits, account = Limits(True, clock, 600.0), Account("f", "bybitlinear")
    reads = 0
    while not limits.take_read(account, "bybitlinear"):
        reads += 1
        clock.now += 0.0001
    assert limits.ip_delay("bybitlinear") == 0
    assert limits.take_order(account, "bybitlinear") == 0
    assert reads < 60


@pytest.mark.parametrize("venue", ["binance", "bybit", "bybitlinear"])
def test_orders_that_use_all_they_may_leave_reports_their_share(venue: str) -> None:
    """A minute of more orders than the IP may send: reports go on, and both together stay below the venue's count in every window."""
    clock, orders, reports = Clock(), 0, 0
    used: list[tuple[float, float]] = []
    limits = Limits(True, clock, 600.0)
    rates = RATES[venue]  # type: ignore[index]
    for step in range(15_000):
        account = Account(f"f{step}", venue)  # type: ignore[arg-type]
        if not limits.ip_delay(venue) and not limits.take_order(account, venue):
            orders += 1
            used.append((clock.now, rates.costs["order"]))
        if not limits.take_read(account, venue):
            reports += 1
            used.append((clock.now, rates.costs["report"]))
        clock.now += 0.004
    share = rates.ip.amount / rates.ip.window_s * 60 * REPORT_SHARE / rates.costs["report"]
    assert reports > 0.8 * share and orders > 0.6 * rates.ip.amount / rates.ip.window_s * 60, (reports, orders)
    assert _most_in_a_window(used, rates.ip.window_s) <= rates.ip.amount


def _most_in_a_window(used: list[tuple[float, float]], window_s: float) -> float:
    most = total = 0.0
    first = 0
    for at, cost in used:
        total += cost
        while used[first][0] <= at - window_s:
            total -= used[first][1]
            first += 1
        most = max(most, total)
    return most


def test_an_account_at_the_paper_venue_uses_no_budget_and_is_paused_alone() -> None:
    clock = Clock()
    limits = Limits(True, clock, 600.0)
    paper, live = Account("f", "binance", "paper"), Account("f", "binance", "live")
    whole = Judgement(Verdict.REJECTED, Hint.LIMITED, retry_after_s=7.0, whole_ip=True)
    limits.pause(live, whole)
    assert limits.ip_delay("binance", live) == 7 and limits.ip_delay("binance", paper) == 0
    assert limits.take_read(paper, "binance") == 0 and limits.take_read(live, "binance") == 7
    clock.now += 8
    limits.pause(paper, whole)
    assert limits.ip_delay("binance", live) == 0 and limits.take_order(paper, "binance") == 7
    clock.now += 8
    assert not any(limits.take_order(paper, "binance") for _ in range(1000))


def test_pauses_are_obeyed_also_with_limits_off() -> None:
    clock = Clock()
    limits, account = Limits(False, clock, 600.0), Account("f", "bybit")
    assert limits.pause(account, Judgement(Verdict.REJECTED, Hint.LIMITED, retry_after_s=3.0)) == 3.0
    assert limits.take_order(account, "bybit") == 3.0
    assert limits.ip_delay("bybit") == 0
    assert limits.pause(account, Judgement(Verdict.REJECTED, Hint.LIMITED, whole_ip=True)) == 600.0
    assert limits.ip_delay("bybitlinear") == 600.0, "both categories share the IP"
    assert limits.ip_delay("binance") == 0
    clock.now += 601
    assert limits.ip_delay("bybit") == 0


def test_a_key_has_its_own_budget() -> None:
    clock = Clock()
    limits = Limits(True, clock, 600.0)
    mine, other = Account("f", "bybitlinear"), Account("g", "bybitlinear")
    assert limits.take_order(mine, "bybitlinear") == 0
    assert limits.take_order(mine, "bybitlinear") > 0
    assert limits.take_order(other, "bybitlinear") == 0
