"""Who may know whom: the import contracts of pyproject.toml, and what they cannot say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, files, imported, parsed
from tests.support import PROJECT

IMPURE = {"asyncio", "random", "secrets", "time", "uuid", "os", "pathlib", "io", "socket", "subprocess", "threading", "logging", "sys"}
CLOCK = re.compile(r"\b(datetime|date)\.(now|utcnow|today)$")


def test_import_contracts() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", files("engine/domain"), ids=str)
def test_domain_is_pure(file: Path) -> None:
    """Standard library without I/O, clock or chance, and msgspec."""
    allowed = (sys.stdlib_module_names - IMPURE) | {"msgspec"}
    wrong = [(line, name) for line, name in imported(file) if name.split(".")[0] not in allowed and not name.startswith("engine.domain")]
    assert wrong == []
    clocks = [node.lineno for node in ast.walk(parsed(file)) if isinstance(node, ast.Attribute) and CLOCK.search(ast.unparse(node))]
    assert clocks == [], "time arrives as an argument"


def test_each_import_name_has_one_owner() -> None:
    owners = packages_distributions()
    assert {name: sorted(set(owners[name])) for name in PACKAGES} == {name: ["remora"] for name in PACKAGES}
    assert set(owners.get("tests", [])) == set()
