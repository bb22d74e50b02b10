"""Runs seeds: `python -m tests.chaos.sim 123`, `python -m tests.chaos.sim 0 2000 [--broken NAME]`, or requests as lines on stdin (`-`).

Hash seeds decide the order of sets and so are a part of the seed: without PYTHONHASHSEED=0 it starts itself again with it.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict

from tests.chaos.sim.mutations import broken
from tests.chaos.sim.run import Verdict, simulate

COLLECT_EVERY = 25


def verdicts(first: int, last: int, mutation: str = "") -> Iterator[Verdict]:
    """Verdicts of the seeds from `first` up to but not including `last`."""
    with broken(mutation) if mutation else nullcontext():
        for seed in range(first, last):
            yield simulate(seed)
            if seed % COLLECT_EVERY == 0:
                gc.collect()


def serve() -> None:
    """A request a line: {first, last, broken, until_red}; the answer is a line of all its verdicts."""
    for line in sys.stdin:
        request = json.loads(line)
        found = []
        for verdict in verdicts(request["first"], request["last"], request.get("broken", "")):
            found.append(asdict(verdict))
            if verdict.problems and request.get("until_red"):
                break
        print(json.dumps(found), flush=True)


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; 1 if any seed is red."""
    logging.disable(logging.CRITICAL)
    gc.freeze()
    gc.disable()
    if arguments == ["-"]:
        serve()
        return 0
    mutation = arguments.pop(arguments.index("--broken") + 1) if "--broken" in arguments else ""
    numbers = [int(argument) for argument in arguments if argument != "--broken"]
    first, last = numbers if len(numbers) == 2 else (numbers[0], numbers[0] + 1)
    red = 0
    for verdict in verdicts(first, last, mutation):
        red += bool(verdict.problems)
        if verdict.problems or last - first == 1:
            print(verdict.seed, verdict.facts, verdict.trace, *verdict.problems, sep="\n  ")
    print(f"{last - first} seeds, {red} red")
    return 1 if red else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, "-m", "tests.chaos.sim", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})
    sys.exit(main(sys.argv[1:]))
