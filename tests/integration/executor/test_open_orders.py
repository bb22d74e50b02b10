"""What rests at a venue is on the log: from the start on, on the timer, and at once after an order that was in doubt."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.domain.messages import OpenOrdersReported
from engine.domain.reports import OpenOrder
from engine.domain.values import VENUES, Venue
from engine.executor.jobs import Account
from engine.executor.service import Executor
from tests.integration.executor.rig import SYMBOL, Rig
from tests.support import wait_until

QUANTITY = Decimal("0.05")


async def rest(rig: Rig, executor: Executor, venue: Venue, client_id: str) -> None:
    """Somebody places an order by hand, far from the market."""
    keys = await executor.directory.credential(Account("f", venue))
    assert keys is not None
    price = str(int(await rig.price(venue) * Decimal("0.9")))
    with executor.exchanges[venue].rack.take(keys) as wire:  # type: ignore[attr-defined]
        options = {"clientOrderId": client_id}
        reply = await wire.attempt(lambda ex: ex.create_order(SYMBOL[venue], "limit", "buy", str(QUANTITY), price, options))
    assert reply.status == 200, reply


async def reports(rig: Rig, venue: str) -> list[OpenOrdersReported]:
    """Those of one account, oldest first."""
    return [record for _, _, record in await rig.executions() if isinstance(record, OpenOrdersReported) and record.venue == venue]


async def reported(rig: Rig, venue: str, count: int) -> list[OpenOrdersReported]:
    """The account's reports, when there are so many."""

    async def there() -> bool:
        return len(await reports(rig, venue)) >= count

    await wait_until(there)
    return await reports(rig, venue)


@pytest.mark.parametrize("venue", VENUES)
async def test_what_rests_is_reported_at_the_start_and_on_the_timer(rig: Rig, venue: Venue) -> None:
    await rig.account("f", venue)
    async with rig.running(open_orders_interval_s=0.5, equity_interval_s=0.2) as executor:
        [first, *_] = await reported(rig, venue, 1)
        assert (first.follower_id, first.orders) == ("f", ())
        await rest(rig, executor, venue, "by-hand")
        seen = len(await reports(rig, venue))
        found = (await reported(rig, venue, seen + 2))[-1]
    [order] = found.orders
    market = "BTCUSDT"
    assert order == OpenOrder(market, "by-hand", order.exchange_order_id, "buy", QUANTITY, Decimal(0)) and order.exchange_order_id


async def test_after_an_order_in_doubt_they_are_looked_at_again(rig: Rig) -> None:
    """The timer alone would not look before an hour has passed; an order without doubt changes nothing."""
    await rig.account("f", "binance")
    price = await rig.price()
    async with rig.running(open_orders_interval_s=3600.0, equity_interval_s=0.2, recv_window_ms=1000):
        await reported(rig, "binance", 1)
        plain, doubtful = rig.order("f", "binance", price), rig.order("f", "binance", price)
        await rig.send(plain)
        await rig.wait_settled(plain)
        await rig.admin("POST", "/_faults", {"rules": [{"kind": "accept_and_drop", "client_id": doubtful.command_id}]})
        before = len(await reports(rig, "binance"))
        await rig.send(doubtful)
        await rig.wait_settled(doubtful)
        assert len(await reported(rig, "binance", before + 1)) == before + 1 == 2
