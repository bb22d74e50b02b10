"""A whale for one test: signals with a coherent chain of positions, one follower, prices at the simulator."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp

from engine.contracts.signal import WhaleSignal
from engine.domain.messages import ControlRecord, SetGate
from engine.domain.values import FollowerSettings, FollowTerms, Limits
from engine.log.publish import Published, open_publisher
from ops.demo.plan import FollowerPlan
from ops.demo.setup import create_followers
from ops.detect import action_of
from ops.player import play
from tests.system import System

SYMBOL, PRICE = "ETH/USDC:USDC", Decimal(3000)
SETTINGS = FollowerSettings(preferred_exchange="binanceusdm", max_leverage=Decimal(5), limits=Limits(max_deviation_bps=Decimal(5000)))
TERMS = FollowTerms(sizing="fixed_quote", trade_size_usdt=Decimal(300), start_mode="now")


@dataclass
class Whale:
    """Trades by `trade`; remembers what it holds."""

    system: System
    name: str
    plans: list[FollowerPlan] = field(default_factory=list)
    positions: dict[str, Decimal] = field(default_factory=dict)
    signals: int = 0

    async def gets_follower(self, *, balance: int = 100_000, terms: FollowTerms = TERMS, settings: FollowerSettings = SETTINGS) -> str:
        """One more follower; its name."""
        name = f"{self.name}-f{len(self.plans)}"
        plan = FollowerPlan(name, self.name, settings, terms, f"key-{name}", f"secret-{name}", Decimal(balance))
        await create_followers(self.system, [plan])
        self.plans.append(plan)
        return name

    def trade(self, to: str | int, *, age_s: float = 0, expires_in_s: float | None = None, **facts: Any) -> WhaleSignal:
        """The signal of a trade that leads to a position."""
        symbol = facts.setdefault("symbol", SYMBOL)
        before, after = self.positions.get(symbol, Decimal(0)), Decimal(to)
        self.positions[symbol] = after
        self.signals += 1
        detected = datetime.now(UTC) - timedelta(seconds=age_s)
        return WhaleSignal(
            **{
                "signal_id": f"{self.name}-{self.signals}",
                "whale_id": self.name,
                "trade_type": "futures",
                "action": action_of(before, after),
                "side": "buy" if after > before else "sell",
                "quantity": abs(after - before),
                "price": PRICE,
                "position_before": before,
                "position_after": after,
                "detected_at": detected,
                "expires_at": None if expires_in_s is None else detected + timedelta(seconds=expires_in_s),
            }
            | facts
        )

    async def publish(self, *signals: WhaleSignal) -> None:
        """The signals go out as they are."""
        async with aiohttp.ClientSession(self.system.simulator_url) as session:
            for signal in signals:
                async with session.post("/_price", json={"symbol": signal.symbol, "price": str(signal.price)}) as answer:
                    answer.raise_for_status()
        assert await play(self.system.settings, signals, restamp=False) == len(signals)


def new_whale(system: System) -> Whale:
    """A whale that nobody has heard of."""
    return Whale(system, f"whale-{uuid.uuid4().hex[:8]}")


async def control(system: System, record: ControlRecord) -> Published:
    """A control record goes out."""
    async with open_publisher(system.settings, "test") as publisher:
        return await publisher.publish_control(record)


async def set_gate(system: System, **gate: Any) -> None:
    """Set the queue's gates."""
    await control(system, SetGate(request_id=uuid.uuid4().hex, **gate))
