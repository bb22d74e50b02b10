"""`remora bench recovery`: seconds from kill -9 of the engine to the next order at the exchange, with a long history in the log.

Enters: events in the log, kills. Leaves: one JSON object; `value` is the slowest of the kills. Signals go on all the time; an order counts
if its signal was published after the kill. `raw` is a plain aiokafka group member that takes over from one that was killed.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

from engine.domain.ids import command_id, signal_name
from engine.log.publish import open_publisher
from engine.topology import EVENTS
from ops.bench import latency
from ops.bench.decisions import child
from ops.stack import Stack

FOLLOWERS: Final = 1_000
"""In each shard, beside the one whose orders are timed; they decide in shadow mode."""
SPACING_S: Final = 0.05
WAIT_S: Final = 120.0
ROLES: Final = ("sequencer", "engine", "executor")
WHALE: Final = "solo"
FOLLOWER: Final = "solo-0"


class Flow:
    """Signals without a pause; `sent` is the time (ms) of each."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.sent: dict[str, float] = {}

    async def run(self) -> None:
        """Publish until cancelled."""
        prices: dict[str, str] = (await latency._get(self._stack, "/_price?venue=binance"))["binance"]
        async with open_publisher(self._stack.settings, "remora-bench") as publisher:
            while True:
                signal = latency._signal("flow", WHALE, len(self.sent), prices)
                self.sent[signal.signal_id] = time.time() * 1000
                await publisher.send_signal(signal)
                await asyncio.sleep(SPACING_S)

    async def next_order(self, since_ms: float) -> float:
        """When (ms) the first order arrives whose signal was published after `since_ms`."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            entries = (await latency._get(self._stack, "/_ledger?after=0&accounts=0"))["entries"]
            arrived = {entry["client_order_id"]: entry["received_us"] / 1000 for entry in entries}
            after = [
                arrived.get(command_id(signal_name("whale", WHALE, name), FOLLOWER)) for name, at in self.sent.items() if at > since_ms
            ]
            if found := [at for at in after if at is not None]:
                return float(min(found))
            await asyncio.sleep(0.05)
        raise TimeoutError(f"no order for {WAIT_S} s")


async def _measure(stack: Stack, kills: int) -> list[float]:
    followers = latency.Followers({WHALE: [FOLLOWER]})
    await latency._register(stack, followers)
    await latency._wait_ready(stack.settings, followers)
    flow = Flow(stack)
    publishing = asyncio.create_task(flow.run())
    took: list[float] = []
    for _ in range(kills):
        await flow.next_order(time.time() * 1000)
        killed = time.time() * 1000
        stack.supervisor.kill9("engine")
        took.append((await flow.next_order(killed) - killed) / 1000)
    publishing.cancel()
    return took


def bench_recovery(events: int = 1_000_000, kills: int = 3) -> dict[str, Any]:
    """Run it on a stack of its own."""
    with Stack(roles=(), fsync=False) as stack:
        settings = stack.settings
        shards = settings.partitions
        task = {"kafka": settings.kafka, "prefix": "", "partitions": shards, "followers": FOLLOWERS, "shadow": True, "snapshot_at": 0}
        written = json.loads(child("-m", "ops.bench.history", json.dumps(task | {"events": events // shards})))
        for role in ROLES:
            stack.supervisor.start(role)
        for role in ROLES:
            stack.supervisor.wait_ready(role)
        took = asyncio.run(_measure(stack, kills))
        script = str(Path(__file__).with_name("raw_takeover.py"))
        raw = float(child(script, settings.kafka, settings.topic(EVENTS), str(settings.session_timeout_s)))
    value = max(took)
    return {
        "name": "recovery",
        "value": round(value, 2),
        "unit": "s",
        "raw": round(raw, 2),
        "ratio": round(value / raw, 2),
        "kills": [round(seconds, 2) for seconds in took],
        "events": written["events"],
        "shards": shards,
    }
