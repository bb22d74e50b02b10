"""Funding payments become records exactly once: on the timer, over restarts, and when they were paid while nobody ran."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.domain.messages import FundingReported
from engine.domain.values import Venue
from engine.executor.jobs import Account
from engine.executor.service import Executor
from tests.integration.executor.rig import SYMBOL, Rig, read_reports
from tests.support import wait_until

F1 = Account("f1", "binanceusdm")


async def reported(rig: Rig) -> list[FundingReported]:
    """Every report on the log, in order."""
    return [record for _, _, record in await rig.executions() if isinstance(record, FundingReported)]


async def wait_reported(rig: Rig, count: int) -> list[FundingReported]:
    """Until so many reports are there."""
    found: list[FundingReported] = []

    async def there() -> bool:
        found[:] = await reported(rig)
        return len(found) >= count

    await wait_until(there, 20.0, f"{count} reports of funding")
    return found


async def pay(rig: Rig, venue: str, rate: str) -> None:
    assert (await rig.admin("POST", "/_funding", {"venue": venue, "symbol": SYMBOL[venue], "rate": rate}))["settled"] == 1


async def hold(rig: Rig, venue: str) -> None:
    """The follower opens a position."""
    order = rig.order("f1", venue, await rig.price(venue))
    await rig.send(order)
    await rig.wait_settled(order)


async def wait_committed(executor: Executor, since: Any) -> None:
    """Until a mark later than `since` went with the shard's hint."""

    def committed() -> bool:
        marks = [shard.committed[1].funding for shard in executor.shards.owned.values() if shard.committed]
        return any(mark is not None and mark != since for mark in marks)

    await wait_until(committed, 20.0, "the mark committed")


@pytest.mark.parametrize("venue", ["binanceusdm", "bybitlinear"])
async def test_each_payment_once_over_restarts(rig: Rig, venue: Venue) -> None:
    await rig.account("f1", venue)
    async with rig.running(funding_interval_s=0.3) as executor:
        await hold(rig, venue)
        await pay(rig, venue, "0.0001")
        await pay(rig, venue, "-0.0003")
        await wait_reported(rig, 2)
        await wait_committed(executor, None)
    await pay(rig, venue, "0.0002")
    async with rig.running(funding_interval_s=3600.0):
        await wait_reported(rig, 3)
    async with rig.running(funding_interval_s=0.3):
        await pay(rig, venue, "0.0004")
        found = await wait_reported(rig, 4)
    (account,) = [a for a in rig.simulator.world.registry.by_key.values() if a.payments]
    assert [report.amount for report in found] == [payment.amount for payment in account.payments]
    assert [report.at for report in found] == [payment.at_ms for payment in account.payments]
    assert len({report.funding_id for report in found}) == 4
    assert {(report.follower_id, report.venue, report.symbol) for report in found} == {("f1", venue, SYMBOL[venue])}


async def test_what_a_fenced_out_owner_reported_is_reported_again(rig: Rig) -> None:
    """A report behind a newer claim is void for every reader, so it does not count as reported."""
    await rig.account("f1", "binanceusdm")
    async with rig.running(funding_interval_s=0.3, session_timeout_s=30.0) as executor:
        await hold(rig, "binanceusdm")
        await wait_committed(executor, None)
        shard = next(iter(s for s in executor.shards.owned.values() if s.committed))
        old_epoch, producer = shard.journal.epoch, rig.producer
    async with rig.running(funding_interval_s=3600.0):
        pass
    await pay(rig, "binanceusdm", "0.0001")
    (payment,) = next(a for a in rig.simulator.world.registry.by_key.values() if a.payments).payments
    zombie = FundingReported(
        epoch=old_epoch,
        follower_id="f1",
        venue="binanceusdm",
        symbol=SYMBOL["binanceusdm"],
        funding_id=f"{payment.id}-BTCUSDT",
        amount=payment.amount,
        at=payment.at_ms,
    )
    await append(rig, producer, shard.number, zombie)
    async with rig.running(funding_interval_s=0.3):
        found = await wait_reported(rig, 2)
    assert [report.funding_id for report in found] == [zombie.funding_id] * 2
    assert found[0].epoch == old_epoch and found[1].epoch > old_epoch


async def append(rig: Rig, producer: Any, partition: int, record: FundingReported) -> None:
    import msgspec

    from engine.topology import EXECUTIONS

    value = msgspec.json.Encoder(decimal_format="string").encode(record)
    await producer.send_and_wait(rig.settings.topic(EXECUTIONS), value, record.follower_id.encode(), partition)


async def test_a_flat_account_is_not_asked(rig: Rig) -> None:
    await rig.account("f1", "binanceusdm")
    income = "binanceusdm GET /fapi/v1/income"
    async with rig.running(funding_interval_s=0.2, equity_interval_s=0.2) as executor:
        await wait_until(lambda: executor.reports.view(F1) is not None)
        book = await wait_book(executor)

        async def rounds(count: int) -> None:
            before = book.asked[F1]
            for _ in range(count):
                seen = book.asked[F1]
                await wait_until(lambda seen=seen: book.asked[F1] > seen)  # type: ignore[misc]
            assert book.asked[F1] > before

        await rounds(2)
        asked = rig.simulator.dispatcher.requests[income]
        await rounds(3)
        assert rig.simulator.dispatcher.requests[income] == asked
        await hold(rig, "binanceusdm")
        await wait_until(lambda: rig.simulator.dispatcher.requests[income] > asked)


async def wait_book(executor: Executor) -> Any:
    """The book that holds the account."""

    def found() -> list[Any]:
        return [book for book in executor.funding._books.values() if F1 in book.asked]

    await wait_until(lambda: bool(found()))
    return found()[0]


async def test_real_leverage_reaches_the_rules_with_the_first_account(rig: Rig) -> None:
    """Without an account the venue does not tell; with the first one the rules are published once more."""

    async def highest() -> list[Decimal]:
        reports = [report for report in await read_reports(rig.settings) if report.venue == "binanceusdm" and hasattr(report, "rules")]
        rules = [rule for report in reports for rule in report.rules if rule.symbol == SYMBOL["binanceusdm"]]  # type: ignore[union-attr]
        return [rule.max_leverage for rule in rules]

    async with rig.running():

        async def fresh() -> bool:
            return await highest() == [20]

        await wait_until(fresh, 20.0, "rules before there is an account")
        await rig.account("f1", "binanceusdm")

        async def told() -> bool:
            return await highest() == [20, 125]

        await wait_until(told, 20.0, "rules with the brackets")
