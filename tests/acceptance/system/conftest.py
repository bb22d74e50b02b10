"""One running system for all of these tests, on the session's broker and Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from tests.system import System
from tests.tables import in_database


@pytest.fixture(scope="package")
def system(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Sequencer, engine, executor, projector, API and simulator as processes."""
    name = f"system_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        folder, settings = tmp_path_factory.mktemp("system"), {"topic_prefix": f"{name}.", "partitions": 2}
        often = {"equity_interval_s": 5.0, "funding_interval_s": 2.0}
        with System(kafka, in_database(postgres, name), folder, **settings, **often) as running:
            yield running
            assert {role: running.supervisor.restarts(role) for role in running.supervisor.names()} == dict.fromkeys(
                running.supervisor.names(), 0
            ), "no process ended by itself"
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
