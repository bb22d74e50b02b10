"""What may stand where: topic names in the map only, no place of one machine, no waiting by the clock in tests."""

from __future__ import annotations

import ast
import re
import stat
from pathlib import Path

import pytest

from engine.topology import HANDLERS, TOPICS
from ops.readme_map import README, with_map
from tests.architecture.source import PACKAGES, files, parsed, strings, tracked
from tests.support import PROJECT

MACHINE = [f"/{folder}/" for folder in ("work", "root", "tmp")] + [f".{'library'}/"]
# In two halves, so that this file does not name them itself.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("maven", "org"),
        ("maven", "apache", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("golang", "org"),
        ("debian", "org"),
    )
]
BINARY = {".png", ".gz", ".ico", ".woff2", ".jpg", ".zst", ".lz4"}


@pytest.mark.parametrize("file", [file for file in tracked() if file.suffix not in BINARY], ids=str)
def test_no_place_of_one_machine(file: Path) -> None:
    text = (PROJECT / file).read_text(errors="replace")
    assert [word for word in MACHINE + REGISTRIES if word in text] == []


def test_topic_names_stand_in_the_map_only() -> None:
    names = [topic.name for topic in TOPICS]
    found = [
        (str(file), line, text)
        for file in files(*PACKAGES)
        if file != Path("engine/topology.py")
        for line, text in strings(file)
        if any(name in text for name in names)
    ]
    assert found == []


def test_readme_shows_the_map() -> None:
    text = README.read_text()
    assert with_map(text) == text, "python -m ops.readme_map"


def test_handlers_exist() -> None:
    """Every handler that the map names is a function or class of the module that it names."""
    missing = []
    for place in ";".join(HANDLERS.values()).split(";"):
        module, name = (part.strip() for part in place.split(":"))
        file = PROJECT / f"{module.replace('.', '/')}.py"
        defined = {getattr(node, "name", "") for node in ast.walk(ast.parse(file.read_text()))} if file.exists() else set()
        if name not in defined:
            missing.append(place.strip())
    assert missing == []


def test_nobody_waits_by_the_clock() -> None:
    """Tests wait for a condition; only the helper that does it may sleep (and `sleep(0)` is no wait)."""
    found = []
    for file in files("tests"):
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep"):
                found.append((str(file), node.lineno, ast.unparse(node)))
    # The others are no waits: a mutant that is slow, answers that are late on purpose.
    allowed = ("tests/support.py", "tests/chaos/mutants.py", "tests/integration/engine/test_app.py")
    assert [hit for hit in found if not hit[0].startswith(allowed) and not hit[2].endswith("(0)")] == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [str(file) for file in tracked() if file.suffix == ".py" and marks.search((PROJECT / file).read_text())] == []


def test_ci_runs_the_tests() -> None:
    run = PROJECT / ".ci" / "run"
    assert run.stat().st_mode & stat.S_IXUSR
    assert "make test" in run.read_text().splitlines()
