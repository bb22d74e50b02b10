"""A chaos run: the embedded stack, two of every role, signals that flow, faults that overlap, rest, and the checker's verdict.

Enters: `Options`. Leaves: one object; `ok` says whether nothing is wrong. Everything random comes from the seed; when a fault strikes
depends on the processes, so a second run with the same seed meets the same faults at slightly other moments.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import DependencyUnreachable, FencedOut, LogCorrupt, RemoraError
from engine.fate import CUT_SHORT
from ops.chaos.cast import INSTANCES, Cast
from ops.chaos.events_check import Told, check_events
from ops.chaos.history import Findings, read_history
from ops.chaos.lanes import Lanes, Tally
from ops.chaos.load import Load
from ops.chaos.orders_check import check_commands, check_ends, check_exchange, read_ends
from ops.chaos.plan import Plan, draw_plan
from ops.chaos.settle import settle
from ops.chaos.sources_check import check_acked, check_sources
from ops.chaos.tables_check import check_tables, projected_digests
from ops.demo.plan import plan_followers
from ops.demo.setup import create_followers
from ops.replay import verify
from ops.seeded import MARKETS
from ops.stack import Stack
from ops.truth import differences, read_ledger

ROLES: Final = ("sequencer", "engine", "executor", "projector")
QUICK: Final[dict[str, Any]] = {
    "partitions": 4,
    "session_timeout_s": 3.0,
    "snapshot_events": 400,
    "equity_interval_s": 5.0,
    "marks_interval_s": 1.0,
    "recv_window_ms": 2000,
    "engine_time_s": 0.5,
    "absent_quiet_s": 3.0,
    "exchange_timeout_s": 3.0,
    "venue_limits": False,
    "ip_pause_s": 0.3,
}
"""Times cut short, so that takeovers and proofs of absence fit into a run."""
FAULTS: Final = "rate={rate},seed={seed},delay_s=4,late_s=0.5,lag_s=1.5,retry_after_s=0.3"
EXPECTED_ENDS: Final = frozenset({0, CUT_SHORT, -signal.SIGTERM, -signal.SIGKILL, DependencyUnreachable.exit_code, FencedOut.exit_code})
"""How a child may end: stopped (even late), killed, without its servers, overtaken. Anything else is a bug that its log tells of."""
KINDS: Final = ("lost", "duplicated", "conflicting", "unexplained")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What the command line says, and what tests ask for."""

    kills: int = 20
    seed: int = 1
    followers: int = 24
    rate: float = 3.0
    fault_rate: float = 0.03
    settle_s: float = 120.0
    folder: Path | None = None
    plan: Plan | None = None
    """What happens, if it is not to be drawn from the seed."""
    instances: Sequence[str] = INSTANCES
    patches: str = ""
    """What breaks a rule in every child (tests only)."""


def run_chaos(options: Options, say: Say = lambda _: None) -> dict[str, Any]:
    """The report. Errors: whatever keeps the stack from starting."""
    began = time.monotonic()
    quiet_clients()
    faults = FAULTS.format(rate=options.fault_rate, seed=options.seed)
    with Stack(options.folder, roles=(), simulator_options=("--faults", faults), fsync=False, on_step=say, **QUICK) as stack:
        report = asyncio.run(break_and_check(stack, options, Tally(), say))
    return report | {"seconds": round(time.monotonic() - began, 1), "seed": options.seed}


def quiet_clients() -> None:
    """Our own clients lose their broker again and again; that is no news."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def break_and_check(stack: Stack, options: Options, tally: Tally, say: Say = lambda _: None) -> dict[str, Any]:
    """Everything on a stack that runs already, without a role."""
    cast = Cast(stack, ROLES, options.patches, options.instances)
    await asyncio.to_thread(cast.wait_ready)
    plans = plan_followers(sorted(MARKETS), options.followers, seed=options.seed)
    await create_followers(stack, plans)
    load = Load(stack, plans, options.seed, options.rate)
    say(f"seed {options.seed}: {options.kills} kills")
    trouble = await _break_things(cast, load, tally, options, say)
    say(f"{tally}; coming to rest")
    trouble += await settle(cast, load.published, options.settle_s)
    say("checking")
    return await _check(cast, load, tally, trouble, say)


async def _break_things(cast: Cast, load: Load, tally: Tally, options: Options, say: Say) -> list[str]:
    """All faults, with the load around them. A cast that does no work any more is said, not raised: the checker has the last word."""
    lanes = Lanes(cast, options.plan or draw_plan(options.seed, options.kills, ROLES), tally, say)
    publishing, trouble = asyncio.create_task(load.run()), []
    try:
        await lanes.run()
    except* RemoraError as errors:
        trouble = [str(error) for error in errors.exceptions]
    load.stop()
    if not (await asyncio.wait((publishing,), timeout=options.settle_s))[0]:
        trouble.append("what was still to be published was not acked")
        publishing.cancel()
    return trouble


async def _check(cast: Cast, load: Load, tally: Tally, trouble: Sequence[str], say: Say) -> dict[str, Any]:
    settings, found = cast.stack.settings, Findings()
    history = await read_history(settings)
    check_acked(history, load.acked, found)
    check_sources(history, found)
    told = check_events(history, found)
    ends = read_ends(history, found)
    check_commands(history, told.commands, found)
    check_ends(told.commands, ends, found)
    truth = await asyncio.to_thread(read_ledger, cast.stack.simulator_url)
    check_exchange(truth, ends, found)
    check_tables(settings, told, found)
    say(f"{load.published} signals, {len(ends.settled)} orders, {told.events} events accepted, {told.void_events} void")
    unequal = differences(settings, truth)
    other = await _digests(cast, told)
    details = found.details() | {"ledger": unequal[:20], "digests": other, "trouble": list(trouble), "exits": unexpected_ends(cast)}
    shown = {"details": found_wrong} if (found_wrong := {name: sentences for name, sentences in details.items() if sentences}) else {}
    return {
        "kills": tally.kills,
        "zombies": tally.zombies,
        "broker_restarts": tally.kafka,
        "postgres_restarts": tally.postgres,
        **found.counts(),
        "ledger_equal": not unequal,
        "digests_equal": not other,
    } | shown


async def _digests(cast: Cast, told: Told) -> list[str]:
    """Where fold from zero, fold from a snapshot, newest marker, tables and deciding again do not agree."""
    try:
        verified = await verify(cast.stack.settings)
    except LogCorrupt as error:
        return [str(error)]
    stand = await asyncio.to_thread(projected_digests, cast.stack.settings)
    other = [f"shard {shard.shard}: {shard}" for shard in verified if not shard.ok or not shard.redecided_rounds]
    for shard, digest in told.digests.items():
        if stand.get(shard) != (digest, told.next_ids[shard]):
            other.append(f"shard {shard}: the tables stand at {stand.get(shard)}, the log at {digest, told.next_ids[shard]}")
    return other


def unexpected_ends(cast: Cast) -> list[str]:
    """Children that ended as none should, with the last words of their logs."""
    ends = ((name, code) for name in cast.names for code in cast.supervisor.exit_codes(name))
    return [f"{name} ended with {code}: {cast.reasons(name)}" for name, code in ends if code not in EXPECTED_ENDS][:5]


def is_right(report: dict[str, Any]) -> bool:
    """Whether a report has nothing against the system."""
    nothing = not any(report[kind] for kind in KINDS)
    return bool(nothing and report["ledger_equal"] and report["digests_equal"] and "details" not in report)
