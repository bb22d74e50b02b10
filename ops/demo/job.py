"""The demo itself: stack, followers, signals, report. Words and progress go to standard error, the report to standard output."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.contracts.signal import WhaleSignal
from engine.errors import ConfigInvalid
from engine.log.consume import bounds, open_consumer
from engine.topology import REJECTED
from ops.demo.plan import plan_followers
from ops.demo.play import drive_first_prices, play_through
from ops.demo.report import build_report, settled_differences
from ops.demo.setup import create_followers, wait_for_marks
from ops.detect import signals_from_fills
from ops.player import parse_speed
from ops.seeded import seeded_signals
from ops.stack import Stack

AFTERWARDS: Final = 20_000
"""Signals of the made-up market that `--keep` plays after the report: hours."""
AT_ONCE: Final = 10
GO_ON_S: Final = 900.0


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    fills: Path | None
    followers: int
    speed: str
    signals: int
    seed: int
    mixed: bool
    keep: bool
    deadline_s: float
    json: bool


def run_demo(options: Options) -> int:
    """Exit code: 0 when ledger, trades and positions agree, else 1."""
    began = time.monotonic()
    words = Console(stderr=True)
    market = iter(signals_from_fills(options.fills)) if options.fills else seeded_signals(options.seed, options.signals + AFTERWARDS)
    signals = list(market if options.fills else islice(market, options.signals))
    if not signals:
        raise ConfigInvalid(f"{options.fills}: there is no fill in it.")
    with Stack(on_step=lambda step: words.log(f"starting {step}")) as stack:
        _tell_where(stack, words)
        report = asyncio.run(_main_job(stack, options, signals, words))
        report["seconds"] = round(time.monotonic() - began, 1)
        _print(report, options.json)
        if options.keep:
            _tell_where(stack, words)
            _stay(stack, market, words)
    return 0 if report["ledger_equal"] else 1


async def _main_job(stack: Stack, options: Options, signals: list[WhaleSignal], words: Console) -> dict[str, Any]:
    whales = sorted({signal.whale_id for signal in signals})
    plans = plan_followers(whales, options.followers, seed=options.seed, mixed=options.mixed)
    await drive_first_prices(stack, signals)
    words.log(f"creating {len(plans)} followers of {len(whales)} whales")
    await create_followers(stack, plans)
    words.log("waiting for fresh prices of every venue")
    await wait_for_marks(stack.settings)
    words.log(f"playing {len(signals)} signals")
    with _progress(words) as progress:
        bars = {name: progress.add_task(name, total=len(signals)) for name in ("published", "ended")}
        bars["orders"] = progress.add_task("orders", total=None)

        def watch(counts: dict[str, int]) -> None:
            progress.update(bars["published"], completed=counts["published"])
            progress.update(bars["ended"], completed=counts["ended"])
            progress.update(bars["orders"], completed=counts["orders_ended"], total=counts["orders"])

        published = await play_through(stack, signals, parse_speed(options.speed), watch, options.deadline_s)
    truth, found = await settled_differences(stack.settings, stack.simulator_url)
    rejected = await _rejected(stack)
    return await asyncio.to_thread(build_report, stack.settings, truth, found, published, rejected)


async def _rejected(stack: Stack) -> int:
    async with open_consumer(stack.settings) as consumer:
        first, end = await bounds(consumer, stack.settings.topic(REJECTED), 0)
        return end - first


def _progress(words: Console) -> Progress:
    return Progress(TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=words)


def _print(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, default=str))
        return
    table = Table("what", "figure", title="Remora: the main job")
    for name, value in report.items():
        text = "  ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name, text)
    Console().print(table)


def _tell_where(stack: Stack, words: Console) -> None:
    """Each on a line of its own that a terminal does not break: people copy them."""
    told = {
        "dashboard and API": stack.api_url,
        "its key": stack.api_key.get_secret_value(),
        "Postgres": stack.settings.database_url.get_secret_value(),
    }
    for name, text in told.items():
        words.print(f"{name:>18}  {text}", soft_wrap=True, highlight=False, markup=False)


def _stay(stack: Stack, market: Iterator[WhaleSignal], words: Console) -> None:
    words.log("staying up, the made-up market goes on; end with Ctrl-C")
    asyncio.run(_until_interrupted(_go_on(stack, market)))
    words.log("stopping")


async def _until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """Ctrl-C ends the work, and is no error however often it comes."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


async def _go_on(stack: Stack, market: Iterator[WhaleSignal]) -> None:
    """Whales trade on in their own pace, as long as there is something; then wait."""
    while signals := list(islice(market, AT_ONCE)):
        await play_through(stack, signals, 1.0, lambda _: None, GO_ON_S)
    await asyncio.Event().wait()
