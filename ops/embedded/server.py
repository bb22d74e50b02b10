"""What the embedded servers have in common: a folder of their own, a port, a process that ends with us.

Enters: a data folder (or none: a temporary one) and a port (or 0: a free one). Leaves: a running process, or one sentence
about why there is none. `kill` and `restart` are for chaos: the same port, the same data.
"""

from __future__ import annotations

import atexit
import fcntl
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Final, Self

from engine.errors import ConfigInvalid, DependencyUnreachable, RemoraError
from ops import children

DISK_FULL: Final = ("No space left on device", "File too large", "Disk quota exceeded")
MINIMUM_FREE_BYTES: Final = 256 * 1024 * 1024
STOP_S: Final = 20.0
STALE_S: Final = 60.0
"""A folder that was made just now may not be locked yet."""


class EmbeddedServer(ABC):
    """One server. Use as a context manager, or `start` and `stop`; all calls block and none needs an event loop."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, data_dir: Path | None, port: int, start_timeout_s: float) -> None:
        self._keep = data_dir is not None
        self._folder = data_dir
        self._lock: IO[str] | None = None
        self._wanted_port = port
        self._port = 0
        self._log_start = 0
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1; the same for the object's whole life."""
        assert self._port, "start() first"
        return self._port

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running_process().pid

    @property
    def folder(self) -> Path:
        """Where data, settings and log are."""
        assert self._folder is not None, "start() first"
        return self._folder

    @property
    def log_file(self) -> Path:
        """What the server printed."""
        return self.folder / f"{self.name.lower()}.log"

    @property
    def data(self) -> Path:
        """The server's own files."""
        return self.folder / "data"

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
        """Make what is missing, start, and wait for a real answer."""
        assert not self.running, "already started"
        self._find_programs()
        self._port = children.claim_port(self._port or self._wanted_port, self.name)
        try:
            self._take_folder()
            self._fill_folder()
            self._launch()
        except OSError as error:
            self.stop()
            raise DependencyUnreachable(f"{self.name}'s data folder {self._folder} cannot be used: {error.strerror}.") from error
        except RemoraError:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop cleanly (kill when that takes too long); a temporary data folder is removed."""
        if self._process is not None:
            children.end(self._process, STOP_S, self.stop_signal)
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._folder is not None and not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            atexit.unregister(self.stop)

    def kill(self) -> None:
        """kill -9. The data stays for `restart`."""
        children.kill(self._running_process())

    def restart(self) -> None:
        """Start again on the same port and data; a server that still runs is stopped cleanly first."""
        children.end(self._running_process(), STOP_S, self.stop_signal)
        self.start()

    def pause(self) -> None:
        """SIGSTOP: the server hangs, its connections stay open."""
        self._running_process().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._running_process().send_signal(signal.SIGCONT)

    def _running_process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start() first"
        return self._process

    def _take_folder(self) -> None:
        """The folder, for us alone, on a disk with room."""
        if self._folder is None:
            sweep(self.name)
            self._folder = Path(tempfile.mkdtemp(prefix=f"remora-{self.name.lower()}-"))
            atexit.register(self.stop)
        self.data.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        free = shutil.disk_usage(self._folder).free
        if free < MINIMUM_FREE_BYTES:
            raise DependencyUnreachable(f"{self.name} cannot start: the disk under {self._folder} is full ({free // 2**20} MB free).")
        if self._lock is None:
            self._lock = (self._folder / "in-use").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigInvalid(f"Another {self.name} already uses the data folder {self._folder}.") from error

    @abstractmethod
    def _find_programs(self) -> None:
        """Find (or fetch) the programs; refuse in one sentence."""

    @abstractmethod
    def _fill_folder(self) -> None:
        """Write what a new folder needs, and the settings of this start."""

    @abstractmethod
    def _launch(self) -> None:
        """Start the process and wait for an answer."""

    def _failure(self) -> RemoraError:
        """Ends what did not come up, and says why: in one sentence, with the end of the log where we have no better word."""
        process = self._running_process()
        code = process.poll()
        children.kill(process)
        log = children.tail(self.log_file, 40, self._log_start)
        if "Address already in use" in log:
            return ConfigInvalid(f"{self.name} cannot listen on 127.0.0.1:{self._port}: another program has that port.")
        if any(word in log for word in DISK_FULL):
            return DependencyUnreachable(f"{self.name} cannot write its data: the disk under {self.folder} is full.")
        if "incompatible with server" in log:
            return ConfigInvalid(f"The data folder {self.folder} was made by another version of {self.name}.")
        what = f"did not answer within {self._start_timeout_s:.0f} s" if code is None else f"ended with exit code {code} while starting"
        return DependencyUnreachable(f"{self.name} {what}; the end of its log:\n{children.tail(self.log_file, 6, self._log_start)}")


def sweep(name: str) -> None:
    """Remove the temporary folders of runs that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"remora-{name.lower()}-*"):
        lock = folder / "in-use"
        try:
            if time.time() - lock.stat().st_mtime < STALE_S:
                continue
            with lock.open("r+") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
