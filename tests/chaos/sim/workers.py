"""Processes that run seeds: one a core, each a Python of its own without coverage, with the hash seed that belongs to a seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from tests.support import PROJECT

COMMAND = (sys.executable, "-W", "ignore", "-m", "tests.chaos.sim")


def repeat(seed: int) -> str:
    """The command that repeats a seed."""
    return f"REMORA_SIM_SEED={seed} python -m pytest tests/chaos/test_simulation.py -k repeat"


class Workers:
    """Use as a context manager."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")} | {"PYTHONHASHSEED": "0"}
        self._processes = [
            subprocess.Popen([*COMMAND, "-"], cwd=PROJECT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(os.cpu_count() or 1)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            if error is not None:
                process.kill()
            process.communicate(timeout=60)

    def run(self, first: int, last: int) -> list[dict[str, Any]]:
        """Verdicts of the seeds from `first` up to but not including `last`, shared among the processes."""
        share = -(-(last - first) // len(self._processes))
        requests = [{"first": start, "last": min(start + share, last)} for start in range(first, last, share)]
        return [verdict for answer in self.answers(requests) for verdict in answer]

    def answers(self, requests: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """One answer a request, as many at once as there are processes."""
        found: list[list[dict[str, Any]]] = []
        for first in range(0, len(requests), len(self._processes)):
            part = list(zip(self._processes, requests[first : first + len(self._processes)], strict=False))
            for process, request in part:
                assert process.stdin is not None
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            found += [self._answer(process) for process, _ in part]
        return found

    def _answer(self, process: subprocess.Popen[str]) -> list[dict[str, Any]]:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "a worker ended; its errors are above"
        found: list[dict[str, Any]] = json.loads(line)
        return found


def told(verdict: dict[str, Any]) -> str:
    """A red verdict in words."""
    problems = "\n  ".join(verdict["problems"][:10])
    return f"seed {verdict['seed']}:\n  {problems}\n  repeat it with: {repeat(verdict['seed'])}"
