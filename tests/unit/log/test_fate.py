"""How a process ends: at once, with its reason and its code."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from engine.errors import DependencyUnreachable
from engine.fate import own_cancellations

PROGRAM = "import atexit; atexit.register(print, 'clean-up'); from engine.fate import die; from engine.errors import *; die({})"


@pytest.mark.parametrize(("error", "code"), [("FencedOut('gone')", 70), ("LogCorrupt('gap')", 71), ("ValueError('bug')", 1)])
def test_a_process_says_why_and_ends_without_clean_up(error: str, code: int) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM.format(error)], capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert error.split("'")[1] in ended.stderr
    assert ended.stdout == ""


async def test_a_cancellation_is_passed_on_and_one_that_nobody_asked_for_is_an_error() -> None:
    given_up, asked_for = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()

    async def wait(future: asyncio.Future[None]) -> None:
        with own_cancellations():
            await future

    tasks = [asyncio.create_task(wait(future)) for future in (given_up, asked_for)]
    await asyncio.sleep(0)
    given_up.cancel()
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert isinstance(tasks[0].exception(), DependencyUnreachable) and tasks[1].cancelled()
