"""`remora bench latency`: from a signal's publication to the arrival of its order at the exchange, through every process.

50 signals a second for a minute with one follower each, then with ten. Leaves one JSON object: p50 and p99 in milliseconds, by stage too,
and the hop of one record through the same broker as `raw`. All clocks are this machine's one clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import aiohttp
import msgspec
import psycopg
from pydantic import SecretStr

from engine.config import Settings
from engine.contracts.signal import WhaleSignal
from engine.domain.messages import ConfigureFollower, Execution, FollowWhale, OrderAttempted
from engine.domain.values import FollowerSettings, FollowTerms
from engine.executor.accounts import add_credentials, load_master_key
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.publish import Publisher, open_publisher
from engine.topology import EVENTS, EXECUTIONS, REJECTED
from ops.bench.raw_hop import hops
from ops.stack import Stack

SIGNALS_A_SECOND: Final = 50
SECONDS: Final = 60
FAN: Final = 10
COINS: Final = ("BTC", "ETH", "SOL", "XRP", "DOGE", "AVAX", "LINK", "LTC")
ROLES: Final = ("sequencer", "engine", "executor")
READY_S: Final = 60.0
ARRIVE_S: Final = 30.0
_EXECUTION: Final = msgspec.json.Decoder(Execution)


@dataclass
class Followers:
    """Who follows whom: one follower of `solo`, ten of `crowd`."""

    names: dict[str, list[str]] = field(default_factory=lambda: {"solo": ["solo-0"], "crowd": [f"crowd-{number}" for number in range(FAN)]})

    @property
    def all(self) -> list[tuple[str, str]]:
        """(whale, follower) of everybody."""
        return [(whale, name) for whale, names in self.names.items() for name in names]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99, in the values' unit."""
    ranked = sorted(values)
    if not ranked:
        return {"p50": 0.0, "p99": 0.0}
    return {name: round(ranked[min(int(len(ranked) * share), len(ranked) - 1)], 2) for name, share in (("p50", 0.5), ("p99", 0.99))}


async def _register(stack: Stack, followers: Followers) -> None:
    names = [name for _, name in followers.all]
    accounts = [{"api_key": f"key-{name}", "secret": f"secret-{name}", "venue": "binance", "usdt": "100000000"} for name in names]
    async with aiohttp.ClientSession() as session, session.post(f"{stack.simulator_url}/_accounts", json={"accounts": accounts}) as reply:
        reply.raise_for_status()
    rows = [(name, "binance", SecretStr(f"key-{name}"), SecretStr(f"secret-{name}")) for name in names]
    with psycopg.connect(stack.settings.database_url.get_secret_value()) as conn:
        add_credentials(conn, load_master_key(stack.settings), rows)  # type: ignore[arg-type]
    async with open_publisher(stack.settings, "remora-bench") as publisher:
        for whale, name in followers.all:
            settings = FollowerSettings(preferred_exchange="binance")
            terms = FollowTerms(trade_size_usdt=Decimal(20), start_mode="now")
            await publisher.publish_follower_command(ConfigureFollower(request_id=f"c-{name}", follower_id=name, settings=settings))
            await publisher.publish_follower_command(FollowWhale(request_id=f"f-{name}", follower_id=name, whale_id=whale, terms=terms))


async def _read(settings: Settings, topic: str) -> list[bytes]:
    found: list[bytes] = []
    async with open_consumer(settings) as consumer:
        for partition in range(settings.partitions):
            first, end = await bounds(consumer, topic, partition)
            async for records in read_range(consumer, topic, partition, first, end):
                found += [record.value for record in records if record.value]
    return found


async def _wait_ready(settings: Settings, followers: Followers) -> None:
    """Every follower has an equity in the engine, and every shard knows the marks."""
    until = time.monotonic() + READY_S
    while True:
        events = await _read(settings, settings.topic(EVENTS))
        known = {name for _, name in followers.all for value in events if b"EquityRecorded" in value and name.encode() in value}
        if len(known) == len(followers.all) and sum(b"MarksRecorded" in value for value in events) >= settings.partitions:
            return
        assert time.monotonic() < until, f"after {READY_S} s the engine knows the equity of {sorted(known)} only"
        await asyncio.sleep(0.2)


def _signal(run: str, whale: str, number: int, prices: dict[str, str]) -> WhaleSignal:
    symbol = f"{COINS[number % len(COINS)]}/USDT"
    return WhaleSignal(
        signal_id=f"{run}-{number}",
        whale_id=whale,
        symbol=symbol,
        trade_type="spot",
        action="increase",
        side="buy",
        quantity=Decimal(1),
        price=Decimal(prices[symbol]),
        detected_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(seconds=60),
    )


async def _publish(publisher: Publisher, run: str, whale: str, count: int, prices: dict[str, str]) -> dict[str, float]:
    """Signal id to the time (ms) just before it was handed to the producer."""
    started, sent, acks = time.perf_counter(), dict[str, float](), []
    for number in range(count):
        await asyncio.sleep(max(started + number / SIGNALS_A_SECOND - time.perf_counter(), 0.0))
        signal = _signal(run, whale, number, prices)
        sent[signal.signal_id] = time.time_ns() / 1e6
        acks.append(await publisher.send_signal(signal))
    for ack in acks:
        await ack
    return sent


async def _get(stack: Stack, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(stack.simulator_url + path) as reply:
        return await reply.json()


async def _arrivals(stack: Stack, before: int, expected: int) -> dict[str, float]:
    """Client order id to its time of arrival (ms) at the exchange."""
    until = time.monotonic() + ARRIVE_S
    while (await _get(stack, "/_ledger?limit=0&accounts=0"))["count"] < before + expected and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    entries = (await _get(stack, f"/_ledger?after={before}&accounts=0"))["entries"]
    return {entry["client_order_id"]: entry["received_us"] / 1000 for entry in entries}


async def _run(stack: Stack, run: str, whale: str, fan: int, count: int) -> tuple[list[float], dict[str, dict[str, float]]]:
    """Milliseconds from publication to arrival of every order, and percentiles of the stages."""
    prices: dict[str, str] = (await _get(stack, "/_price?venue=binance"))["binance"]
    before = (await _get(stack, "/_ledger?limit=0&accounts=0"))["count"]
    async with open_publisher(stack.settings, "remora-bench") as publisher:
        sent = await _publish(publisher, run, whale, count, prices)
    arrived = await _arrivals(stack, before, count * fan)
    records = [_EXECUTION.decode(value) for value in await _read(stack.settings, stack.settings.topic(EXECUTIONS))]
    attempts = [record for record in records if isinstance(record, OrderAttempted) and record.order.command_id in arrived]
    first = {record.order.command_id: record for record in reversed(attempts)}
    assert len(first) >= count * fan * 0.99, f"{len(first)} of {count * fan} orders arrived"
    return [arrived[name] - sent[each.order.cause] for name, each in first.items()], _stages(first.values(), sent, arrived)


def _stages(attempts: Iterable[OrderAttempted], sent: dict[str, float], arrived: dict[str, float]) -> dict[str, dict[str, float]]:
    steps: dict[str, list[float]] = {name: [] for name in ("sequenced", "decided", "attempted", "sent")}
    for each in attempts:
        order = each.order
        steps["sequenced"].append(order.received_at - sent[order.cause])
        steps["decided"].append(order.decided_at - order.received_at)
        steps["attempted"].append(each.sent_at - max(order.decided_at, order.received_at))
        steps["sent"].append(arrived[order.command_id] - each.sent_at)
    return {name: percentiles(values) for name, values in steps.items()}


async def _measure(stack: Stack, count: int) -> dict[str, Any]:
    followers = Followers()
    await _register(stack, followers)
    await _wait_ready(stack.settings, followers)
    await _run(stack, "warm", "solo", 1, SIGNALS_A_SECOND * 2)
    one, stages = await _run(stack, "one", "solo", 1, count)
    ten, fan_stages = await _run(stack, "ten", "crowd", FAN, count)
    raw = percentiles(await hops(stack.settings.kafka, stack.settings.topic(REJECTED), 1 / SIGNALS_A_SECOND))
    fan, ours = percentiles(ten) | {"stages": fan_stages}, percentiles(one)
    named = {"value": ours["p50"], "unit": "ms", "raw": raw, "ratio": round(ours["p50"] / raw["p50"], 2)}
    return named | ours | {"orders": len(one), "stages": stages, "fan": fan, "fan_orders": len(ten)}


def bench_latency(seconds: int = SECONDS) -> dict[str, Any]:
    """Run it on a stack of its own."""
    with Stack(roles=ROLES, fsync=False, venue_limits=False) as stack:
        return asyncio.run(_measure(stack, SIGNALS_A_SECOND * seconds))
