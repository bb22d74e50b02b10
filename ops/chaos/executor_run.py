"""A chaos run of the executor alone: commands by the thousand, an exchange that misbehaves, kills at every labelled point, zombies.

Enters: `ExecutorOptions`. Leaves: one object: nothing executed twice, nothing executed that nobody knows of, nothing without an end,
and the exchange's ledger equal to the recorded ends to the last digit.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from engine.domain.messages import OrderSettled, PlaceOrder
from engine.errors import RemoraError
from engine.topology import EXECUTIONS
from ops.chaos.cast import Cast
from ops.chaos.executor_load import ExecutorLoad
from ops.chaos.history import Findings, read_history
from ops.chaos.lanes import Lanes, Tally
from ops.chaos.orders_check import Ends, check_ends, check_exchange, executed, read_ends
from ops.chaos.plan import Plan, draw_executor_plan
from ops.chaos.run import QUICK, Say, quiet_clients, unexpected_ends
from ops.demo.plan import plan_followers
from ops.demo.setup import open_accounts
from ops.stack import Stack
from ops.truth import Truth, compare, read_ledger

WHALES: Final = ("nobody",)
FAULTS: Final = "rate={rate},seed={seed},history_window={rare},delay_s=4,late_s=0.5,lag_s=1.5,retry_after_s=0.3"
PORTION: Final = 100
AHEAD: Final = 3
"""Kills that the load is ahead of: a victim always has work."""
TRICKLE: Final = 4
POLL_S: Final = 0.5


@dataclass(frozen=True)
class ExecutorOptions:
    """What the command line says, and what tests ask for."""

    orders: int = 10_000
    fault_rate: float = 0.2
    kills: int = 50
    seed: int = 1
    accounts: int = 120
    settle_s: float = 180.0
    folder: Path | None = None
    plan: Plan | None = None
    """What happens, if it is not to be drawn from the seed."""
    patches: str = ""
    """What breaks a rule in every executor (tests only)."""

    @property
    def faults(self) -> str:
        """What the simulator is told: every kind that it has, about equally often."""
        return FAULTS.format(rate=self.fault_rate, seed=self.seed, rare=self.fault_rate / 25)


def run_executor_chaos(options: ExecutorOptions, say: Say = lambda _: None) -> dict[str, Any]:
    """The report. Errors: whatever keeps the stack from starting."""
    began = time.monotonic()
    quiet_clients()
    with Stack(options.folder, roles=(), simulator_options=("--faults", options.faults), fsync=False, on_step=say, **QUICK) as stack:
        report = asyncio.run(break_and_check(stack, options, Tally(), say))
    return report | {"seconds": round(time.monotonic() - began, 1), "seed": options.seed}


async def break_and_check(stack: Stack, options: ExecutorOptions, tally: Tally, say: Say = lambda _: None) -> dict[str, Any]:
    """Everything on a stack that runs already, without a role."""
    plans = plan_followers(WHALES, options.accounts, seed=options.seed)
    await open_accounts(stack, plans)
    cast = Cast(stack, ("executor",), options.patches)
    await asyncio.to_thread(cast.wait_ready)
    say(f"seed {options.seed}: {options.orders} orders, {options.kills} kills")
    async with ExecutorLoad(stack, plans, options.seed) as load:
        trouble = await _break_things(cast, load, tally, options, say)
        say(f"{tally}; coming to rest")
        await _until_settled(load, time.monotonic() + options.settle_s)
        for name in cast.names:
            await asyncio.to_thread(cast.supervisor.stop, name)
        return await _check(cast, load, tally, trouble)


async def _break_things(cast: Cast, load: ExecutorLoad, tally: Tally, options: ExecutorOptions, say: Say) -> list[str]:
    trouble: list[str] = []
    lanes = Lanes(cast, options.plan or draw_executor_plan(options.seed, options.kills), tally, say)
    feeding = asyncio.create_task(_feed(load, tally, options))
    try:
        await lanes.run()
    except* RemoraError as errors:
        trouble = [str(error) for error in errors.exceptions]
        feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    return trouble


async def _feed(load: ExecutorLoad, tally: Tally, options: ExecutorOptions) -> None:
    """Orders in step with the kills; between them a trickle, so that whoever started last has something to do."""
    while load.orders < options.orders or tally.kills < options.kills:
        done = tally.kills >= options.kills
        due = options.orders if done else options.orders * (tally.kills + AHEAD) // (options.kills + AHEAD)
        await load.write(max(0 if done else TRICKLE, min(PORTION, due - load.orders)))
        await asyncio.sleep(POLL_S if load.orders >= due else 0)


async def _until_settled(load: ExecutorLoad, end: float) -> None:
    while time.monotonic() < end:
        history = await read_history(load.stack.settings, (EXECUTIONS,))
        if len(read_ends(history, Findings()).settled) >= load.orders:
            return
        await asyncio.sleep(POLL_S)


async def _check(cast: Cast, load: ExecutorLoad, tally: Tally, trouble: list[str]) -> dict[str, Any]:
    found = Findings()
    ends = read_ends(await read_history(cast.stack.settings, (EXECUTIONS,)), found)
    check_ends(load.asked, ends, found)
    truth = await asyncio.to_thread(read_ledger, cast.stack.simulator_url)
    orphans = list(_orphans(truth, ends))
    check_exchange(truth, ends, found)
    unequal = compare(truth, _trades(load, ends), _lots(load, ends))
    details = found.details() | {"orphans": orphans[:20], "ledger": unequal[:20], "trouble": trouble, "exits": unexpected_ends(cast)}
    shown = {"details": found_wrong} if (found_wrong := {name: sentences for name, sentences in details.items() if sentences}) else {}
    return {
        "double_orders": len(truth.doubled),
        "orphans": len(orphans),
        "unresolved": len(found.lost) + len(found.duplicated) - len(truth.doubled),
        "ledger_equal": not unequal,
        "faults": _faults(cast.stack),
        "kills": tally.kills,
    } | shown


def _orphans(truth: Truth, ends: Ends) -> Iterator[str]:
    """What was executed at the exchange while our records know of no execution."""
    for command_id in truth.orders:
        end = ends.settled.get(command_id)
        if executed(truth, command_id) and (end is None or not end.filled):
            yield f"order {command_id} was executed ({truth.orders[command_id]['executed']}), recorded is {end}"


def _faults(stack: Stack) -> dict[str, int]:
    with urllib.request.urlopen(f"{stack.simulator_url}/_faults", timeout=30) as answer:
        applied: dict[str, int] = json.load(answer)["applied"]
    return dict(sorted(applied.items()))


def _placed(load: ExecutorLoad, ends: Ends) -> Iterator[tuple[PlaceOrder, OrderSettled]]:
    for bodies in load.asked.values():
        for body in bodies:
            if isinstance(body, PlaceOrder) and body.command_id in ends.settled:
                yield body, ends.settled[body.command_id]


def _trades(load: ExecutorLoad, ends: Ends) -> dict[str, dict[str, Any]]:
    """Recorded ends in the form of rows of `trades`."""
    rows = {}
    for order, end in _placed(load, ends):
        fees = {"fee_base": end.fee_base, "fee_quote": end.fee_quote, "average_price": end.average_price}
        rows[order.command_id] = {"status": end.status, "mode": order.mode, "symbol": order.symbol, "filled": end.filled} | fees
    return rows


def _lots(load: ExecutorLoad, ends: Ends) -> list[dict[str, Any]]:
    """What the recorded ends add up to, in the form of rows of `positions`."""
    held: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for order, end in _placed(load, ends):
        moved = end.filled if order.side == "buy" else -end.filled
        held[order.follower_id, order.venue, order.symbol] += moved - end.fee_base
    return [
        {"follower_key": follower, "exchange": venue, "symbol": symbol, "side": "long" if net >= 0 else "short"}
        | {"filled": abs(net), "dust": Decimal(0), "open": Decimal(0)}
        for (follower, venue, symbol), net in held.items()
    ]


def is_right(report: dict[str, Any]) -> bool:
    """Whether a report has nothing against the executor."""
    nothing = not any(report[kind] for kind in ("double_orders", "orphans", "unresolved"))
    return bool(nothing and report["ledger_equal"] and "details" not in report)
