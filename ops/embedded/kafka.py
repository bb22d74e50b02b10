"""A real Kafka broker (KRaft, one node, loopback only) that lives as long as we want it to.

Enters: a data folder (or none: a temporary one) and ports (or 0: free ones). Leaves: `bootstrap`, once the broker has
answered a real metadata request. `kill` and `restart` are for chaos: the same ports, the same data.
"""

from __future__ import annotations

import atexit
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console

from engine.config import load_settings
from engine.errors import ConfigInvalid, DependencyUnreachable, RemoraError
from ops import children
from ops.embedded.downloads import KafkaFiles, kafka_files, only_one, run_java

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
    # A broker killed by -9 is let back in after its session ends: 4-5 s instead of 12 s.
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
DISK_FULL: Final = ("No space left on device", "File too large", "Disk quota exceeded")
STOP_S: Final = 20.0
MINIMUM_FREE_BYTES: Final = 256 * 1024 * 1024


class EmbeddedKafka:
    """One broker. Use as a context manager, or `start` and `stop`; all calls block and none needs an event loop."""

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
        self._keep = data_dir is not None
        self._folder = data_dir
        self._cache_dir = cache_dir or load_settings().cache_dir
        self._wanted_port = port
        self._port = self._controller_port = 0
        self._heap_mb = heap_mb
        self._flush_messages = flush_messages
        self._start_timeout_s = start_timeout_s
        self._jvm = jvm
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        assert self._port, "start() first"
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The broker's process id."""
        assert self._process is not None, "start() first"
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Where data, settings and log are."""
        assert self._folder is not None, "start() first"
        return self._folder

    @property
    def log_file(self) -> Path:
        """What the broker printed: warnings and errors."""
        return self.folder / "broker.log"

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be paused)."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Fetch what is missing, format the data folder if it is new, start, wait for an answer."""
        assert not self.running, "already started"
        self._start(prepared_files(self._cache_dir))

    def _start(self, files: KafkaFiles) -> None:
        self._port = children.claim_port(self._port or self._wanted_port, "Kafka")
        self._controller_port = children.claim_port(self._controller_port, "Kafka's controller")
        self._make_folder(files)
        self._launch(files)

    def stop(self) -> None:
        """Stop cleanly (kill after 20 s without an end); a temporary data folder is removed."""
        if self._process is not None:
            children.end(self._process, STOP_S)
        if self._folder is not None and not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            atexit.unregister(self.stop)

    def kill(self) -> None:
        """kill -9. The data stays for `restart`."""
        assert self._process is not None, "start() first"
        children.kill(self._process)

    def restart(self) -> None:
        """Start again on the same ports and data; a broker that still runs is stopped cleanly first."""
        assert self._folder is not None, "start() first"
        if self._process is not None:
            children.end(self._process, STOP_S)
        self.start()

    def pause(self) -> None:
        """SIGSTOP: the broker hangs, its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "start() first"
        self._process.send_signal(number)

    def _make_folder(self, files: KafkaFiles) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="remora-kafka-"))
            atexit.register(self.stop)
        data = self._folder / "data"
        try:
            data.mkdir(parents=True, exist_ok=True)
            check_room(self._folder, "Kafka")
            if not (data / "meta.properties").exists():
                shutil.copy(files.checkpoint, data / "bootstrap.checkpoint")
                (data / "meta.properties").write_text(f"version=1\nnode.id=1\ncluster.id={_new_id()}\ndirectory.id={_new_id()}\n")
            (self._folder / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in self._properties(data).items()))
        except OSError as error:
            raise DependencyUnreachable(f"Kafka's data folder {self._folder} cannot be written: {error.strerror}.") from error

    def _properties(self, data: Path) -> dict[str, str]:
        controller = f"127.0.0.1:{self._controller_port}"
        flush = {} if self._flush_messages is None else {"log.flush.interval.messages": str(self._flush_messages)}
        return (
            SETTINGS
            | flush
            | {
                "controller.quorum.voters": f"1@{controller}",
                "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
                "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
                "log.dirs": str(data),
            }
        )

    def _launch(self, files: KafkaFiles) -> None:
        cache = (f"-XX:AOTCache={files.class_cache}",) if files.class_cache.exists() else ()
        command = [str(files.java), f"-Xmx{self._heap_mb}m", *JVM, *(self._jvm or cache), "-cp", files.class_path]
        self._process = children.spawn([*command, "kafka.Kafka", str(self.folder / "server.properties")], self.log_file)
        if not children.wait_for(lambda: answers(self._port), self._process, self._start_timeout_s):
            code = self._process.poll()
            children.kill(self._process)
            error = self._failure(code)
            self.stop()
            raise error

    def _failure(self, code: int | None) -> RemoraError:
        """Why the broker is not there, in one sentence, with the end of its log where we have no better word."""
        log = children.tail(self.log_file, 40)
        if "Address already in use" in log:
            return ConfigInvalid(f"Kafka cannot listen on {self.bootstrap}: another program has that port.")
        if any(word in log for word in DISK_FULL):
            return DependencyUnreachable(f"Kafka cannot write its data: the disk under {self.folder} is full.")
        if "Failed to acquire lock" in log:
            return ConfigInvalid(f"Another Kafka already uses the data folder {self.folder}.")
        what = f"did not answer within {self._start_timeout_s:.0f} s" if code is None else f"ended with exit code {code} while starting"
        return DependencyUnreachable(f"Kafka {what}; the end of its log:\n{children.tail(self.log_file, 6)}")


def prepared_files(cache_dir: Path) -> KafkaFiles:
    """The broker's files; the first time also what makes every later start quick."""
    files = kafka_files(cache_dir)
    if not files.prepared.exists():
        with only_one(cache_dir, "prepare"), Console(file=sys.stderr).status("Preparing Kafka for quick starts, once"):
            if not files.prepared.exists():
                _prepare(files, cache_dir)
                files.prepared.touch()
    return files


def _prepare(files: KafkaFiles, cache_dir: Path) -> None:
    """Format one throw-away folder and let one throw-away broker record the JVM's class cache.

    A JVM that cannot write the cache still leaves a working broker, only a slower start.
    """
    with tempfile.TemporaryDirectory(prefix="remora-prepare-") as name:
        folder = Path(name)
        properties = folder / "server.properties"
        fixed = {"controller.quorum.voters": "1@127.0.0.1:9093", "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"}
        settings = SETTINGS | fixed | {"log.dirs": str(folder / "data")}
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        run_java(files, "kafka.tools.StorageTool", "format", "-t", _new_id(), "-c", str(properties))
        shutil.copy(folder / "data" / "bootstrap.checkpoint", files.checkpoint)
    files.class_cache.unlink(missing_ok=True)
    trainer = EmbeddedKafka(cache_dir=cache_dir, jvm=(f"-XX:AOTCacheOutput={files.class_cache}",))
    trainer._start(files)
    trainer.stop()


def check_room(folder: Path, what: str) -> None:
    """Refuse a start on a disk that is full already."""
    free = shutil.disk_usage(folder).free
    if free < MINIMUM_FREE_BYTES:
        raise DependencyUnreachable(f"{what} cannot start: the disk under {folder} is full ({free // 2**20} MB free).")


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
