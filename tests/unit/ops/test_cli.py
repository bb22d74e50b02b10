"""The command line: every command is where the table says, and a role's process imports none of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from engine.errors import ConfigInvalid
from ops.cli import COMMANDS, app


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_there_and_says_what_it_does(name: str) -> None:
    found = CliRunner().invoke(app, [name, "--help"])
    assert found.exit_code == 0, found.output
    assert f"Usage: remora {name}" in found.output


def test_the_help_names_them_all() -> None:
    found = CliRunner().invoke(app, ["--help"])
    assert [name for name in COMMANDS if f" {name} " not in found.output] == []


def test_the_command_line_itself_imports_no_command() -> None:
    program = "import sys, ops.cli; print([name for name in sys.modules if name.startswith(('ops.commands', 'api', 'faust', 'ccxt'))])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_time_that_is_none_is_refused_in_the_preview_already() -> None:
    found = CliRunner().invoke(app, ["rebuild", "--until", "yesterday"])
    assert isinstance(found.exception, ConfigInvalid) and "not 'yesterday'" in str(found.exception)
