"""What is checked immediately before each attempt, and the order of work."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.messages import AccountChecked, CancelOrder, MarksReported, OrderAttempted, PlaceOrder, RulesReported
from engine.exchanges.port import Answer, Credential, OrderRequest
from engine.exchanges.wire import now_ms
from engine.executor.jobs import Account
from engine.executor.service import Executor
from tests.integration.executor.rig import Rig, read_reports
from tests.support import wait_until


class Brake:
    """Holds every POST of one venue back until it is released; counts what was asked for, in order."""

    def __init__(self, venue: str) -> None:
        self.venue, self.open, self.asked = venue, asyncio.Event(), list[str]()

    def install(self, executor: Executor) -> None:
        """Put it between the executor and its adapter."""
        adapter: Any = executor.exchanges[self.venue]  # type: ignore[index]
        place = adapter.place

        async def held(keys: Credential, request: OrderRequest) -> Answer:
            self.asked.append(request.client_id)
            await self.open.wait()
            answer: Answer = await place(keys, request)
            return answer

        adapter.place = held


async def test_halt_reaches_orders_that_are_queued(rig: Rig) -> None:
    """One slot is taken; what waits behind it is refused by a switch set afterwards, exits are not."""
    for name in ("f1", "f2", "f3"):
        await rig.account(name, "binance", balances={"BTC": "1"})
    price, brake = await rig.price(), Brake("binance")
    first, queued, exit_ = rig.order("f1", "binance", price), rig.order("f2", "binance", price), rig.exit("f3", "binance")
    async with rig.running(brake.install, orders_in_flight=1):
        await rig.send(first)
        await wait_until(lambda: len(brake.asked) == 1)
        await rig.send(queued, exit_)
        await rig.switch("halt")
        (refused,) = await rig.wait_settled(queued)
        assert (refused.status, refused.reason, refused.attempts) == ("missed", "kill_switch", 0)
        brake.open.set()
        landed, closed = await rig.wait_settled(first, exit_)
        assert (landed.status, closed.status) == ("filled", "filled")
        await rig.switch("running")
        again = rig.order("f2", "binance", price)
        await rig.send(again)
        assert (await rig.wait_settled(again))[0].status == "filled"
    assert queued.command_id not in await rig.ledger()


@pytest.mark.parametrize(
    ("state", "scope", "target", "reason"),
    [
        ("close_only", "global", "", "close_only"),
        ("halt", "exchange", "binance", "kill_switch"),
        ("halt", "whale", "w1", "kill_switch"),
        ("halt", "follower", "f1", "kill_switch"),
    ],
)
async def test_scopes_of_switches(rig: Rig, state: str, scope: str, target: str, reason: str) -> None:
    await rig.account("f1", "binance", balances={"BTC": "1"})
    await rig.switch(state, scope, target)
    opened, exit_ = rig.order("f1", "binance", await rig.price(), whale_id="w1"), rig.exit("f1", "binance", whale_id="w1")
    async with rig.running():
        await rig.send(opened, exit_)
        refused, closed = await rig.wait_settled(opened, exit_)
    assert (refused.status, refused.reason) == ("missed", reason)
    assert closed.status == "filled"


async def test_halt_exits_refuses_exits_too(rig: Rig) -> None:
    await rig.account("f1", "binance", balances={"BTC": "1"})
    await rig.switch("halt_exits")
    exit_ = rig.exit("f1", "binance")
    async with rig.running():
        await rig.send(exit_)
        (refused,) = await rig.wait_settled(exit_)
    assert (refused.status, refused.reason) == ("missed", "kill_switch")


async def test_refusals_that_need_no_request(rig: Rig) -> None:
    """Expired, cancelled before the attempt, no keys, too small, shadow: a recorded end state each, nothing sent."""
    for name in ("f1", "f2", "f3", "f4"):
        await rig.account(name, "binance")
    price, brake = await rig.price(), Brake("binance")
    expired = rig.order("f1", "binance", price, expires_at=now_ms() - 1)
    blocker, cancelled = rig.order("f2", "binance", price), rig.order("f2", "binance", price)
    nobody = rig.order("nobody", "binance", price)
    tiny = rig.order("f3", "binance", price, quantity=Decimal("0.0000001"))
    shadow = rig.order("f4", "binance", price, mode="shadow")
    async with rig.running(brake.install):
        await rig.send(blocker, cancelled, CancelOrder(command_id=cancelled.command_id, follower_id="f2"))
        await rig.send(expired, nobody, tiny, shadow)
        ends = await rig.wait_settled(expired, cancelled, nobody, tiny, shadow)
        brake.open.set()
        (filled,) = await rig.wait_settled(blocker)
    assert [end.reason for end in ends] == ["signal_expired", "cancelled", "no_credential", "below_minimum", "shadow"]
    assert {(end.status, end.attempts) for end in ends} == {("missed", 0)}
    assert filled.status == "filled"
    assert set(await rig.ledger()) == {blocker.command_id}


async def test_a_cancel_after_the_attempt_changes_nothing(rig: Rig) -> None:
    await rig.account("f1", "binance")
    order, brake = rig.order("f1", "binance", await rig.price()), Brake("binance")
    async with rig.running(brake.install):
        await rig.send(order)
        await wait_until(lambda: brake.asked)
        await rig.send(CancelOrder(command_id=order.command_id, follower_id="f1"))
        brake.open.set()
        (end,) = await rig.wait_settled(order)
    assert end.status == "filled"


async def test_a_cancel_ends_an_open_that_was_refused_for_now(rig: Rig) -> None:
    """Its attempt is proved to be nowhere, so it is not tried again, however long it would have lived."""
    await rig.account("f1", "binance")
    order = rig.order("f1", "binance", await rig.price())
    asleep = {"kind": "http_429", "seconds": 3600, "client_id": order.command_id}
    await rig.admin("POST", "/_faults", {"rules": [asleep]})
    async with rig.running():
        await rig.send(order)
        await wait_until(lambda: rig.simulator.faults.applied["http_429"])
        await rig.send(CancelOrder(command_id=order.command_id, follower_id="f1"))
        (end,) = await rig.wait_settled(order)
    assert (end.status, end.reason, end.attempts) == ("missed", "cancelled", 1)
    assert order.command_id not in await rig.ledger()


async def test_nothing_is_opened_with_keys_that_were_refused(rig: Rig) -> None:
    """Until they are replaced; an exit asks with what there is."""
    await rig.account("f1", "binance", balances={"BTC": "1"})
    price = await rig.price()
    first, second, third = (rig.order("f1", "binance", price) for _ in range(3))
    exit_ = rig.exit("f1", "binance")
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "reject", "code": -2015, "client_id": first.command_id}]})
    async with rig.running() as executor:
        await rig.send(first, second, exit_)
        ends = await rig.wait_settled(first, second, exit_)
        await rig.account("f1", "binance")
        await wait_until(lambda: _has_new_keys(executor, third))
        await rig.send(third)
        ends += await rig.wait_settled(third)
    assert [end.status for end in ends] == ["rejected", "missed", "filled", "filled"], ends
    assert (ends[1].reason, ends[1].attempts) == ("keys_refused", 0)


async def _has_new_keys(executor: Executor, order: PlaceOrder) -> bool:
    keys = await executor.directory.credential(Account(order.follower_id, order.venue))
    return keys is not None and keys.version == 2


async def test_exits_then_priority_then_followers_in_turn(rig: Rig) -> None:
    """With one slot the queue's order is what is asked for at the venue."""
    for name in ("blocker", "many", "one", "exiting"):
        await rig.account(name, "binance", balances={"BTC": "1", "ETH": "10", "SOL": "100", "XRP": "1000"})
    price, brake = await rig.price(), Brake("binance")
    prices = (await rig.admin("GET", "/_price?venue=binance"))["binance"]

    def order(follower: str, coin: str, priority: str) -> PlaceOrder:
        symbol = f"{coin}/USDT"
        return rig.order(follower, "binance", Decimal(prices[symbol]), symbol=symbol, quantity=Decimal(1), priority=priority)

    first = rig.order("blocker", "binance", price)
    low = order("one", "ETH", "low")
    many = [order("many", coin, "medium") for coin in ("ETH", "SOL", "XRP")]
    one, high = order("one", "SOL", "medium"), order("one", "XRP", "high")
    exit_ = rig.exit("exiting", "binance", priority="low")
    async with rig.running(brake.install, orders_in_flight=1, partitions=rig.settings.partitions):
        await rig.send(first)
        await wait_until(lambda: brake.asked)
        await rig.send(low, *many, one, high, exit_)
        await wait_until(lambda: _read(rig, 8))
        brake.open.set()
        await rig.wait_settled(first, low, *many, one, high, exit_)
    names = {each.command_id: name for each, name in [(first, "first"), (low, "low"), (one, "one"), (high, "high"), (exit_, "exit")]}
    order_of_work = [names.get(client_id, "many") for client_id in brake.asked]
    assert order_of_work[:3] == ["first", "exit", "high"], order_of_work
    assert order_of_work[-1] == "low", order_of_work
    assert order_of_work[-2] == "many", f"the follower with one order does not wait for all of the other's: {order_of_work}"


async def _read(rig: Rig, commands: int) -> bool:
    """All commands are in the executor's memory: everything up to them that can be waited for from outside has happened."""
    await asyncio.sleep(0)
    executor = rig.executors[-1]
    return sum(shard.seqs.seen for shard in executor.shards.owned.values()) >= commands


async def test_orders_of_one_account_and_symbol_go_one_after_the_other(rig: Rig) -> None:
    await rig.account("f1", "binance")
    price, brake = await rig.price(), Brake("binance")
    orders = [rig.order("f1", "binance", price) for _ in range(4)]
    async with rig.running(brake.install):
        await rig.send(*orders)
        await wait_until(lambda: _read(rig, 4))
        assert len(brake.asked) <= 1
        brake.open.set()
        ends = await rig.wait_settled(*orders)
    assert brake.asked == [order.command_id for order in orders]
    records = [record for _, _, record in await rig.executions()]
    attempts = [record.order.command_id for record in records if isinstance(record, OrderAttempted)]
    assert attempts == [order.command_id for order in orders]
    assert {end.status for end in ends} == {"filled"}


async def test_live_is_refused_for_what_the_check_finds(rig: Rig) -> None:
    await rig.account("can-withdraw", "binance", can_withdraw=True)
    await rig.account("read-only", "bybit", can_trade=False)
    await rig.account("hedged", "binanceusdm", hedge=True)
    await rig.account("good", "bybitlinear")
    venues = {"can-withdraw": "binance", "read-only": "bybit", "hedged": "binanceusdm", "good": "bybitlinear"}
    orders = [rig.order(name, venue, await rig.price(venue), mode="live") for name, venue in venues.items()]
    async with rig.running():
        await rig.send(*orders)
        ends = await rig.wait_settled(*orders)
    assert [end.status for end in ends] == ["missed", "missed", "missed", "filled"], ends
    assert {end.reason for end in ends[:3]} == {"account_refused"}
    checks = {record.follower_id: record for _, _, record in await rig.executions() if isinstance(record, AccountChecked)}
    assert "key_can_withdraw" in checks["can-withdraw"].reasons
    assert checks["read-only"].reasons
    assert "hedge_mode" in checks["hedged"].reasons
    assert (checks["good"].allowed, checks["good"].reasons) == (True, ())


async def test_the_owner_of_shard_0_reports_rules_and_marks(rig: Rig) -> None:
    async with rig.running():

        async def all_there() -> bool:
            reports = await read_reports(rig.settings)
            venues = [{report.venue for report in reports if isinstance(report, kind)} for kind in (RulesReported, MarksReported)]
            return all(len(found) == 4 for found in venues)

        await wait_until(all_there)
    reports = await read_reports(rig.settings)
    rules = {(report.venue, rule.symbol): rule for report in reports if isinstance(report, RulesReported) for rule in report.rules}
    assert rules["binance", "BTC/USDT"].step > 0
    assert rules["bybitlinear", "BTC/USDT:USDT"].max_leverage > 1
    assert all(rule.tick > 0 and rule.step > 0 for rule in rules.values())
    marks = next(report for report in reports if isinstance(report, MarksReported) and report.venue == "binance")
    assert marks.marks["BTC/USDT"] == await rig.price()


async def test_an_open_that_expires_while_its_attempt_is_written_is_not_sent(rig: Rig) -> None:
    await rig.account("f1", "binance")
    order = rig.order("f1", "binance", await rig.price(), expires_at=now_ms() + 3000)
    async with rig.running(recv_window_ms=5000) as executor:
        send = executor.producer.send_batch

        async def slow(*arguments: Any, **options: Any) -> Any:
            await wait_until(lambda: now_ms() > (order.expires_at or 0))
            return await send(*arguments, **options)

        executor.producer.send_batch = slow
        await rig.send(order)
        (end,) = await rig.wait_settled(order)
    assert (end.status, end.reason, end.attempts) == ("missed", "signal_expired", 1)
    assert order.command_id not in await rig.ledger()


async def test_a_venue_that_does_not_answer_before_the_order_opens_the_breaker_too(rig: Rig) -> None:
    """Opens on perpetuals ask for the account or its leverage first: without an answer they would hold every slot for ever."""
    await rig.account("f1", "binanceusdm")
    price, coins = await rig.price("binanceusdm"), ("BTC", "ETH", "SOL", "XRP", "ADA")
    orders = [rig.order("f1", "binanceusdm", price, symbol=f"{coin}/USDT:USDT") for coin in coins]
    async with rig.running() as executor:
        silent = {"kind": "drop", "on": "other", "venue": "binanceusdm", "times": 1000}
        await rig.admin("POST", "/_faults", {"rules": [silent]})
        await rig.send(*orders)
        await wait_until(lambda: executor._breakers["binanceusdm"].is_open)
        await rig.admin("POST", "/_faults", {"clear": True})
        await rig.wait_settled(*orders)
        assert not executor._breakers["binanceusdm"].is_open
