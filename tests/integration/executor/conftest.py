"""The rig of the executor's tests: quick settings, so that proofs of absence take a second and not a minute."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from tests.conftest import SettingsFactory
from tests.integration.executor.rig import MASTER_KEY, Rig, open_rig

QUICK = {
    "partitions": 2,
    "recv_window_ms": 1000,
    "absent_quiet_s": 0.5,
    "engine_time_s": 0.2,
    "exchange_timeout_s": 1.5,
    "venue_limits": False,
    "ip_pause_s": 0.5,
    "master_key": SecretStr(MASTER_KEY),
}


@pytest.fixture
async def rig(settings: SettingsFactory, database: str) -> AsyncIterator[Rig]:
    """A simulator over plain HTTP, an empty vault, empty topics."""
    async with open_rig(settings(database_url=SecretStr(database), **QUICK)) as made:
        yield made
