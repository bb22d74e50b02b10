"""An exit is retried until it lands, or the position is proved flat; what the venue refuses for good ends as rejected."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from engine.domain.messages import OrderAttempted, OrderUnknown
from engine.exchanges.simulator.model import Account, NewOrder
from engine.exchanges.simulator.server import Options
from engine.executor import recovery
from tests.conftest import SettingsFactory
from tests.integration.executor.conftest import QUICK
from tests.integration.executor.rig import Rig, open_rig
from tests.support import wait_until


@pytest.mark.parametrize("venue", ["binance", "binanceusdm", "bybit", "bybitlinear"])
async def test_an_exit_of_a_flat_position_ends(rig: Rig, venue: str) -> None:
    await rig.account("f1", venue)
    exit_ = rig.exit("f1", venue)
    async with rig.running():
        await rig.send(exit_)
        (end,) = await rig.wait_settled(exit_)
    assert (end.status, end.reason) == ("missed", "position_flat"), end
    assert end.raw_code


async def test_a_ban_that_the_reading_of_a_position_meets_is_obeyed(rig: Rig) -> None:
    """The exit was refused with -2022, the account is asked why, and the venue bans our address: the exit waits for it."""
    await rig.account("f1", "binanceusdm")
    opened, exit_ = rig.order("f1", "binanceusdm", await rig.price("binanceusdm")), rig.exit("f1", "binanceusdm")
    async with rig.running() as executor:
        await rig.send(opened)
        await rig.wait_settled(opened)
        await wait_until(lambda: executor.reports._views, 10.0, "the report after it")
        refusal = {"kind": "reject", "client_id": exit_.command_id, "code": -2022}
        await rig.admin("POST", "/_faults", {"rules": [refusal, {"kind": "http_418", "on": "other", "seconds": 3600}]})
        await rig.send(exit_)
        await wait_until(lambda: rig.simulator.faults.applied["http_418"])
        await wait_until(lambda: executor._limits.ip_paused_s("binanceusdm") > 3000, 5.0, "the pause")
        (job,) = executor.scheduler.jobs()
        assert (job.order, job.attempts) == (exit_, 1)


@pytest.mark.parametrize("venue", ["binance", "bybit"])
async def test_a_spot_exit_sells_what_is_there(rig: Rig, venue: str) -> None:
    """Somebody sold a part by hand: the rest is sold, under the same id."""
    await rig.account("f1", venue, balances={"BTC": "0.0076543219"})
    exit_ = rig.exit("f1", venue)
    async with rig.running():
        await rig.send(exit_)
        (end,) = await rig.wait_settled(exit_)
    assert end.status == "partial" and Decimal("0.0076") <= end.filled <= Decimal("0.0076543219"), end
    assert (await rig.ledger())[exit_.command_id]["executions"] == 1


@pytest.mark.parametrize(("venue", "code"), [("binance", -2015), ("binanceusdm", -2019), ("bybit", 10003), ("bybitlinear", 110007)])
async def test_an_exit_goes_on_after_a_refusal(rig: Rig, venue: str, code: int) -> None:
    """Keys that are refused for a moment, a market without margin: the exit lands later, an open does not come again."""
    await rig.account("f1", venue, balances={"BTC": "1"})
    await rig.account("f2", venue)
    opened, exit_, other = (
        rig.order("f1", venue, await rig.price(venue)),
        rig.exit("f1", venue),
        rig.order("f2", venue, await rig.price(venue)),
    )
    async with rig.running():
        await rig.send(opened)
        await rig.wait_settled(opened)
        rules = [{"kind": "reject", "client_id": order.command_id, "code": code, "times": 2} for order in (exit_, other)]
        await rig.admin("POST", "/_faults", {"rules": rules})
        await rig.send(exit_, other)
        landed, refused = await rig.wait_settled(exit_, other)
    assert (landed.status, landed.attempts) == ("filled", 3), landed
    assert (refused.status, refused.raw_code, refused.attempts) == ("rejected", str(code), 1)


async def test_a_final_refusal_ends_an_exit(rig: Rig) -> None:
    await rig.account("f1", "binance", balances={"BTC": "1"})
    exit_ = rig.exit("f1", "binance", quantity=Decimal("0.00001"))
    async with rig.running():
        await rig.send(exit_)
        (end,) = await rig.wait_settled(exit_)
    assert (end.status, end.raw_code) == ("rejected", "-1013"), end


async def test_nothing_is_sent_while_the_venue_is_down_and_exits_go_first_after(rig: Rig) -> None:
    """The port is closed: refused connections are no attempts that could have executed; the breaker opens; all lands afterwards."""
    await rig.account("f1", "binance", balances={"BTC": "1"})
    await rig.account("f2", "binance")
    await rig.account("f3", "binance")
    price, port = await rig.price(), rig.simulator.port
    opens = [rig.order(name, "binance", price) for name in ("f2", "f3")]
    exit_ = rig.exit("f1", "binance")
    async with rig.running() as executor:
        await rig.simulator.stop()
        await rig.send(*opens, exit_)
        breaker = executor.desk.breakers["binance", False]
        await wait_until(lambda: breaker.is_open)
        await rig.simulator.start(port=port)
        ends = await rig.wait_settled(*opens, exit_, deadline_s=40.0)
    assert {end.status for end in ends} == {"filled"}, ends
    assert {(await rig.ledger())[order.command_id]["executions"] for order in (*opens, exit_)} == {1}
    records = [record for _, _, record in await rig.executions()]
    assert not [record for record in records if isinstance(record, OrderUnknown) and "ClientConnectorError" in record.reason]


async def test_a_wrong_clock_is_measured_and_the_order_sent_again(rig: Rig) -> None:
    await rig.account("f1", "binance")
    await rig.account("f2", "bybit")
    orders = [rig.order("f1", "binance", await rig.price()), rig.order("f2", "bybit", await rig.price())]
    async with rig.running():
        await rig.admin("POST", "/_clock", {"offset_ms": -30_000})
        await rig.send(*orders)
        ends = await rig.wait_settled(*orders)
    assert {end.status for end in ends} == {"filled"}, ends
    assert all(end.attempts > 1 for end in ends), ends


async def test_leverage_is_set_only_while_flat(rig: Rig) -> None:
    for venue in ("binanceusdm", "bybitlinear"):
        await rig.account(venue, venue, leverage={"BTCUSDT": 7})
    opens = [rig.order(venue, venue, await rig.price(venue), leverage=Decimal(3)) for venue in ("binanceusdm", "bybitlinear")]
    more = [rig.order(venue, venue, await rig.price(venue), leverage=Decimal(5)) for venue in ("binanceusdm", "bybitlinear")]
    async with rig.running():
        await rig.send(*opens)
        await rig.wait_settled(*opens)
        await rig.send(*more)
        assert {end.status for end in await rig.wait_settled(*more)} == {"filled"}
    requests = (await rig.admin("GET", "/_requests"))["requests"]
    counts = {path: count for path, count in requests.items() if "POST" in path and "leverage" in path}
    assert sorted(counts.values()) == [1, 1], counts


async def test_real_host_names_over_tls(settings: SettingsFactory, database: str, tmp_path: Path) -> None:
    """With a CA file every host is led to the simulator and the real names are used."""
    async with open_rig(settings(database_url=SecretStr(database), **QUICK), Options(), tls_folder=tmp_path) as rig:
        orders = []
        for venue in ("binance", "binanceusdm", "bybit", "bybitlinear"):
            await rig.account(venue, venue)
            orders.append(rig.order(venue, venue, await rig.price(venue)))
        async with rig.running() as executor:
            await rig.send(*orders)
            ends = await rig.wait_settled(*orders)
            adapter = executor.exchanges["binanceusdm"]
            assert adapter.rack.prototype.urls["api"]["fapiPrivate"].startswith("https://fapi.binance.com/")  # type: ignore[attr-defined]
    assert {end.status for end in ends} == {"filled"}, ends


async def test_retry_after_is_obeyed(rig: Rig) -> None:
    """429: the whole venue is left alone for as long as it says, then the order goes again."""
    await rig.account("f1", "binance")
    await rig.account("f2", "binance")
    price = await rig.price()
    first, second = rig.order("f1", "binance", price), rig.order("f2", "binance", price)
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "http_429", "client_id": first.command_id, "seconds": 2.0}]})
    async with rig.running():
        await rig.send(first)

        async def attempted() -> bool:
            return any(isinstance(record, OrderAttempted) for _, _, record in await rig.executions())

        await wait_until(attempted)
        await wait_until(lambda: rig.executors[-1].desk.limits.ip_delay("binance") > 0)
        await rig.send(second)
        await rig.wait_settled(first, second)
    attempts = [record for _, _, record in await rig.executions() if isinstance(record, OrderAttempted)]
    assert [record.sent_at - attempts[0].sent_at >= 1900 for record in attempts[1:]] == [True, True]


async def test_an_exit_that_landed_behind_a_wrong_absent_is_found(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source denied the first attempt; the second finds nothing to reduce, because the first one closed the position."""
    monkeypatch.setattr(recovery, "DELAYS_S", (0.1, 0.3))
    await rig.account("f1", "binanceusdm")
    engine, price = rig.simulator.world.engine, await rig.price("binanceusdm")
    opened, exit_ = rig.order("f1", "binanceusdm", price), rig.exit("f1", "binanceusdm")
    check = engine.check

    def shown_late(account: Account, ask: NewOrder) -> None:
        if ask.client_id == exit_.command_id and ask.client_id in account.by_client:
            account.by_client[ask.client_id].visible_ms = 0
        check(account, ask)

    engine.check = shown_late  # type: ignore[method-assign]
    await rig.admin("POST", "/_faults", {"rules": [{"kind": "query_lag", "seconds": 3600, "client_id": exit_.command_id}]})
    async with rig.running():
        await rig.send(opened)
        await rig.wait_settled(opened)
        await rig.send(exit_)
        (end,) = await rig.wait_settled(exit_)
    assert (end.status, end.filled, end.attempts) == ("filled", exit_.quantity, 2)
    assert (await rig.ledger())[exit_.command_id]["executions"] == 1
