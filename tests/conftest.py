"""Fixtures: one real broker and one real Postgres a session; an empty database and topic names of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from engine.config import Settings
from tests import support

SettingsFactory = Callable[..., Settings]
SHARES_A_SYSTEM = ("tests/acceptance/system", "tests/browser")
"""Folders whose tests share one running system."""


class ByFile(LoadScopeScheduling):
    """The tests of a file, or of a folder that shares a running system, run in one worker. (`loadgroup` marks do not reach pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in SHARES_A_SYSTEM if nodeid.startswith(f"{folder}/")), nodeid.split("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Who runs what, with `-n`."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap address of a broker that is there for the whole session."""
    with support.kafka_server() as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a superuser of a Postgres that is there for the whole session."""
    with support.postgres_server() as url:
        yield url


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """URL of a fresh empty database."""
    with support.fresh_database(postgres) as url:
        yield url


@pytest.fixture
async def topic_prefix(kafka: str) -> AsyncIterator[str]:
    """A prefix that no other test uses; what was made with it is deleted, so that the broker stays small."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    yield prefix
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        if used := [name for name in await admin.list_topics() if name.startswith(prefix)]:
            await admin.delete_topics(used)
    finally:
        await admin.close()


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path) -> SettingsFactory:
    """Makes settings for this test's broker, topics and folder; arguments override (for example `database_url=database`)."""

    def make(**overrides: object) -> Settings:
        values = {"kafka": kafka, "topic_prefix": topic_prefix, "data_dir": tmp_path, "partitions": 4} | overrides
        return Settings(**values)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Recorded trades of real traders; the folder is not part of the project."""
    folder = support.test_data_folder()
    if not folder.is_dir():
        pytest.skip(f"no recorded trades: set REMORA_TEST_DATA to their folder (now {folder})")
    return folder


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Recorded exchange traffic, beside the recorded trades."""
    folder = support.test_data_folder().parent / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"no recorded exchange traffic: it belongs beside the folder of REMORA_TEST_DATA (now {folder})")
    return folder
