"""The main job with kill -9 of each process in its middle: every signal still ends, and the books agree."""

from __future__ import annotations

from ops.demo.plan import plan_followers
from ops.demo.play import play_through
from ops.demo.report import build_report, settled_differences
from ops.demo.setup import create_followers
from ops.seeded import MARKETS, seeded_signals
from ops.stack import ROLES
from tests.chaos.conftest import MakeSystem

SIGNALS = 120


async def test_each_process_is_killed_in_the_middle(make_system: MakeSystem) -> None:
    stack = await make_system(*ROLES)
    plans = plan_followers(sorted(MARKETS), 12)
    await create_followers(stack, plans)
    signals, victims = list(seeded_signals(2, SIGNALS)), list(ROLES)

    def watch(counts: dict[str, int]) -> None:
        if victims and counts["ended"] >= SIGNALS * (len(ROLES) - len(victims) + 1) // (len(ROLES) + 2):
            stack.supervisor.kill9(victims.pop(0))

    published = await play_through(stack, signals, None, watch, 240.0)
    truth, found = await settled_differences(stack.settings, stack.simulator_url)
    report = build_report(stack.settings, truth, found, published, 0)
    assert report["ledger_equal"], report
    assert all(stack.supervisor.restarts(role) >= 1 for role in ROLES)
    assert sum(report["signals"].values()) == SIGNALS and not report["signals"].keys() - {"PROCESSED", "FAILED", "EXPIRED"}
    assert all(report["filled_by_venue"].values()), report
