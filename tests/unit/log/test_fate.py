"""How a process ends: at once, with its reason and its code."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = "import atexit; atexit.register(print, 'clean-up'); from engine.fate import die; from engine.errors import *; die({})"


@pytest.mark.parametrize(("error", "code"), [("FencedOut('gone')", 70), ("LogCorrupt('gap')", 71), ("ValueError('bug')", 1)])
def test_a_process_says_why_and_ends_without_clean_up(error: str, code: int) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM.format(error)], capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert error.split("'")[1] in ended.stderr
    assert ended.stdout == ""
