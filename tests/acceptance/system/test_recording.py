"""Real trades of real whales through the whole system: every fill accounted for, every answer and every lot as the oracle says."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ops.demo.plan import FollowerPlan, plan_followers
from ops.demo.report import settled_differences
from ops.demo.setup import create_followers
from ops.detect import signals_from_fills
from ops.player import play
from tests.oracle.fills import read_fills, unaccounted
from tests.oracle.opening import REASONS
from tests.oracle.timeline import Answer
from tests.recording import excerpt
from tests.system import Json, Story, System, published, read_story
from tests.versus import hold_against

FILLS, FOLLOWERS, SEED = 330, 24, 14
ANSWERS = """
SELECT signal_key, follower_key, count(*) AS answers, min(outcome) AS outcome, min(reason) AS reason
FROM copy_decisions WHERE whale_key = ANY(%(whales)s) GROUP BY 1, 2
"""


def followers_of(prefix: str, whales: Sequence[str], count: int, seed: int) -> list[FollowerPlan]:
    """Followers of mixed settings under names of their own."""
    plans = plan_followers(whales, count, seed=seed, mixed=True)
    return [replace(plan, follower_id=f"{prefix}-{plan.follower_id}", api_key=f"{prefix}{plan.api_key}") for plan in plans]


async def told(system: System, plans: Sequence[FollowerPlan]) -> tuple[Story, dict[tuple[str, str], Answer]]:
    """The story of what was played, after the oracle and the simulator's ledger have agreed with it."""
    _, differing = await settled_differences(system.settings, system.simulator_url)
    assert differing == []
    story = await read_story(system.settings, plans)
    wrong, answers = hold_against(story, plans)
    assert wrong == []
    return story, answers


def check_read_models(system: System, whales: Sequence[str], answers: Mapping[tuple[str, str], Answer]) -> None:
    """Exactly one row for each signal and follower, with the answer that the rules ask for."""
    rows = system.rows(ANSWERS, whales=list(whales))
    assert {row["answers"] for row in rows} == {1}
    found = {(row["signal_key"], row["follower_key"]): row["reason"] if row["outcome"] == "skipped" else "" for row in rows}
    assert found == {key: answer[0] for key, answer in answers.items()}
    assert {row["reason"] for row in rows if row["outcome"] == "skipped"} <= REASONS
    assert not [row for row in rows if row["outcome"] != "skipped" and row["reason"]]


@pytest.fixture(scope="package")
async def played(system: System, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[FollowerPlan], Path]:
    """Four whales' trades, as fast as the system takes them, with followers of every mode and limit."""
    names = {"acc3": "w-acc3", "acc6": "w-acc6", "acc9": "w-acc9", "acc2": "w-acc2"}
    file = excerpt(test_data, tmp_path_factory.mktemp("fills") / "fills.json.gz", names, FILLS)
    plans = followers_of("r", sorted(names.values()), FOLLOWERS, seed=SEED)
    await create_followers(system, plans)
    await system.play(signals_from_fills(file))
    return plans, file


async def test_every_answer_and_lot_equals_the_oracle(system: System, played: tuple[list[FollowerPlan], Path]) -> None:
    plans, file = played
    whales = sorted({plan.whale_id for plan in plans})
    story, answers = await told(system, plans)
    assert unaccounted(read_fills(file), await published(system.settings, set(whales))) == []
    assert len(answers) == sum(signal["whale_id"] == plan.whale_id for signal in story.signals for plan in plans)
    check_read_models(system, whales, answers)
    copied = {event["o"] for event in story.of("CopyDecided")}
    assert {plan.settings.mode for plan in plans if plan.follower_id in copied} == {"paper", "live", "shadow"}
    assert len({answer[0] for answer in answers.values()}) > 8


async def test_the_oracle_sees_what_is_wrong(system: System, played: tuple[list[FollowerPlan], Path]) -> None:
    plans, _ = played
    story = await read_story(system.settings, plans)

    def blamed(kind: str, change: Callable[[Json], Json]) -> list[str]:
        """The story told with one event of a kind changed."""
        shard, number = next((at, n) for at, told in story.events.items() for n, event in enumerate(told) if _is_open(event, kind))
        events = list(story.events[shard])
        events[number] = change(events[number])
        return hold_against(replace(story, events={shard: events}), plans)[0]

    end = next(event["command_id"] for event in story.of("OrderEnded") if event["status"] == "filled")
    ends = story.ends | {end: story.ends[end] | {"filled": "0.0001"}}
    assert hold_against(story, plans)[0] == []
    assert hold_against(replace(story, ends=ends), plans)[0], "a lot that differs from what the venue filled"
    assert blamed("CopyDecided", lambda event: event | {"orders": [order | {"quantity": "77"} for order in event["orders"]]})
    assert blamed("CopiesSkipped", lambda event: event | {"reason": "cooldown"})
    assert blamed("CopiesSkipped", lambda event: event | {"followers": event["followers"][1:]})


def _is_open(event: Json, kind: str) -> bool:
    return event["t"] == f"{kind}.v1" and (kind != "CopyDecided" or (any(order["kind"] == "open" for order in event.get("orders", ()))))


async def test_shadow_never_trades_and_live_passed_its_check(system: System, played: tuple[list[FollowerPlan], Path]) -> None:
    plans, _ = played
    truth, _ = await settled_differences(system.settings, system.simulator_url)
    traded = {entry["account"] for entry in truth.orders.values()}
    modes = {plan.follower_id: plan.settings.mode for plan in plans}
    assert {modes[name] for name in traded & modes.keys()} == {"paper", "live"}
    story = await read_story(system.settings, plans)
    assert story.of("AccountRecorded") == [], "nobody's check was refused"
    assert not [answer for answer in (await told(system, plans))[1].values() if answer[0] == "account_not_allowed"]


async def test_a_file_with_every_fill_four_times_is_the_file_once(system: System, test_data: Path, tmp_path: Path) -> None:
    once = excerpt(test_data, tmp_path / "once.gz", {"acc6": "four-acc6"}, 60)
    four = excerpt(test_data, tmp_path / "four.gz", {"acc6": "four-acc6"}, 60, repeat=4)
    signals = signals_from_fills(four)
    assert len(read_fills(four)) == 4 * len(read_fills(once)) and signals == signals_from_fills(once)
    plans = followers_of("four", ["four-acc6"], 8, seed=SEED)
    await create_followers(system, plans)
    await system.play(signals)
    first, answers = await told(system, plans)
    end = signals[-1].model_copy(update={"signal_id": "four-end", "symbol": "NOBODY/USDC:USDC"})
    await play(system.settings, [*signals, *signals, *signals, end])
    await system.signal_when("four-end", "PROCESSED", "EXPIRED", "FAILED")
    again, later = await told(system, plans)
    sent = [signal for signal in await published(system.settings, {"four-acc6"}) if signal["signal_id"] != "four-end"]
    assert len(sent) == 4 * len(signals), "each was published four times"
    assert unaccounted(read_fills(four), sent[: len(signals)]) == []
    assert {key: answer for key, answer in later.items() if key[0] != "four-end"} == answers
    assert _orders(again) == _orders(first) and len(again.signals) == len(first.signals) + 1


def _orders(story: Story) -> set[str]:
    return {order["command_id"] for event in story.of("CopyDecided") for order in event.get("orders", ())}


async def test_a_file_with_gaps_closes_only_until_the_whale_is_flat(system: System, test_data: Path, tmp_path: Path) -> None:
    def keep(fill: Json) -> bool:
        return random.Random(f"{fill['oid']}-{fill['time']}").random() > 0.15

    names = {"acc3": "gap-acc3", "acc6": "gap-acc6"}
    file = excerpt(test_data, tmp_path / "gaps.gz", names, 160, keep=keep)
    plans = followers_of("gap", sorted(names.values()), 8, seed=SEED)
    await create_followers(system, plans)
    await system.play(signals_from_fills(file))
    story, answers = await told(system, plans)
    check_read_models(system, sorted(names.values()), answers)
    gaps = {event["signal_id"] for event in story.of("WhaleGapDetected")}
    assert len(gaps) >= 3
    closed = {key[0] for key, answer in answers.items() if answer[0] == "close_only"}
    exits = {signal["signal_id"] for signal in story.signals if signal["action"] in ("reduce", "close")}
    assert closed and not closed & exits, "opens behind a gap are refused, exits are not"
    assert unaccounted(read_fills(file), await published(system.settings, set(names.values()))) == []
