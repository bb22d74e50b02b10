"""The signal queue and a signal's life under the older system's names, on the running system."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.messages import ReleaseSignals
from engine.domain.values import Priority
from engine.topology import CONTROL
from ops.demo.report import settled_differences
from tests.acceptance.system.whales import Whale, control, new_whale, set_gate
from tests.support import wait_until
from tests.system import DECISIONS, TRADES, System, read_records

ENDED = ("PROCESSED", "FAILED", "EXPIRED")
LOT = "SELECT side, filled, status, entry_price FROM positions WHERE follower_key = %(follower)s"


@pytest.fixture
async def paused(system: System) -> AsyncIterator[System]:
    """The queue lets no open pass; it runs again afterwards."""
    await set_gate(system, paused=True)
    yield system
    await set_gate(system)


async def held(whale: Whale, **facts: Any) -> str:
    """Publish an open; its id once it waits."""
    signal = whale.trade(whale.positions.get(facts.get("symbol", ""), 0) + Decimal(2), **facts)
    await whale.publish(signal)
    row = await whale.system.signal_when(signal.signal_id, "PENDING")
    assert row["held"] == "paused"
    return signal.signal_id


async def release(system: System, most: int = 1, lowest: Priority = "low") -> tuple[str, ...]:
    """Ask for the next signals; the ids that the answer names."""
    asked = await control(system, ReleaseSignals(request_id=uuid.uuid4().hex, max_signals=most, min_priority=lowest))

    async def answer() -> list[dict[str, Any]]:
        records = [json.loads(record.value) for record in await read_records(system.settings, CONTROL, 0)]
        return [record for record in records if record["request_id"] == f"release@{asked.offset}"]

    found = await wait_until(answer, 30.0, "the request is answered")
    assert isinstance(found, list)
    return tuple(found[0].get("signal_ids", ()))


async def test_signal_lifecycle(paused: System) -> None:
    whale = new_whale(paused)
    await whale.gets_follower()
    signal_id = await held(whale)
    await set_gate(paused)
    row = await paused.signal_when(signal_id, *ENDED)
    assert (row["status"], row["trades_executed"], row["held"]) == ("PROCESSED", 1, "")
    assert row["detected_at"] <= row["published_at"] <= row["received_at"] <= row["processed_at"]
    assert paused.rows(DECISIONS, key=signal_id)[0]["outcome"] == "copied"


async def test_signal_can_fail(system: System) -> None:
    whale = new_whale(system)
    await whale.gets_follower(balance=10)
    signal = whale.trade(2)
    await whale.publish(signal)
    row = await system.signal_when(signal.signal_id, *ENDED)
    assert (row["status"], row["trades_executed"]) == ("FAILED", 0)
    (trade,) = system.rows(TRADES, key=signal.signal_id)
    assert (trade["status"], trade["filled"]) == ("rejected", 0)
    assert trade["raw_code"] == "-2019" and row["error_message"] == trade["reason"]


async def test_signal_can_expire(paused: System) -> None:
    whale = new_whale(paused)
    follower = await whale.gets_follower()
    signal_id = await held(whale, expires_in_s=3.0)
    row = await paused.signal_when(signal_id, *ENDED)
    assert (row["status"], row["trades_executed"]) == ("EXPIRED", 0)
    (decision,) = paused.rows(DECISIONS, key=signal_id)
    assert (decision["follower_key"], decision["outcome"], decision["reason"]) == (follower, "skipped", "signal_expired")
    assert int(decision["found_value"]) > int(decision["limit_value"]) == int(row["expires_at"].timestamp() * 1000)


async def test_enqueue_and_dequeue(paused: System) -> None:
    whale = new_whale(paused)
    first, second = await held(whale), await held(whale, symbol="SOL/USDC:USDC", price=Decimal(150))
    waiting = _queue(paused)
    assert {signal["signal_id"] for signal in waiting["next_up"]} == {first, second}
    assert waiting["waiting"]["PENDING"] == {"medium": 2}
    assert await release(paused) == (first,)
    await paused.signal_when(first, *ENDED)
    assert [signal["signal_id"] for signal in _queue(paused)["next_up"]] == [second]
    assert await release(paused) == (second,)
    await paused.signal_when(second, *ENDED)
    assert _queue(paused)["next_up"] == [] and _queue(paused)["waiting"]["PENDING"] == {}


async def test_queue_respects_priority(paused: System) -> None:
    whales = {priority: new_whale(paused) for priority in ("low", "medium", "high")}
    ids = {priority: await held(whale, priority=priority) for priority, whale in whales.items()}
    assert await release(paused, 10, "medium") == (ids["high"], ids["medium"])
    for priority in ("high", "medium"):
        await paused.signal_when(ids[priority], "PROCESSED")
    assert await release(paused, 10, "medium") == (), "low waits on"
    await set_gate(paused, min_priority="medium")
    assert _queue(paused)["next_up"][0]["signal_id"] == ids["low"]
    await set_gate(paused)
    await paused.signal_when(ids["low"], "PROCESSED")


async def test_pause_and_gate_leave_each_other_alone(paused: System) -> None:
    paused.remora("queue", "gate", "--min-priority", "high")
    assert _gate(paused) == (True, "high")
    paused.remora("queue", "resume")
    paused.remora("queue", "gate", "--min-priority", "medium")
    paused.remora("queue", "pause")
    assert _gate(paused) == (True, "medium")


async def test_process_signal_with_no_signals(paused: System) -> None:
    assert await release(paused) == ()
    assert await release(paused, 10) == ()


async def test_process_signal_success(paused: System) -> None:
    whale = new_whale(paused)
    follower = await whale.gets_follower()
    signal_id = await held(whale)
    answer = paused.remora("queue", "process")
    assert answer["record"] == "ReleaseSignals"
    row = await paused.signal_when(signal_id, *ENDED)
    assert (row["status"], row["trades_executed"]) == ("PROCESSED", 1)
    (trade,) = paused.rows(TRADES, key=signal_id)
    assert (trade["follower_key"], trade["status"], trade["filled"]) == (follower, "filled", trade["quantity"])


async def test_whale_signal_to_trade_flow(system: System) -> None:
    whale = new_whale(system)
    follower = await whale.gets_follower()
    grown, halved, closed = whale.trade(2), whale.trade(1), whale.trade(0)
    await whale.publish(grown)
    row = await system.signal_when(grown.signal_id, *ENDED)
    (bought,) = system.rows(TRADES, key=grown.signal_id)
    assert (row["status"], bought["side"], bought["filled"]) == ("PROCESSED", "buy", Decimal("0.1"))
    assert bought["published_at"] <= bought["decided_at"] <= bought["attempted_at"] <= bought["acknowledged_at"]
    (lot,) = system.rows(LOT, follower=follower)
    assert (lot["side"], lot["filled"], lot["status"], lot["entry_price"]) == ("long", Decimal("0.1"), "open", bought["average_price"])
    await whale.publish(halved)
    await system.signal_when(halved.signal_id, "PROCESSED")
    assert system.rows(LOT, follower=follower)[0]["filled"] == Decimal("0.05"), "half of it, as the whale sold half"
    await whale.publish(closed)
    await system.signal_when(closed.signal_id, "PROCESSED")
    assert (await settled_differences(system.settings, system.simulator_url))[1] == []
    assert system.rows(LOT, follower=follower)[0]["status"] == "closed"
    (seen,) = [item for item in _api(system, f"/v1/signals?whale={whale.name}")["items"] if item["signal_id"] == grown.signal_id]
    assert seen["status"] == "PROCESSED"


def _queue(system: System) -> dict[str, Any]:
    return _api(system, "/v1/queue")


def _gate(system: System) -> tuple[bool, Priority]:
    gate = _api(system, "/v1/switches")["gate"]
    return gate["paused"], gate["min_priority"]


def _api(system: System, path: str) -> dict[str, Any]:
    key = system.api_key.get_secret_value()
    request = urllib.request.Request(system.api_url + path, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found
