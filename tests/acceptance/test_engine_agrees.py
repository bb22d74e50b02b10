"""The read models and the engine's own state, folded from the same events by different code, agree to the last digit."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.events import CopiesSkipped, CopyDecided, CopySkipped
from engine.domain.state import Lot
from tests.given import BTC, ETH
from tests.properties.test_domain_machine import FOLLOWERS, WHALES, Promises
from tests.tables import Tables

PRICES = [Decimal(900), Decimal(1000), Decimal("1111.1")]


def live_on(machine: Any, chance: random.Random, steps: int) -> None:
    """Whales trade, orders end, operators switch, accounts drift, time passes: as the domain's own machine does it."""
    for _ in range(steps):
        turn = chance.randrange(20)
        if turn < 8:
            machine.whale_trades(
                chance.choice(WHALES), chance.choice([BTC, ETH]), chance.randint(10, 250), chance.choice(PRICES), chance.random() < 0.5
            )
        elif turn < 13 and machine._pending():
            machine.an_order_ends(chance.randrange(50), chance.choice([0, 35, 100, 100]), chance.choice(PRICES))
        elif turn == 13:
            machine.every_order_ends(chance.choice(PRICES))
        elif turn == 14:
            machine.time_passes(chance.choice([1000, 5000, 61_000]))
        elif turn == 15:
            machine.somebody_pauses(chance.random() < 0.3)
        elif turn == 16:
            machine.somebody_closes(chance.choice(list(FOLLOWERS)))
        elif turn == 17:
            machine.positions_are_reported_twice(chance.choice(["fixed", "multiplied", "capped"]), chance.choice([0, 50, 100]))
        elif turn == 18:
            machine.equity_is_reported()
        else:
            machine.somebody_unfollows(chance.choice(["fixed", "carrying"]), chance.choice(WHALES), chance.random() < 0.6)


def project(tables: Tables, events: list[Any], chance: random.Random) -> None:
    """In rounds of any size."""
    while events:
        size = chance.randint(1, 80)
        tables.tell(0, *events[:size])
        events = events[size:]


def engine_lots(machine: Any) -> dict[tuple[str, ...], tuple[Decimal, ...]]:
    """What the engine's state says of every lot."""
    found = {}
    for name, follower in machine.shard.state.followers.items():
        for lot in (follower.lots or {}).values():
            assert isinstance(lot, Lot)
            key = (name, lot.venue, lot.symbol, lot.direction, lot.mode, lot.whale_id)
            found[key] = (lot.filled, lot.pending, lot.reserved, lot.cost)
    return found


def projected_lots(tables: Tables) -> dict[tuple[str, ...], tuple[Decimal, ...]]:
    """What the tables say of every lot that is not over."""
    columns = "follower_key, exchange, symbol, side, mode, whale_key, filled, pending, reserved, cost"
    rows = tables.rows(f"SELECT {columns} FROM positions WHERE status <> 'closed'")  # type: ignore[arg-type]
    return {tuple(row.values())[:6]: tuple(row.values())[6:] for row in rows}


@pytest.mark.parametrize("seed", range(6))
def test_lots_decisions_and_orders_agree(tables: Tables, seed: int) -> None:
    chance = random.Random(seed)
    machine = Promises()
    machine.begin()
    live_on(machine, chance, 150)
    tables.close()
    tables = Tables(tables.dsn, shards=1)
    project(tables, machine.shard.events, chance)
    assert tables.buried == []
    assert projected_lots(tables) == engine_lots(machine)
    answers = 0
    for event in machine.shard.events:
        answers += len(event.followers) if isinstance(event, CopiesSkipped) else isinstance(event, CopyDecided | CopySkipped)
    counts = tables.row("SELECT count(*) AS n, count(DISTINCT (signal_id, user_id)) AS d FROM copy_decisions")
    assert counts == {"n": answers, "d": answers}, "one decision a signal and follower"
    open_orders = {order.command_id for order in machine._pending()}
    rows = tables.rows("SELECT command_key FROM trades WHERE settled_at IS NULL AND mode <> 'shadow'")
    assert {row["command_key"] for row in rows} == open_orders
    waiting = set(machine.shard.state.held)
    rows = tables.rows("SELECT signal_key FROM whale_signals WHERE status = 'PENDING'")
    assert {row["signal_key"] for row in rows} == waiting
    assert tables.row("SELECT count(*) > 20 AS many FROM trades WHERE filled > 0")["many"]
    tables.close()
