"""Numbers for the older tables: stable, ours apart from theirs, positions apart from each other."""

from __future__ import annotations

import itertools

import pytest

from projections.ids import OURS, position_id, user_id, whale_number


def test_positions_have_numbers_of_their_own() -> None:
    places = list(itertools.product((0, 1, 1023), (0, 1, (1 << 44) - 1), (0, 1, 255)))
    numbers = {position_id(*place) for place in places}
    assert len(numbers) == len(places)
    assert all(OURS <= number < 1 << 63 for number in numbers)
    assert position_id(2, 5) < position_id(2, 5, 1) < position_id(2, 6) < position_id(3, 0), "newer is larger within a partition"


@pytest.mark.parametrize("place", [(1024, 0, 0), (0, 1 << 44, 0), (0, 0, 256)])
def test_what_does_not_fit_is_a_bug(place: tuple[int, int, int]) -> None:
    with pytest.raises(AssertionError):
        position_id(*place)


def test_followers_and_whales() -> None:
    assert user_id("legacy-17") == 17
    for text in ("17", "follower-1", "legacy-", "legacy-017", "legacy-x", "legacy--1", f"legacy-{OURS}", "ünï"):
        assert OURS <= user_id(text) < 1 << 63, text
    assert user_id("a") == user_id("a") != user_id("b")
    assert whale_number("42") == 42
    for text in ("0x5b5d", "042", "", "٣", "4.2", str(OURS)):
        assert whale_number(text) >= OURS, text
