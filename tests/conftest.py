"""Fixtures: one real broker and one real Postgres a session; an empty database and topic names of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from engine.config import Settings
from tests import support

SettingsFactory = Callable[..., Settings]
SHARES_A_SYSTEM = ("tests/acceptance/system", "tests/browser")
"""Folders whose tests share one running system."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a running system, or a file's fixtures, runs in one worker."""
    for item in items:
        folder = item.path.parent.relative_to(support.PROJECT).as_posix()
        item.add_marker(pytest.mark.xdist_group(folder if folder in SHARES_A_SYSTEM else str(item.path)))


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
