"""Helpers that tests import: waiting for a condition, and the servers that tests run against."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from engine.config import Settings
from ops import children
from ops.embedded.kafka import SETTINGS as BROKER_SETTINGS
from ops.embedded.kafka import EmbeddedKafka, answers
from ops.embedded.postgres import EmbeddedPostgres

PROJECT = Path(__file__).parent.parent
POLL_S = 0.02


async def wait_until(predicate: Callable[[], object | Awaitable[object]], deadline_s: float = 30.0, what: str = "") -> object:
    """The first true value of `predicate` (plain or async); an AssertionError when the time is up."""
    until = time.monotonic() + deadline_s
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < until, f"not within {deadline_s} s: {what or inspect.getsource(predicate).strip()}"
        await asyncio.sleep(POLL_S)


def wait_until_sync(predicate: Callable[[], object], deadline_s: float = 30.0, what: str = "") -> object:
    """`wait_until` for tests without an event loop."""
    until = time.monotonic() + deadline_s
    while not (value := predicate()):
        assert time.monotonic() < until, f"not within {deadline_s} s: {what or inspect.getsource(predicate).strip()}"
        time.sleep(POLL_S)
    return value


def test_data_folder() -> Path:
    """The folder of recorded trades: the setting, relative to the project."""
    return (PROJECT / Settings().test_data).resolve()


def docker_answers() -> bool:
    """Whether a Docker engine can start containers for us."""
    if not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()):
        return False
    import docker

    try:
        return bool(docker.from_env(timeout=5).ping())
    except docker.errors.DockerException:
        return False


@contextmanager
def kafka_server() -> Iterator[str]:
    """A broker for the session: REMORA_TEST_KAFKA, else Docker, else the embedded one."""
    if given := os.environ.get("REMORA_TEST_KAFKA"):
        yield given
    elif docker_answers():
        yield from _kafka_container()
    else:
        with EmbeddedKafka() as broker:
            yield broker.bootstrap


def _kafka_container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer

    port = children.free_port()
    listeners = f"PLAINTEXT://:{port},CONTROLLER://:9093"
    settings = BROKER_SETTINGS | {
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
    }
    container = DockerContainer("apache/kafka:4.1.1").with_bind_ports(port, port)
    for name, value in settings.items():
        container = container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    with container:
        wait_until_sync(lambda: answers(port), 60.0)
        yield f"127.0.0.1:{port}"


@contextmanager
def postgres_server() -> Iterator[str]:
    """A superuser's URL for the session: REMORA_TEST_POSTGRES, else Docker, else the embedded one."""
    if given := os.environ.get("REMORA_TEST_POSTGRES"):
        yield given
    elif docker_answers():
        from testcontainers.community.postgres import PostgresContainer

        with PostgresContainer("postgres:18", username="remora", password="remora", dbname="remora", driver=None) as container:
            yield container.get_connection_url()
    else:
        with EmbeddedPostgres(fsync=False) as server:
            yield server.dsn


@contextmanager
def fresh_database(postgres: str) -> Iterator[str]:
    """URL of an empty database that is dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        yield urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
