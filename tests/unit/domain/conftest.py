"""A shard that is checked after each test: replay, snapshot and a second decision give the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.given import Shard


@pytest.fixture
def shard() -> Iterator[Shard]:
    """A shard with market rules and an executor."""
    under_test = Shard()
    yield under_test
    under_test.check()
