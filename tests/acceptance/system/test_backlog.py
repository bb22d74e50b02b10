"""After an outage of the engine: old opens are skipped with their numbers, and nothing is opened that the whale has closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from engine.contracts.signal import WhaleSignal
from ops.demo.report import settled_differences
from tests.acceptance.system.whales import Whale, new_whale
from tests.support import wait_until
from tests.system import DECISIONS, TRADES, System, read_story
from tests.versus import hold_against

ENDED = ("PROCESSED", "FAILED", "EXPIRED")
OPEN_LOTS = "SELECT filled FROM positions WHERE follower_key = %(follower)s AND status = 'open'"


@contextmanager
def outage(system: System) -> Iterator[None]:
    """The engine is down."""
    system.supervisor.stop("engine")
    try:
        yield
    finally:
        system.supervisor.start("engine")
        system.supervisor.wait_ready("engine")


async def ended(whale: Whale, *signals: WhaleSignal) -> None:
    """Every signal has come to its end, and the oracle and the ledger agree with what the engine made of them."""
    for signal in signals:
        await whale.system.signal_when(signal.signal_id, *ENDED)
    assert (await settled_differences(whale.system.settings, whale.system.simulator_url))[1] == []
    story = await read_story(whale.system.settings, whale.plans)
    assert hold_against(story, whale.plans)[0] == []


async def test_old_opens_are_skipped_with_their_numbers(system: System) -> None:
    whale, steady = new_whale(system), new_whale(system)
    follower, other = await whale.gets_follower(), await steady.gets_follower()
    before = steady.trade(2)
    await steady.publish(before)
    await system.signal_when(before.signal_id, "PROCESSED")
    with outage(system):
        chain = [whale.trade(2, age_s=300), whale.trade(3, age_s=290), whale.trade(0, age_s=280)]
        again, sold = whale.trade(-2, age_s=70), steady.trade(1, age_s=250)
        await whale.publish(*chain, again)
        await steady.publish(sold)
    await ended(whale, *chain, again)
    await ended(steady, sold)
    for signal in (chain[0], chain[1], again):
        (decision,) = system.rows(DECISIONS, key=signal.signal_id)
        assert (decision["follower_key"], decision["reason"]) == (follower, "signal_expired")
        assert int(decision["limit_value"]) == int(signal.detected_at.timestamp() * 1000) + 60_000 < int(decision["found_value"])
    assert system.rows(DECISIONS, key=chain[2].signal_id)[0]["reason"] == "nothing_to_close"
    assert not [trade for signal in (*chain, again) for trade in system.rows(TRADES, key=signal.signal_id)]
    assert system.rows(OPEN_LOTS, follower=other) == [{"filled": Decimal("0.05")}], "an exit has no age: half of it is sold"


async def test_nothing_stays_open_that_the_whale_closed_meanwhile(system: System) -> None:
    whale = new_whale(system)
    follower = await whale.gets_follower()
    with outage(system):
        chain = [whale.trade(2), whale.trade(3), whale.trade(0)]
        still = [whale.trade(150, symbol="SOL/USDC:USDC", price=Decimal(150)), whale.trade(50, symbol="SOL/USDC:USDC", price=Decimal(150))]
        await whale.publish(*chain, *still)
    await ended(whale, *chain, *still)
    bought = [trade for signal in chain for trade in system.rows(TRADES, key=signal.signal_id)]
    assert {trade["status"] for trade in bought if trade["kind"] == "open"} == {"missed"}, "cancelled before it was sent"
    held = await wait_until(lambda: system.rows(OPEN_LOTS, follower=follower), what="what the whale still holds a part of")
    assert isinstance(held, list) and len(held) == 1


async def test_missed_signals_are_listed_and_lifted_by_command(system: System) -> None:
    whale = new_whale(system)
    follower = await whale.gets_follower()
    opened, _, grown = whale.trade(2), whale.trade(4), whale.trade(5)
    await whale.publish(opened, grown)
    await ended(whale, opened, grown)
    (decision,) = system.rows(DECISIONS, key=grown.signal_id)
    assert (decision["reason"], decision["limit_value"]) == ("close_only", "missed_signals")
    (gap,) = [pair for pair in system.remora("whale", "gaps") if pair["whale"] == whale.name]
    assert gap["remedy"] == f"remora whale resync {whale.name} ETH/USDC:USDC 5"
    system.remora(*gap["remedy"].split()[1:])
    more = whale.trade(6)
    await wait_until(lambda: not [pair for pair in system.remora("whale", "gaps") if pair["whale"] == whale.name], what="no gap any more")
    await whale.publish(more)
    await system.signal_when(more.signal_id, *ENDED)
    assert system.rows(DECISIONS, key=more.signal_id)[0]["outcome"] == "copied"
    assert len(system.rows(OPEN_LOTS, follower=follower)) == 1
