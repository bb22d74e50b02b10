"""Paper followers beside live ones: same path, another venue; neither kind of order can reach the other kind of account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.messages import EquityReported
from engine.domain.values import Venue
from engine.exchanges.simulator.server import Options, Simulator
from engine.executor.accounts.paper import open_paper_account
from tests.integration.executor.rig import Rig
from tests.support import wait_until


@pytest.fixture
async def paper(rig: Rig) -> AsyncIterator[Simulator]:
    """A paper venue on the prices of the rig's venue, which stands for the real one."""
    made = Simulator(Options(seed=7))
    await made.start()
    made.follow(rig.settings, 0.05)
    closed = made.world.engine.closed
    await wait_until(lambda: len(closed) == 4 and not any(is_closed() for is_closed in closed.values()))
    yield made
    await made.stop()


async def paper_account(rig: Rig, paper: Simulator, follower: str, venue: Venue) -> None:
    """Opened as the CLI and the dashboard do it."""
    await open_paper_account(rig.settings.model_copy(update={"paper_url": paper.url}), follower, venue, Decimal(5000), actor="tests")


def ids(simulator: Simulator) -> set[str]:
    return {entry["client_order_id"] for entry in simulator.world.ledger.page(0, 1 << 62)[0]}


async def test_each_order_goes_to_its_own_venue(rig: Rig, paper: Simulator) -> None:
    await rig.account("live", "binance")
    await paper_account(rig, paper, "paper", "binance")
    price = await rig.price()
    orders = [rig.order("live", "binance", price, mode="live"), rig.order("paper", "binance", price, mode="paper")]
    exits = [rig.exit("live", "binance", mode="live", quantity=Decimal("0.005")), rig.exit("paper", "binance", quantity=Decimal("0.005"))]
    async with rig.running(paper_url=paper.url):
        await rig.send(*orders, *exits)
        ends = await rig.wait_settled(*orders, *exits)

        async def equity() -> dict[str, Decimal]:
            return {record.follower_id: record.equity for _, _, record in await rig.executions() if isinstance(record, EquityReported)}

        async def reported() -> bool:
            return {"live", "paper"} <= (await equity()).keys()

        await wait_until(reported)
        assert (await equity())["paper"] < 5100 < (await equity())["live"]
    assert [end.status for end in ends] == ["filled"] * 4
    assert ends[0].average_price == ends[1].average_price, "the same best price"
    assert ids(rig.simulator) == {orders[0].command_id, exits[0].command_id}
    assert ids(paper) == {orders[1].command_id, exits[1].command_id}


@pytest.mark.parametrize("kind", ["open", "exit"])
async def test_an_order_never_reaches_an_account_of_the_other_kind(rig: Rig, paper: Simulator, kind: str) -> None:
    await rig.account("live", "binance")
    await paper_account(rig, paper, "paper", "binance")
    price = await rig.price()
    make: Any = rig.exit if kind == "exit" else lambda follower, venue, **fields: rig.order(follower, venue, price, **fields)
    wrong = [make("live", "binance", mode="paper"), make("paper", "binance", mode="live")]
    async with rig.running(paper_url=paper.url):
        await rig.send(*wrong)
        ends = await rig.wait_settled(*wrong)
    assert [(end.status, end.reason) for end in ends] == [("missed", "account_of_other_mode")] * 2
    assert not ids(rig.simulator) and not ids(paper)


async def test_a_paper_venue_that_is_away_holds_up_no_live_order(rig: Rig, paper: Simulator) -> None:
    """Paper orders wait for it, live orders go on, also past as many failures as open a breaker."""
    await rig.account("live", "binance")
    await paper_account(rig, paper, "paper", "binance")
    price, port = await rig.price(), paper.port
    waiting = [rig.exit("paper", "binance", quantity=Decimal("0.001"), symbol=f"{coin}/USDT") for coin in ("BTC", "ETH", "LTC", "XRP")]
    await paper.stop()
    async with rig.running(paper_url=paper.url) as executor:
        await rig.send(*waiting)
        await wait_until(lambda: sum(job.setbacks for job in executor.scheduler.jobs()) >= 8)
        assert not executor.desk.breakers["binance"].is_open
        order = rig.order("live", "binance", price, mode="live")
        await rig.send(order)
        (end,) = await rig.wait_settled(order)
        assert end.status == "filled"
        (account,) = (account for account in paper.world.registry.by_key.values() if account.label == "paper")
        account.balance("BTC").free = Decimal(1)
        await paper.start(port=port)
        paper.follow(rig.settings, 0.05)
        (back,) = await rig.wait_settled(waiting[0])
    assert back.status == "filled"
