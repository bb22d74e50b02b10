"""Each broken rule turns the checker red: without that, green seeds mean nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.sim.mutations import MUTATIONS
from tests.chaos.sim.workers import Workers

MOST_SEEDS = 100


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers() as started:
        yield started


@pytest.mark.timeout(900)
def test_every_broken_rule_is_found(workers: Workers) -> None:
    requests = [{"first": 0, "last": MOST_SEEDS, "broken": name, "until_red": True} for name in MUTATIONS]
    answers = dict(zip(MUTATIONS, workers.answers(requests), strict=True))
    unnoticed = [MUTATIONS[name].rule for name, verdicts in answers.items() if not verdicts[-1]["problems"]]
    assert unnoticed == []
