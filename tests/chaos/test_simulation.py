"""2,000 worlds, each with its own faults, and in none of them a promise broken.

REMORA_SIM_SEEDS: how many, REMORA_SIM_FIRST: from which on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.sim.workers import Workers, told

SEEDS = int(os.environ.get("REMORA_SIM_SEEDS", "2000"))
FIRST = int(os.environ.get("REMORA_SIM_FIRST", "0"))
CHUNKS = 16
CHUNK = -(-SEEDS // CHUNKS)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers() as started:
        yield started


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """What all chunks together have come across."""
    return Counter()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_promise_is_broken(workers: Workers, seen: Counter[str], chunk: int) -> None:
    first = FIRST + chunk * CHUNK
    verdicts = workers.run(first, min(first + CHUNK, FIRST + SEEDS))
    for verdict in verdicts:
        seen.update({name: int(count) for name, count in verdict["facts"].items()})
    red = [told(verdict) for verdict in verdicts if verdict["problems"]]
    assert not red, "\n".join(red)


def test_trouble_was_met(seen: Counter[str]) -> None:
    """Green worlds prove something only if things went wrong in them."""
    worlds = max(SEEDS, 1)
    assert seen["kills"] > worlds and seen["stops"] > worlds / 10 and seen["fenced"] > worlds / 2
    assert seen["void"] > worlds / 2 and seen["unacked"] > worlds and seen["commands"] > 10 * worlds


def test_a_seed_repeats_itself(workers: Workers) -> None:
    """Two processes write the same bytes."""
    once, again = workers.answers([{"first": FIRST, "last": FIRST + 6}] * 2)
    assert [verdict["trace"] for verdict in once] == [verdict["trace"] for verdict in again]
    assert len({verdict["trace"] for verdict in once}) == len(once)


def test_repeat(workers: Workers) -> None:
    """One seed: the one that REMORA_SIM_SEED names."""
    seed = int(os.environ.get("REMORA_SIM_SEED", FIRST))
    verdicts: list[dict[str, Any]] = workers.run(seed, seed + 1)
    assert not verdicts[0]["problems"], told(verdicts[0])
