"""Lines for COPY, names in SQL files, months: small rules that the tables rest on."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from engine.errors import ConfigInvalid, DependencyUnreachable, RemoraError
from projections.partitions import month_of
from projections.queries import FILTERS, listing, query
from projections.sql import load
from projections.staging import NULL, copy_lines, open_connection, text, when, when_known, when_line
from projections.trades import LARGEST, fitting, nothing


def test_texts_cannot_leave_their_column() -> None:
    assert text("a\tb\nc\\d\re") == "a\\tb\\nc\\\\d\\re"
    assert text("") == text(None) == NULL


def test_a_value_with_a_tab_is_refused() -> None:
    with pytest.raises(ValueError, match="tab"):
        copy_lines(cursor=None, table="t", columns=("a", "b"), lines=["1\t2\t3"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="line break"):
        copy_lines(cursor=None, table="t", columns=("a", "b"), lines=["1\t2\n"])  # type: ignore[arg-type]


def test_times() -> None:
    assert when(1_780_000_000_123) == "2026-05-28 20:26:40.123000+00:00"
    assert (when_known(0), when_known(None), when_line(0), when_line(None)) == (None, None, NULL, NULL)
    assert when_line(1000) == "1970-01-01 00:00:01+00:00"


def test_months() -> None:
    assert month_of(1_780_000_000_123) == date(2026, 5, 1)


@pytest.mark.parametrize(
    ("amount", "is_nothing", "part"), [("0", True, 0), ("0.000", True, 0), ("2.9", False, 2), ("12", False, 12), ("9" * 20, False, LARGEST)]
)
def test_amounts_as_text(amount: str, is_nothing: bool, part: int) -> None:
    assert (nothing(amount), fitting(amount)) == (is_nothing, part)


def test_every_list_can_be_filtered_by_everything_at_once() -> None:
    for name, filters in FILTERS.items():
        given: dict[str, Any] = {key: 1 for key in filters if key != "before"}
        statement, parameters = listing(name, given, (1, 2, 3), 10)
        assert "{filters}" not in statement and statement.count(" AND ") >= len(filters)
        assert parameters.keys() >= given.keys() | {"limit", "before_0"}
        assert listing(name, dict.fromkeys(given), None, 10)[1] == {"limit": 10}


def test_names_of_statements() -> None:
    assert "FROM trades" in query("get_trade")
    assert len(load("merges.sql")) > 20
    with pytest.raises(KeyError):
        query("nothing")


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("mysql://ada:canary@host/db", ConfigInvalid, "no URL of one"),
        ("postgresql://nobody@127.0.0.1:1/none", DependencyUnreachable, "did not answer"),
    ],
)
def test_a_database_that_cannot_be_asked_is_one_sentence(url: str, kind: type[RemoraError], said: str) -> None:
    with pytest.raises(kind, match=said) as error:
        open_connection(url)
    assert "canary" not in str(error.value)
