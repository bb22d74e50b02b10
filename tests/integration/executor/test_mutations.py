"""Each rule of safe placement, broken by a patch: the checker (ledger against end states) must notice. Without a patch it must not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.messages import OrderAttempted, PlaceOrder
from engine.exchanges import bybit, wire
from engine.exchanges.port import Credential, Verdict
from engine.executor import journal, placement, recovery
from engine.executor.jobs import Again
from engine.executor.service import Executor
from engine.executor.switches import Switches
from tests.integration.executor.rig import Rig
from tests.support import wait_until

Scenario = Callable[[Rig], Awaitable[list[PlaceOrder]]]


async def violations(rig: Rig, orders: list[PlaceOrder]) -> list[str]:
    """What is wrong: an order executed twice, or executed while its end state denies it, or the other way round."""
    ends, ledger, found = await rig.settled(), await rig.ledger(), []
    for order in orders:
        entry, end = ledger.get(order.command_id), ends.get(order.command_id)
        executions, executed = (entry["executions"], Decimal(entry["executed"])) if entry else (0, Decimal(0))
        if executions > 1:
            found.append(f"executed {executions} times: {order.command_id}")
        if end is None or end.filled != executed:
            found.append(f"executed {executed}, recorded {end}")
    return found


async def lost_reply(rig: Rig) -> list[PlaceOrder]:
    """A Binance order executes and its reply comes too late."""
    await rig.account("f1", "binance")
    order = rig.order("f1", "binance", await rig.price())
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "accept_and_delay", "client_id": order.command_id, "seconds": 2.0}]})
    async with rig.running():
        await rig.send(order)
        await rig.wait_settled(order)
    return [order]


async def cut_reply(rig: Rig) -> list[PlaceOrder]:
    """A Binance order executes and the connection is cut."""
    await rig.account("f1", "binance")
    order = rig.order("f1", "binance", await rig.price())
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "accept_and_drop", "client_id": order.command_id}]})
    async with rig.running():
        await rig.send(order)
        await rig.wait_settled(order)
    return [order]


async def late_sight(rig: Rig) -> list[PlaceOrder]:
    """An exit executes, its reply is lost, and queries see it only a second later."""
    await rig.account("f1", "binanceusdm")
    opened = rig.order("f1", "binanceusdm", await rig.price("binanceusdm"), quantity=Decimal("0.03"))
    exit_ = rig.exit("f1", "binanceusdm")
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "query_lag", "client_id": exit_.command_id, "seconds": 1.0}]})
    async with rig.running():
        await rig.send(opened, exit_)
        await rig.wait_settled(opened, exit_)
    return [opened, exit_]


async def bybit_order(rig: Rig) -> list[PlaceOrder]:
    """A Bybit order whose reply is lost."""
    await rig.account("f1", "bybit")
    order = rig.order("f1", "bybit", await rig.price("bybit"))
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "accept_and_drop", "client_id": order.command_id}]})
    async with rig.running():
        await rig.send(order)
        await rig.wait_settled(order, deadline_s=12.0)
    return [order]


async def restart_in_the_middle(rig: Rig) -> list[PlaceOrder]:
    """The executor ends between the POST and its outcome; another one starts."""
    await rig.account("f1", "binance")
    order, posted = rig.order("f1", "binance", await rig.price()), asyncio.Event()

    def hang(executor: Executor) -> None:
        adapter: Any = executor.exchanges["binance"]
        place = adapter.place

        async def placed(keys: Credential, request: Any) -> Any:
            await place(keys, request)
            posted.set()
            await asyncio.Event().wait()

        adapter.place = placed

    async with rig.running(hang, exchange_timeout_s=0.3):
        await rig.send(order)
        await asyncio.wait_for(posted.wait(), 20.0)
    async with rig.running():
        await rig.wait_settled(order)
    return [order]


async def halted_while_queued(rig: Rig) -> list[PlaceOrder]:
    """A halt comes while an order waits for a slot. What it must not do is trade: the order is reported as not to be executed."""
    await rig.account("f1", "binance")
    await rig.account("f2", "binance")
    price, release, asked = await rig.price(), asyncio.Event(), asyncio.Event()
    first, queued = rig.order("f1", "binance", price), rig.order("f2", "binance", price)

    def hold(executor: Executor) -> None:
        adapter: Any = executor.exchanges["binance"]
        place = adapter.place

        async def placed(keys: Credential, request: Any) -> Any:
            asked.set()
            await release.wait()
            return await place(keys, request)

        adapter.place = placed

    async with rig.running(hold, orders_in_flight=1) as executor:
        await rig.send(first)
        await asyncio.wait_for(asked.wait(), 20.0)
        await rig.send(queued)
        await rig.switch("halt")
        await wait_until(lambda: executor.switches.changed)
        release.set()
        ends = await rig.wait_settled(first, queued)
    assert ends[1].status != "filled", "an open was sent after the halt"
    return [first, queued]


def retry_on_timeout(patch: pytest.MonkeyPatch) -> None:
    act = placement.Placement._act

    async def mutant(self: Any, job: Any, answer: Any) -> Any:
        if answer.judgement.verdict is Verdict.UNKNOWN:
            return Again(0.0)
        return await act(self, job, answer)

    patch.setattr(placement.Placement, "_act", mutant)


def absent_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery.Recovery, "_fence", lambda self, job: 0)
    patch.setattr(recovery.Recovery, "_quiet_s", lambda self, job: 0.0)


def fetch_by_client_order_id(patch: pytest.MonkeyPatch) -> None:
    async def find(self: Any, keys: Credential, order: PlaceOrder) -> Any:
        with self.rack.take(keys) as borrowed:
            await borrowed.attempt(lambda ex: ex.fetch_order(None, order.symbol, {"clientOrderId": order.command_id, "acknowledged": True}))
            rows = (borrowed.reply.json() or {}).get("result", {}).get("list", [])
        return self._state(rows[0], order.symbol.split("/")[0]) if rows else None

    async def search(self: Any, keys: Credential, order: PlaceOrder, since_ms: int) -> Any:
        found = await find(self, keys, order)
        return found, found is None

    patch.setattr(bybit.Bybit, "find", find)
    patch.setattr(bybit.Bybit, "search", search)


def no_attempt_record(patch: pytest.MonkeyPatch) -> None:
    append = journal.Journal.append

    def mutant(self: Any, record: Any, key: str) -> Any:
        if isinstance(record, OrderAttempted):
            future = asyncio.get_running_loop().create_future()
            future.set_result(0)
            return future
        return append(self, record, key)

    patch.setattr(journal.Journal, "append", mutant)


def retries_of_ccxt(patch: pytest.MonkeyPatch) -> None:
    load = wire.Wire.load

    def mutant(self: Any, *arguments: Any) -> None:
        load(self, *arguments)
        self.ex.options["maxRetriesOnFailure"] = 2

    patch.setattr(wire.Wire, "load", mutant)


def switches_at_decision_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Switches, "refusal", lambda self, order: "")


MUTATIONS: list[tuple[Callable[[pytest.MonkeyPatch], None], Scenario]] = [
    (retry_on_timeout, lost_reply),
    (absent_at_once, late_sight),
    (fetch_by_client_order_id, bybit_order),
    (no_attempt_record, restart_in_the_middle),
    (retries_of_ccxt, cut_reply),
    (switches_at_decision_only, halted_while_queued),
]


@pytest.mark.parametrize("scenario", [scenario for _, scenario in MUTATIONS])
async def test_nothing_is_wrong_without_a_mutation(rig: Rig, scenario: Scenario) -> None:
    assert await violations(rig, await scenario(rig)) == []


@pytest.mark.parametrize(("mutate", "scenario"), MUTATIONS)
async def test_a_mutation_is_noticed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None], scenario: Scenario
) -> None:
    mutate(monkeypatch)
    try:
        found = await violations(rig, await scenario(rig))
    except AssertionError as error:
        found = [str(error)]
    assert found, f"{mutate.__name__} went unnoticed"
