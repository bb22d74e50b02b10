"""`remora bench halt`: opens queued under real venue limits, then one switch; how many opens arrive at the exchange a second later.

Leaves one JSON object. `opens_after_1s` counts arrivals more than 1 s after the switch was acknowledged by the log, on the simulator's own
clock (the same machine's). The raw side is a record's way through the same broker, which a switch has to go too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from engine.config import Settings
from engine.domain.messages import OrderSettled, SetSwitch
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.publish import open_publisher
from engine.topology import EXECUTIONS, REJECTED
from ops.bench.orders import Bench
from ops.bench.projection import quantile
from ops.bench.raw_hop import hops
from ops.stack import Stack

QUEUED: Final = 5000
ACCOUNTS: Final = 500
BEFORE: Final = 300
"""Opens that have arrived when the switch is set."""
SETTLE_S: Final = 60.0
HOP_EVERY_S: Final = 0.02


async def _halt(settings: Settings) -> int:
    async with open_publisher(settings, "remora-bench") as publisher:
        await publisher.publish_control(SetSwitch(request_id="bench-halt", state="halt", reason="bench", actor="bench"))
        return time.time_ns() // 1000


async def _settled(settings: Settings) -> list[OrderSettled]:
    found: list[OrderSettled] = []
    async with open_consumer(settings) as consumer:
        for partition in range(settings.partitions):
            first, end = await bounds(consumer, settings.topic(EXECUTIONS), partition)
            async for records in read_range(consumer, settings.topic(EXECUTIONS), partition, first, end):
                settled = (record.value for record in records if record.value and b'"OrderSettled"' in record.value)
                found += [msgspec.json.decode(value, type=OrderSettled) for value in settled]
    return found


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    """Until it is true, or for `SETTLE_S`."""
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end and not await true():  # noqa: ASYNC110 - another process has no event to wait for
        await asyncio.sleep(0.05)


async def _arrived(bench: Bench) -> bool:
    count: int = (await bench.arrivals())["count"]
    return count >= BEFORE


async def _all_settled(settings: Settings) -> bool:
    return len(await _settled(settings)) >= QUEUED


async def _measure(bench: Bench) -> dict[str, Any]:
    settings = bench.stack.settings
    await bench.publish("halt", QUEUED)
    await _until(lambda: _arrived(bench))
    halted_us = await _halt(settings)
    await _until(lambda: _all_settled(settings))
    ends = await _settled(settings)
    entries = (await bench.admin("GET", "/_ledger?accounts=0"))["entries"]
    late = [entry["last_received_us"] - halted_us for entry in entries]
    refused = [end for end in ends if end.status == "missed" and end.reason == "kill_switch"]
    value, raw = max(late) / 1000, quantile(await hops(settings.kafka, settings.topic(REJECTED), HOP_EVERY_S), 0.5)
    return {
        "value": round(value, 1),
        "unit": "ms",
        "raw": round(raw, 2),
        "ratio": round(value / raw, 2),
        "queued": QUEUED,
        "opens_before": sum(1 for us in late if us <= 0),
        "opens_within_1s": sum(1 for us in late if 0 < us <= 1_000_000),
        "opens_after_1s": sum(1 for us in late if us > 1_000_000),
        "refused": len(refused),
        "settled": len(ends),
        "all_refused_ms": max((end.settled_at for end in refused), default=0) - halted_us // 1000,
    }


def bench_halt() -> dict[str, Any]:
    """Run it on a stack of its own, both sides with the venues' real limits."""
    options = ("--limits", "real")
    with Stack(roles=(), simulator_options=options, fsync=False, venue_limits=True, equity_interval_s=600) as stack:
        bench = Bench(stack, "binance", QUEUED, ACCOUNTS)
        asyncio.run(bench.register())
        stack.supervisor.start("executor")
        stack.supervisor.wait_ready("executor")
        return asyncio.run(_measure(bench))
