"""One order in, one order out: each venue, open and exit, fills and fees as the simulator's ledger has them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.domain.messages import EquityReported, ExecutorClaimed, OrderAttempted, OrderSettled, PlaceOrder, PositionsReported
from engine.domain.values import VENUES
from tests.integration.executor.rig import Rig
from tests.support import wait_until


async def _held_equals_ledger(rig: Rig, order: PlaceOrder, end: OrderSettled) -> None:
    entry = (await rig.ledger())[order.command_id]
    assert entry["executions"] == 1
    assert Decimal(entry["executed"]) == end.filled
    base = order.symbol.split("/")[0]
    fees = {asset: Decimal(fee) for asset, fee in entry["fees"].items()}
    assert (end.fee_base, end.fee_quote) == (fees.get(base, 0), fees.get("USDT", 0))
    assert sum(fees.values()) > 0
    assert end.average_price is not None
    assert abs(end.average_price - Decimal(entry["average"])) < Decimal("1e-8")


@pytest.mark.parametrize("venue", VENUES)
async def test_open_then_exit(rig: Rig, venue: str) -> None:
    await rig.account("f1", venue)
    price = await rig.price(venue)
    first = rig.order("f1", venue, price)
    async with rig.running():
        await rig.send(first)
        (opened,) = await rig.wait_settled(first)
        assert opened.status == "filled", opened
        assert opened.filled == Decimal("0.01")
        last = rig.exit("f1", venue, quantity=opened.filled - opened.fee_base)
        await rig.send(last)
        (closed,) = await rig.wait_settled(last)
        assert closed.status in ("filled", "partial"), closed
        await _held_equals_ledger(rig, first, opened)
        await _held_equals_ledger(rig, last, closed)
        assert opened.attempted_at is not None and opened.acknowledged_at is not None
        assert opened.attempted_at <= opened.acknowledged_at <= opened.settled_at

        async def reported_flat() -> bool:
            reports = [record for _, _, record in await rig.executions() if isinstance(record, PositionsReported)]
            return bool(reports) and all(abs(held.quantity) < Decimal("0.001") for held in reports[-1].positions)

        await wait_until(reported_flat)
    records = [record for _, _, record in await rig.executions()]
    kinds = [type(record) for record in records if record.__class__ in (ExecutorClaimed, OrderAttempted, OrderSettled)]
    assert kinds.count(OrderAttempted) == 2
    equity = [record for record in records if isinstance(record, EquityReported)]
    assert abs(equity[-1].equity - 100_000) < 50
