"""The engine's part for a run of executors alone: commands straight to `trade.commands.v1`, some of them cancelled, some sent twice.

Enters: accounts, a seed. Leaves: opens and exits in turn on every account and symbol, each with the next sequence of its shard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, Final

import aiohttp

from engine.domain.ids import command_id
from engine.domain.messages import CancelOrder, PlaceOrder, TradeCommand
from engine.domain.values import SIDE_OF_EXIT, SIDE_OF_OPEN, SPOT_VENUES, Direction, Venue
from engine.log.writer import ShardWriter, build_producer
from engine.topology import shard_of
from ops.demo.plan import FollowerPlan
from ops.stack import Stack

COINS: Final = {"BTC": "0.002", "ETH": "0.05", "SOL": "1"}
"""Coin to the quantity of its smallest order."""
SLACK: Final = Decimal("0.05")
LIFE_MS: Final = 3_600_000
CANCELLED: Final = 0.02
SENT_AGAIN: Final = 0.02
TAIL: Final = 20
"""How many commands a new owner of a shard sends again."""


@dataclass
class _Lane:
    """One account and symbol: flat, or holding what the last open asked for."""

    follower: str
    venue: Venue
    coin: str
    held: tuple[Direction, Decimal] | None = None

    @property
    def symbol(self) -> str:
        """The venue's market."""
        return f"{self.coin}/USDT" if self.venue in SPOT_VENUES else f"{self.coin}/USDT:USDT"


@dataclass
class ExecutorLoad:
    """Writes commands. `asked` is what it wrote, by shard, in order of sequence."""

    stack: Stack
    plans: Sequence[FollowerPlan]
    seed: int
    asked: dict[int, list[PlaceOrder | CancelOrder]] = field(default_factory=dict)
    orders: int = 0

    def __post_init__(self) -> None:
        self._random = Random(f"orders/{self.seed}")
        self._lanes = [_Lane(plan.follower_id, plan.venue, coin) for plan in self.plans for coin in COINS]
        self._prices: dict[str, dict[str, str]] = {}

    async def __aenter__(self) -> ExecutorLoad:
        producer: Any = build_producer(self.stack.settings, "remora-chaos")
        self._producer = producer
        await self._producer.start()
        self._writers = {shard: ShardWriter(producer, self.stack.settings, shard) for shard in range(self.stack.settings.partitions)}
        self._simulator = aiohttp.ClientSession(self.stack.simulator_url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._simulator.close()
        await self._producer.stop()

    async def write(self, count: int) -> None:
        """The next `count` orders, spread over all lanes."""
        async with self._simulator.get("/_price") as answer:
            self._prices = await answer.json()
        fresh: dict[int, list[TradeCommand]] = {shard: [] for shard in self._writers}
        for lane in self._random.choices(self._lanes, k=count):
            order = self._next(lane)
            self._ask(order, fresh)
            if self._random.random() < CANCELLED:
                self._ask(CancelOrder(command_id=order.command_id, follower_id=order.follower_id, cause="chaos"), fresh)
        await asyncio.gather(*(self._writers[shard].send_commands(self._with_repeats(shard, new)) for shard, new in fresh.items()))

    def _ask(self, body: PlaceOrder | CancelOrder, fresh: dict[int, list[TradeCommand]]) -> None:
        shard = shard_of(body.follower_id, self.stack.settings.partitions)
        asked = self.asked.setdefault(shard, [])
        asked.append(body)
        fresh[shard].append(TradeCommand(seq=len(asked), body=body))

    def _with_repeats(self, shard: int, fresh: list[TradeCommand]) -> list[TradeCommand]:
        """Now and then what was sent last comes once more before the new, as from a new owner."""
        if self._random.random() >= SENT_AGAIN * 10:
            return fresh
        asked, first = self.asked.get(shard, []), fresh[0].seq if fresh else len(self.asked.get(shard, [])) + 1
        return [TradeCommand(seq=seq, body=asked[seq - 1]) for seq in range(max(1, first - TAIL), first)] + fresh

    def _next(self, lane: _Lane) -> PlaceOrder:
        self.orders += 1
        if lane.held is None:
            spot = lane.venue in SPOT_VENUES
            direction: Direction = "long" if spot or self._random.random() < 0.5 else "short"
            lane.held = direction, Decimal(COINS[lane.coin]) * self._random.randint(1, 3)
            return self._order(lane, *lane.held, **self._open_terms(lane, direction))
        (direction, quantity), lane.held = lane.held, None
        return self._order(lane, direction, quantity, side=SIDE_OF_EXIT[direction], kind="exit")

    def _open_terms(self, lane: _Lane, direction: Direction) -> dict[str, Any]:
        price = Decimal(self._prices[lane.venue][lane.symbol])
        side = SIDE_OF_OPEN[direction]
        limit = price * (1 + SLACK if side == "buy" else 1 - SLACK)
        terms = {"side": side, "kind": "open", "limit_price": limit, "reference_price": price}
        return terms | {"expires_at": int(time.time() * 1000) + LIFE_MS}

    def _order(self, lane: _Lane, direction: Direction, quantity: Decimal, **terms: Any) -> PlaceOrder:
        cause = f"chaos-{self.seed}-{self.orders}"
        return PlaceOrder(
            command_id=command_id(cause, lane.follower),
            follower_id=lane.follower,
            venue=lane.venue,
            symbol=lane.symbol,
            quantity=quantity,
            cause=cause,
            priority=self._random.choice(("high", "medium", "low")),
            **terms,
        )
