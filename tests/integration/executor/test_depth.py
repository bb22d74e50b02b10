"""Queries that fail, thin books, full queues, limits: what happens around the one POST."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from engine.domain.messages import EquityReported, MarksReported, OrderUnknown
from engine.exchanges.simulator import bybit_queries
from engine.executor import group
from tests.integration.executor.rig import Rig, read_reports
from tests.support import wait_until


@pytest.mark.parametrize("venue", ["binance", "bybitlinear"])
async def test_queries_that_fail_prove_nothing(rig: Rig, venue: str) -> None:
    """The reply is lost and the venue's queries fail in every way for a while; the order is found in the end, not sent again."""
    await rig.account("f1", venue)
    order = rig.order("f1", venue, await rig.price(venue))
    wait = "http_429" if venue == "binance" else "bybit_10006"
    kinds = ["http_503", wait, "html_200", "drop", "unknown_code"]
    rules: list[dict[str, object]] = [{"kind": "accept_and_drop", "client_id": order.command_id}]
    rules += [{"kind": kind, "on": "query", "client_id": order.command_id, "seconds": 0.2} for kind in kinds]
    await rig.admin("POST", "/_faults", {"rules": rules})
    async with rig.running(absent_quiet_s=3.0):
        await rig.send(order)
        (end,) = await rig.wait_settled(order, deadline_s=40.0)
    entry = (await rig.ledger())[order.command_id]
    assert (end.status, entry["executions"], entry["requests"]) == ("filled", 1, 1), (end, entry)
    unknown = [record for _, _, record in await rig.executions() if isinstance(record, OrderUnknown)]
    assert [record.command_id for record in unknown] == [order.command_id]


@pytest.mark.parametrize("venue", ["bybit", "bybitlinear"])
async def test_an_order_without_a_fee_that_is_found_late_ends(rig: Rig, venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row names no fee, so that its executions are read; also when it is found only after its receive window."""
    progress = bybit_queries._progress
    monkeypatch.setattr(bybit_queries, "_progress", lambda order: progress(order) | {"cumFeeDetail": {}})
    await rig.account("f1", venue)
    order = rig.order("f1", venue, await rig.price(venue))
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "query_lag", "client_id": order.command_id, "seconds": 4}]})
    async with rig.running(absent_quiet_s=10.0):
        await rig.send(order)
        (end,) = await rig.wait_settled(order, deadline_s=15.0)
    assert (end.status, end.filled) == ("filled", order.quantity) and end.fee_base + end.fee_quote > 0, end


async def test_a_clock_that_jumps_while_an_order_is_looked_for(rig: Rig) -> None:
    await rig.account("f1", "binance")
    order = rig.order("f1", "binance", await rig.price())
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "accept_and_drop", "client_id": order.command_id}]})
    async with rig.running():
        await rig.send(order)

        async def unknown() -> bool:
            return any(isinstance(record, OrderUnknown) for _, _, record in await rig.executions())

        await wait_until(unknown)
        await rig.admin("POST", "/_clock", {"offset_ms": 40_000})
        (end,) = await rig.wait_settled(order)
    assert end.status == "filled"


@pytest.mark.parametrize("venue", ["binance", "binanceusdm", "bybit", "bybitlinear"])
async def test_what_the_bound_or_the_book_leaves_unfilled(rig: Rig, venue: str) -> None:
    """An open below the market trades nothing; an open larger than the book within its bound trades a part: both end at once."""
    await rig.account("f1", venue, usdt="1000000000")
    await rig.account("f2", venue, usdt="1000000000")
    price = await rig.price(venue)
    low = rig.order("f1", venue, price, limit_price=price * Decimal("0.97"))
    large = rig.order("f2", venue, price, quantity=Decimal(80), limit_price=price * Decimal("1.0005"))
    async with rig.running():
        await rig.send(low, large)
        nothing, part = await rig.wait_settled(low, large)
    ledger = await rig.ledger()
    assert (nothing.status, nothing.filled) == ("unfilled", 0), nothing
    assert part.status == "partial" and 0 < part.filled < 80, part
    assert part.filled == Decimal(ledger[large.command_id]["executed"])
    assert part.average_price is not None and part.average_price <= large.limit_price  # type: ignore[operator]


async def test_a_full_queue_stops_reading_and_goes_on_when_it_empties(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "PENDING_A_SHARD", 10)
    await rig.account("f1", "binance")
    price, release = await rig.price(), asyncio.Event()
    orders = [rig.order("f1", "binance", price) for _ in range(60)]

    def hold(executor: object) -> None:
        adapter = executor.exchanges["binance"]  # type: ignore[attr-defined]
        place = adapter.place

        async def placed(*arguments: object) -> object:
            await release.wait()
            return await place(*arguments)

        adapter.place = placed

    await rig.send(*orders[:20])
    async with rig.running(hold) as executor:
        await wait_until(lambda: any(executor.shards._full))
        await rig.send(*orders[20:])
        full = next(iter(executor.shards._full))
        assert executor.shards.owned[full].seqs.seen <= 20
        release.set()
        ends = await rig.wait_settled(*orders)
    assert {end.status for end in ends} == {"filled"}


async def test_real_limits_are_never_reached(rig: Rig) -> None:
    """Venue limits on against a simulator that enforces them: not one refusal in more orders than a second allows."""
    from engine.exchanges.simulator.limits import Limits

    rig.simulator.dispatcher.limits = Limits(rig.simulator.world.clock, 120.0)
    for number in range(12):
        await rig.account(f"f{number}", "bybitlinear")
    price = await rig.price("bybitlinear")
    orders = [rig.order(f"f{number % 12}", "bybitlinear", price) for number in range(60)]
    async with rig.running(venue_limits=True, orders_in_flight=64):
        await rig.send(*orders)
        ends = await rig.wait_settled(*orders)
    assert {(end.status, end.attempts) for end in ends} == {("filled", 1)}


async def test_equity_and_marks_are_reported_on_a_timer(rig: Rig) -> None:
    await rig.account("f1", "binance")
    async with rig.running(equity_interval_s=0.3, marks_interval_s=0.3):

        async def reported() -> bool:
            equity = [record for _, _, record in await rig.executions() if isinstance(record, EquityReported)]
            marks = [report for report in await read_reports(rig.settings) if isinstance(report, MarksReported)]
            return len(equity) >= 3 and len(marks) >= 8

        await wait_until(reported)


async def test_an_account_that_appears_later_is_checked_and_reported(rig: Rig) -> None:
    async with rig.running():
        await rig.account("late", "bybit")

        async def reported() -> bool:
            return any(isinstance(record, EquityReported) and record.follower_id == "late" for _, _, record in await rig.executions())

        await wait_until(reported)


async def test_a_venue_that_is_down_at_the_start_is_used_when_it_is_up(rig: Rig) -> None:
    await rig.account("f1", "binance")
    order, port = rig.order("f1", "binance", await rig.price()), rig.simulator.port
    await rig.simulator.stop()
    async with rig.running() as executor:
        assert not executor.market.started
        await rig.send(order)
        await rig.simulator.start(port=port)
        (end,) = await rig.wait_settled(order)

        async def reported() -> bool:
            return any(isinstance(record, EquityReported) for _, _, record in await rig.executions())

        await wait_until(reported)
    assert end.status == "filled"
