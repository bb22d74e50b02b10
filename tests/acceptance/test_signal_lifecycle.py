"""A signal's life, under the names of the older system's tests: two shards decide, Postgres tells; only the exchange is spoken for.

Every signal goes to both shards, as the sequencer does it; a follower lives in one of them. What the shards decide is projected at once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.domain.messages import ControlRecord, PlaceOrder, ReleaseSignals, SetGate
from engine.domain.signal_queue import next_signals
from tests.given import ETH, Shard
from tests.tables import Tables

OTHER = "BTC/USDT:USDT"


class World:
    """Two shards and the tables that tell of them."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.shards = [Shard(number, 2) for number in range(2)]
        self.told = [0, 0]
        self.requests = 0
        for shard in self.shards:
            shard.follower(f"follower-{shard.state.shard}", trade_size_usdt=Decimal(100))
        self.project()

    def project(self) -> None:
        """Bring the tables up to date."""
        for number, shard in enumerate(self.shards):
            fresh = shard.events[self.told[number] :]
            if fresh:
                self.tables.tell(number, *fresh)
            self.told[number] = len(shard.events)

    def signal(self, action: str, side: str, **facts: Any) -> str:
        """A detector publishes; gives the signal's id."""
        for shard in self.shards:
            shard.signal(action, side, **facts)
        self.project()
        return f"s{self.shards[0].signals}"

    def control(self, record: ControlRecord) -> None:
        """An operator's record goes to all shards."""
        for shard in self.shards:
            shard.send(record, source="c")
        self.project()

    def process(self, **request: Any) -> list[str]:
        """`queue process`: one place names the signals, all shards release them."""
        asked = ReleaseSignals(request_id=self.request_id(), **request)
        named = tuple(held.signal.signal_id for held in next_signals(self.shards[0].state, asked))
        self.control(ReleaseSignals(request_id=self.request_id(), signal_ids=named))
        return list(named)

    def request_id(self) -> str:
        self.requests += 1
        return f"request-{self.requests}"

    def orders(self) -> list[tuple[int, PlaceOrder]]:
        """What the exchange has not answered yet."""
        owners = [(number, owner) for number, shard in enumerate(self.shards) for owner in shard.state.followers.values()]
        return [(number, order) for number, owner in owners for order in (owner.orders or {}).values()]

    def settle(self, *shards: int, filled: int | None = None, **facts: Any) -> None:
        """The exchange answers the orders of these shards."""
        for number, order in self.orders():
            if number in shards:
                self.shards[number].settle(order, None if filled is None else Decimal(filled), **facts)
        self.project()

    def tick(self, after_ms: int) -> None:
        """Time passes."""
        for shard in self.shards:
            shard.tick(after_ms)
        self.project()

    def status(self, signal_id: str) -> str:
        """What Postgres says of a signal."""
        return str(self.tables.row("SELECT status FROM whale_signals WHERE signal_key = %s", signal_id)["status"])


@pytest.fixture
def world(tables: Tables) -> World:
    """Two followers of one whale, one in each shard."""
    return World(tables)


def test_signal_lifecycle(world: World) -> None:
    world.control(SetGate(request_id="pause", paused=True))
    signal_id = world.signal("open", "buy")
    assert world.status(signal_id) == "PENDING"
    world.control(SetGate(request_id="go on"))
    assert world.status(signal_id) == "PROCESSING"
    world.settle(0)
    assert world.status(signal_id) == "PROCESSING"
    world.settle(1)
    assert world.status(signal_id) == "PROCESSED"
    row = world.tables.row("SELECT trades_executed, processed_at FROM whale_signals")
    assert row["trades_executed"] == 2 and row["processed_at"] is not None


def test_signal_can_fail(world: World) -> None:
    signal_id = world.signal("open", "buy")
    world.settle(0, 1, filled=0, status="rejected", raw_code="-2019")
    assert world.status(signal_id) == "FAILED"
    assert {row["status"] for row in world.tables.rows("SELECT status FROM trades")} == {"rejected"}


def test_signal_can_expire(world: World) -> None:
    world.control(SetGate(request_id="pause", paused=True))
    signal_id = world.signal("open", "buy")
    world.tick(61_000)
    assert world.status(signal_id) == "EXPIRED"
    reasons = world.tables.rows("SELECT reason FROM copy_decisions")
    assert [row["reason"] for row in reasons] == ["signal_expired", "signal_expired"]
    assert world.orders() == []


def test_enqueue_and_dequeue(world: World) -> None:
    world.control(SetGate(request_id="pause", paused=True))
    first, second = world.signal("open", "buy"), world.signal("open", "buy", symbol=ETH)
    assert {world.status(first), world.status(second)} == {"PENDING"}
    assert world.process(max_signals=1) == [first]
    assert (world.status(first), world.status(second)) == ("PROCESSING", "PENDING")
    assert world.process(max_signals=10) == [second]
    assert world.process(max_signals=10) == []


def test_queue_respects_priority(world: World) -> None:
    world.control(SetGate(request_id="pause", paused=True))
    low = world.signal("open", "buy", priority="low")
    medium = world.signal("open", "buy", symbol=ETH, priority="medium")
    high = world.signal("open", "buy", symbol=OTHER, priority="high")
    assert world.process(max_signals=2) == [high, medium]
    assert world.process(max_signals=2, min_priority="medium") == []
    assert world.status(low) == "PENDING"
    assert world.process(max_signals=2) == [low]


def test_process_signal_with_no_signals(world: World) -> None:
    before = [len(shard.events) for shard in world.shards]
    assert world.process(max_signals=1) == []
    assert [len(shard.events) for shard in world.shards] == before
    assert world.tables.rows("SELECT * FROM whale_signals") == []


def test_process_signal_success(world: World) -> None:
    world.control(SetGate(request_id="pause", paused=True))
    signal_id = world.signal("open", "buy")
    assert world.process(max_signals=1) == [signal_id]
    world.settle(0, 1)
    assert world.status(signal_id) == "PROCESSED"
    assert len(world.tables.rows("SELECT * FROM trades WHERE status = 'filled'")) == 2


def test_whale_signal_to_trade_flow(world: World) -> None:
    opened = world.signal("open", "buy", quantity=2, price=1000)
    world.settle(0, 1)
    reduced = world.signal("reduce", "sell", quantity="0.5", price=1100)
    world.settle(0, 1)
    held = world.tables.rows("SELECT quantity, status, realized_pnl FROM positions")
    assert [(row["quantity"], row["status"]) for row in held] == [(Decimal("0.075"), "open")] * 2
    assert {row["realized_pnl"] for row in held} == {Decimal("2.5")}
    closed = world.signal("close", "sell", quantity="1.5", price=1100)
    world.settle(0, 1)
    assert [world.status(signal_id) for signal_id in (opened, reduced, closed)] == ["PROCESSED"] * 3
    assert {row["status"] for row in world.tables.rows("SELECT status FROM positions")} == {"closed"}
    decided = world.tables.rows("SELECT outcome FROM copy_decisions")
    assert [row["outcome"] for row in decided] == ["copied"] * 6
    for shard in world.shards:
        shard.check()
