"""Paper followers beside live ones: same path, another venue; neither kind of order can reach the other kind of account."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from engine.domain.events import CopyDecided, OrdersRequested
from engine.domain.messages import ConfigureFollower, EquityReported, ExecutorClaimed, Outcome, PlaceOrder, PositionsReported
from engine.domain.values import FollowerSettings, Mode, Venue
from engine.exchanges.simulator.server import Options, Simulator
from engine.exchanges.wire import now_ms
from engine.executor.accounts.paper import open_paper_account
from tests.given import Shard, of
from tests.integration.executor.rig import Rig
from tests.support import wait_until


@pytest.fixture
async def paper(rig: Rig) -> AsyncIterator[Simulator]:
    """A paper venue on the prices of the rig's venue, which stands for the real one."""
    made = Simulator(Options(seed=7))
    await made.start()
    await follow(made, rig)
    yield made
    await made.stop()


async def follow(paper: Simulator, rig: Rig) -> None:
    """Take prices, until every market has one."""
    paper.follow(rig.settings, 0.05)
    closed = paper.world.engine.closed
    await wait_until(lambda: len(closed) == 4 and not any(is_closed() for is_closed in closed.values()))


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
        await wait_until(lambda: executor.desk.breakers["binance", True].is_open)
        assert sum(job.setbacks for job in executor.scheduler.jobs()) >= 5 and not executor.desk.breakers["binance", False].is_open
        order = rig.order("live", "binance", price, mode="live")
        await rig.send(order)
        (end,) = await rig.wait_settled(order)
        assert end.status == "filled"
        (account,) = (account for account in paper.world.registry.by_key.values() if account.label == "paper")
        account.balance("BTC").free = Decimal(1)
        await follow(paper, rig)
        await paper.start(port=port)
        (back,) = await rig.wait_settled(waiting[0])
    assert back.status == "filled", back


class Copying:
    """A shard of the engine that decides for one follower on Binance USD-M, told by the real executor what became of it."""

    def __init__(self, rig: Rig, percent: int) -> None:
        self.rig, self.shard, self.told = rig, Shard(), 0
        self.now()
        self.shard.follower(settings=self.settings("paper"), sizing="percent_equity", trade_size_percent=Decimal(percent))

    def settings(self, mode: Mode) -> FollowerSettings:
        return FollowerSettings(preferred_exchange="binanceusdm", mode=mode, max_leverage=Decimal(5))

    def now(self) -> None:
        self.shard.now = max(self.shard.now, now_ms())

    async def change(self, mode: Mode) -> None:
        """The follower changes; the equity of the account that it trades with now is awaited."""
        self.now()
        self.shard.send(ConfigureFollower(request_id=self.shard.request_id(), follower_id="f1", settings=self.settings(mode)))
        await self.know_equity()

    async def know_equity(self) -> None:
        async def known() -> bool:
            await self.tell()
            return self.shard.state.followers["f1"].equity is not None

        await wait_until(known)

    async def tell(self) -> None:
        """What the sequencer does: outcomes into the shard, in their order."""
        records = [record for _, _, record in await self.rig.executions()]
        for record in records[self.told :]:
            self.now()
            if isinstance(record, get_args(Outcome)) and not isinstance(record, ExecutorClaimed):
                self.shard.send(replace(record, epoch=self.shard.epoch), source="x")
        self.told = len(records)

    async def trade(self, action: str, side: str, **facts: Any) -> list[PlaceOrder]:
        """The whale trades; what is copied is sent, and waited for. Gives the orders."""
        self.now()
        events = self.shard.signal(action, side, price=await self.rig.price("binanceusdm"), **facts)
        orders = [order for event in of(CopyDecided, events) + of(OrdersRequested, events) for order in event.orders]  # type: ignore[operator]
        await self.rig.send(*orders)
        ends = await self.rig.wait_settled(*orders)
        assert [end.status for end in ends] == ["filled"] * len(orders), ends
        await self.tell()
        return orders


async def both_accounts(rig: Rig, paper: Simulator) -> None:
    """A live account with 100,000 USDT and a paper account with 5,000 of one follower at one venue."""
    await rig.account("f1", "binanceusdm")
    await paper_account(rig, paper, "f1", "binanceusdm")


def sizes(orders: list[PlaceOrder]) -> list[Decimal]:
    return [order.quantity * (order.reference_price or 0) for order in orders]


async def test_lots_of_either_mode_are_left_where_they_are(rig: Rig, paper: Simulator) -> None:
    """Opens on paper, goes live, opens beside it; the whale closes; live again, back to paper, the whale closes."""
    await both_accounts(rig, paper)
    async with rig.running(paper_url=paper.url, equity_interval_s=0.5):
        copying = Copying(rig, percent=10)
        await copying.know_equity()
        first = await copying.trade("open", "buy")
        assert Decimal(300) < sizes(first)[0] <= 500, "a tenth of the paper account"
        await copying.change("live")
        second = await copying.trade("increase", "buy")
        assert Decimal(9000) < sizes(second)[0] <= 10_000, "a tenth of the live account"
        left = await copying.trade("close", "sell", quantity=2)
        assert copying.shard.lots() == {}
        third = await copying.trade("open", "buy")
        await copying.change("paper")
        last = await copying.trade("close", "sell")
    assert [order.mode for order in (*first, *second, *third, *last)] == ["paper", "live", "live", "live"]
    by_mode = {order.mode: order for order in left}
    assert ids(paper) == {first[0].command_id, by_mode["paper"].command_id}
    assert ids(rig.simulator) == {order.command_id for order in (*second, by_mode["live"], *third, *last)}
    assert copying.shard.lots() == {}
    copying.shard.check()


async def test_what_is_closed_by_hand_on_paper_is_seen_while_live(rig: Rig, paper: Simulator) -> None:
    """Reports are held against the lots of their own mode: the live account holds nothing, and the paper lot stays until it is gone."""
    await both_accounts(rig, paper)
    async with rig.running(paper_url=paper.url, equity_interval_s=0.2):
        copying = Copying(rig, percent=10)
        await copying.know_equity()
        (order,) = await copying.trade("open", "buy")
        await copying.change("live")
        held = copying.shard.lot().filled

        async def live_reports(count: int = 3) -> bool:
            await copying.tell()
            bodies = [record.body for record, _ in copying.shard.records]
            return sum(isinstance(body, PositionsReported) and body.mode == "live" for body in bodies) >= count

        await wait_until(live_reports)
        assert copying.shard.lot().filled == held == order.quantity
        await rig.send(replace(order, command_id="0" * 32, side="sell", kind="exit", limit_price=None, expires_at=None))

        async def gone() -> bool:
            await copying.tell()
            return not copying.shard.lots()

        await wait_until(gone)
    assert not ids(rig.simulator)
    copying.shard.check()


async def test_an_attempt_that_nobody_knows_of_is_looked_for_at_its_own_account(rig: Rig, paper: Simulator) -> None:
    """A reply is lost and the executor with it; the follower has long gone live."""
    await both_accounts(rig, paper)
    price, port = await rig.price("binanceusdm"), paper.port
    order, live = (rig.order("f1", "binanceusdm", price, mode=mode) for mode in ("paper", "live"))
    rules = [{"kind": "accept_and_truncate", "client_id": order.command_id}]
    await dataclasses.replace(rig, simulator=paper).admin("POST", "/_faults", {"rules": rules})
    async with rig.running(paper_url=paper.url) as executor:
        await rig.send(order)
        await wait_until(lambda: any(job.unresolved for job in executor.scheduler.jobs()))
        await paper.stop()
    assert not await rig.settled()
    await paper.start(port=port)
    async with rig.running(paper_url=paper.url):
        await rig.send(live)
        ends = await rig.wait_settled(order, live)
    assert [end.status for end in ends] == ["filled"] * 2
    assert ids(paper) == {order.command_id} and ids(rig.simulator) == {live.command_id}
