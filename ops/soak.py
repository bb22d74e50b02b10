"""`remora soak`: the whole system under a steady flow of signals for minutes; memory of every process, latency, and the books at the end.

Enters: minutes, signals a second, followers, a seed. Leaves: one report. The built-in market flows in real time.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any, Final

from rich.console import Console

from engine.contracts.signal import WhaleSignal
from ops.children import rss_mb
from ops.demo.plan import plan_followers
from ops.demo.play import play_through
from ops.demo.report import build_report, settled_differences
from ops.demo.setup import create_followers
from ops.seeded import BEGIN, seeded_signals
from ops.stack import ROLES, Stack

SETTLED_SHARE: Final = 0.25
"""Memory is compared from this share of the run on: before it, processes fill caches."""


def run_soak(minutes: float, rate: float, followers: int, seed: int) -> dict[str, Any]:
    """Play `rate` signals a second for `minutes`."""
    words = Console(stderr=True)
    with Stack(on_step=lambda step: words.log(f"starting {step}")) as stack:
        return asyncio.run(_soak(stack, minutes, rate, followers, seed, words))


def steady_signals(seed: int, count: int, rate: float) -> list[WhaleSignal]:
    """The built-in market at an even pace."""
    return [
        signal.model_copy(
            update={"whale_time": BEGIN + timedelta(seconds=number / rate), "detected_at": BEGIN + timedelta(seconds=number / rate)}
        )
        for number, signal in enumerate(seeded_signals(seed, count))
    ]


async def _soak(stack: Stack, minutes: float, rate: float, followers: int, seed: int, words: Console) -> dict[str, Any]:
    signals = steady_signals(seed, max(int(minutes * 60 * rate), 1), rate)
    plans = plan_followers(sorted({signal.whale_id for signal in signals}), followers, seed=seed)
    await create_followers(stack, plans)
    samples: list[dict[str, float]] = []
    sampling = asyncio.create_task(_sample(stack, samples))
    words.log(f"playing {len(signals)} signals in {minutes} minutes")
    began = time.monotonic()
    published = await play_through(stack, signals, 1.0, lambda _: None, minutes * 60 + 300)
    sampling.cancel()
    truth, found = await settled_differences(stack.settings, stack.simulator_url)
    report = await asyncio.to_thread(build_report, stack.settings, truth, found, published, 0)
    return report | {"rss_mb": _growth(samples), "seconds": round(time.monotonic() - began, 1)}


async def _sample(stack: Stack, samples: list[dict[str, float]]) -> None:
    while True:
        samples.append({role: round(rss_mb(stack.supervisor.pid(role)), 1) for role in ROLES})
        await asyncio.sleep(1.0)


def _growth(samples: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    first, last = samples[int(len(samples) * SETTLED_SHARE)], samples[-1]
    return {role: {"from": first[role], "to": last[role], "growth_percent": _percent(first[role], last[role])} for role in ROLES}


def _percent(before: float, after: float) -> float:
    return round(100 * (after / before - 1), 1)
