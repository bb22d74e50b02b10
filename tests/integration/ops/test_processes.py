"""The supervisor: children become ready, come back after an end of their own, stay down when held, die with the parent."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import ConfigInvalid, DependencyUnreachable
from ops import children
from ops.processes import Supervisor
from tests.support import wait_until_sync

SERVES = """
import signal
from engine.config import load_settings
from engine.lifecycle import announce_ready
announce_ready(load_settings(), "sleeper", port=7)
signal.pause()
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "run") as supervisor:
        yield supervisor


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_ready_facts_then_a_clean_stop(supervisor: Supervisor) -> None:
    supervisor.start("sleeper", program=python(SERVES))
    facts = supervisor.wait_ready("sleeper")
    assert facts == {"ready": "sleeper", "port": 7, "pid": supervisor.pid("sleeper")}
    assert supervisor.stop("sleeper") == -signal.SIGTERM
    assert not supervisor.running("sleeper")
    assert supervisor.restarts("sleeper") == 0


def test_killed_comes_back_with_new_facts(supervisor: Supervisor) -> None:
    supervisor.start("sleeper", program=python(SERVES))
    first = supervisor.wait_ready("sleeper")["pid"]
    supervisor.kill9("sleeper")
    assert supervisor.wait_ready("sleeper")["pid"] != first
    assert supervisor.exit_codes("sleeper") == [-signal.SIGKILL]
    os.kill(supervisor.pid("sleeper"), signal.SIGKILL)
    wait_until_sync(lambda: supervisor.restarts("sleeper") == 2)
    supervisor.wait_ready("sleeper")


def test_held_down_until_started_again(supervisor: Supervisor) -> None:
    supervisor.start("sleeper", program=python(SERVES))
    supervisor.wait_ready("sleeper")
    supervisor.start("witness", program=python("raise SystemExit(70)"))
    supervisor.kill9("sleeper", restart=False)
    wait_until_sync(lambda: supervisor.restarts("witness") >= 2)
    assert not supervisor.running("sleeper")
    supervisor.start("sleeper")
    supervisor.wait_ready("sleeper")


def test_paused_hangs_and_still_stops(supervisor: Supervisor) -> None:
    supervisor.start("sleeper", program=python(SERVES))
    pid = supervisor.wait_ready("sleeper")["pid"]
    supervisor.pause("sleeper")
    wait_until_sync(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
    supervisor.resume("sleeper")
    wait_until_sync(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "S")
    supervisor.pause("sleeper")
    assert supervisor.stop("sleeper") == -signal.SIGTERM


def test_fenced_out_is_restarted_and_a_wrong_setting_is_not(supervisor: Supervisor) -> None:
    supervisor.start("fenced", program=python("raise SystemExit(70)"))
    wait_until_sync(lambda: supervisor.exit_codes("fenced") >= [70, 70])
    supervisor.start("wrong", program=python("import sys; print('partitions is 8, expected 4', file=sys.stderr); sys.exit(3)"))
    with pytest.raises(ConfigInvalid, match="wrong refused to start: partitions is 8, expected 4"):
        supervisor.wait_ready("wrong")
    assert supervisor.restarts("wrong") == 0


def test_late_shows_its_log(supervisor: Supervisor) -> None:
    supervisor.start("mute", program=python("print('thinking', flush=True); import signal; signal.pause()"))
    wait_until_sync(lambda: "thinking" in children.tail(supervisor.log_file("mute")))
    with pytest.raises(DependencyUnreachable, match=r"not ready within 0 s; its log:\nthinking"):
        supervisor.wait_ready("mute", 0.1)


def test_environment(supervisor: Supervisor) -> None:
    supervisor.start("env", program=python("import os; print(os.environ['A'], flush=True); import signal; signal.pause()"), env={"A": "b"})
    wait_until_sync(lambda: children.tail(supervisor.log_file("env")) == "b")
    assert supervisor.names() == ["env"]


def test_children_die_with_the_parent(tmp_path: Path) -> None:
    """Also when the parent has no time to say good-bye."""
    parent = f"""
import sys, time
from pathlib import Path
from ops.processes import Supervisor
supervisor = Supervisor(Path({str(tmp_path)!r}))
supervisor.start("sleeper", program=[sys.executable, "-c", {SERVES!r}])
print(supervisor.wait_ready("sleeper")["pid"], flush=True)
time.sleep(600)
"""
    log = tmp_path / "parent.log"
    process = children.spawn(python(parent), log)
    wait_until_sync(lambda: children.tail(log).strip().isdigit())
    child = int(children.tail(log))
    assert Path(f"/proc/{child}").exists()
    children.kill(process)
    try:
        wait_until_sync(lambda: is_gone(child), 10.0)
    finally:
        if not is_gone(child):
            os.kill(child, signal.SIGKILL)


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_a_program_whose_parent_is_gone_does_not_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-IS", children.LAUNCHER, "1", "15", "-", sys.executable, "-c", "print('started')"]
    assert children.spawn(command, log).wait() == 1
    assert children.tail(log) == "the parent died before this program started"
