"""A real Kafka broker: KRaft, one node, loopback only.

Enters: a data folder and a port, or neither. Leaves: `bootstrap`, once the broker has answered a real metadata request.
"""

from __future__ import annotations

import shutil
import socket
import struct
import sys
import tempfile
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final

from rich.console import Console

from engine.config import load_settings
from ops import children
from ops.embedded.downloads import KafkaFiles, kafka_files, only_one, run_java
from ops.embedded.server import EmbeddedServer

SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # A broker killed by -9 is let back in after its session ends: 3 s instead of 12 s.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
    "message.max.bytes": "4194304",
    "log.segment.bytes": "134217728",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.retention.hours": "168",
    "num.network.threads": "2",
    "num.io.threads": "4",
}
JVM: Final = (
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    "--sun-misc-unsafe-memory-access=allow",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


class EmbeddedKafka(EmbeddedServer):
    """One broker."""

    name = "Kafka"

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        cache_dir: Path | None = None,
        port: int = 0,
        heap_mb: int = 512,
        flush_messages: int | None = None,
        start_timeout_s: float = 60.0,
        jvm: tuple[str, ...] = (),
    ) -> None:
        """`flush_messages=1` makes every record survive a power cut, at about half the peak rate."""
        super().__init__(data_dir, port, start_timeout_s)
        self._cache_dir = cache_dir or load_settings().cache_dir
        self._files: KafkaFiles | None = None
        self._controller_port = 0
        self._heap_mb = heap_mb
        self._flush_messages = flush_messages
        self._jvm = jvm

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self.port}"

    def _find_programs(self) -> None:
        self._files = prepared_files(self._cache_dir)

    def _fill_folder(self) -> None:
        assert self._files is not None
        self._controller_port = children.claim_port(self._controller_port, "Kafka's controller")
        if not (self.data / "meta.properties").exists():
            shutil.copy(self._files.checkpoint, self.data / "bootstrap.checkpoint")
            (self.data / "meta.properties").write_text(f"version=1\nnode.id=1\ncluster.id={_new_id()}\ndirectory.id={_new_id()}\n")
        write_properties(self.folder / "server.properties", self._properties())

    def _properties(self) -> dict[str, str]:
        flush = {} if self._flush_messages is None else {"log.flush.interval.messages": str(self._flush_messages)}
        return flush | {
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "log.dirs": str(self.data),
        }

    def _launch(self) -> None:
        assert self._files is not None
        cache = (f"-XX:AOTCache={self._files.class_cache}",) if self._files.class_cache.exists() else ()
        command = [str(self._files.java), f"-Xmx{self._heap_mb}m", *JVM, *(self._jvm or cache), "-cp", self._files.class_path]
        self._process = children.spawn([*command, "kafka.Kafka", str(self.folder / "server.properties")], self.log_file)
        if not children.wait_for(lambda: answers(self.port), self._process, self._start_timeout_s):
            raise self._failure()


class _Trainer(EmbeddedKafka):
    """A throw-away broker whose JVM writes down, at its end, the classes that it loaded."""

    def __init__(self, files: KafkaFiles) -> None:
        super().__init__(cache_dir=files.folder, jvm=(f"-XX:AOTCacheOutput={files.class_cache}",))
        self._files = files

    def _find_programs(self) -> None:
        """Given: we are a part of finding them."""


def prepared_files(cache_dir: Path) -> KafkaFiles:
    """The broker's files; the first time also what makes every later start quick."""
    files = kafka_files(cache_dir)
    if not files.prepared.exists():
        with only_one(cache_dir, "prepare"), Console(file=sys.stderr).status("Preparing Kafka for quick starts, once"):
            if not files.prepared.exists():
                _prepare(files)
                files.prepared.touch()
    return files


def _prepare(files: KafkaFiles) -> None:
    """Format one throw-away folder, then train. A JVM that cannot write its cache only leaves a slower start."""
    with tempfile.TemporaryDirectory(prefix="remora-prepare-") as name:
        properties = Path(name) / "server.properties"
        fixed = {"controller.quorum.voters": "1@127.0.0.1:9093", "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"}
        write_properties(properties, fixed | {"log.dirs": f"{name}/data"})
        run_java(files, "kafka.tools.StorageTool", "format", "-t", _new_id(), "-c", str(properties))
        shutil.copy(f"{name}/data/bootstrap.checkpoint", files.checkpoint)
    files.class_cache.unlink(missing_ok=True)
    with _Trainer(files):
        pass


def write_properties(file: Path, own: dict[str, str]) -> None:
    """Kafka's settings file: ours for every broker, and those of this one."""
    file.write_text("".join(f"{name}={value}\n" for name, value in (SETTINGS | own).items()))


def answers(port: int) -> bool:
    """Whether a broker on this port names itself in a metadata response (version 1, no topics)."""
    request = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.settimeout(2.0)
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.makefile("rb").read(12)
    except OSError:
        return False
    return len(answer) == 12 and struct.unpack(">iii", answer)[2] > 0


def _new_id() -> str:
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
