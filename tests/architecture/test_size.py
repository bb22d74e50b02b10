"""Small files, small functions."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.architecture.source import PACKAGES, files, functions, size
from tests.support import PROJECT

FILE_LINES = 300
FUNCTION_LINES = 50
MEDIAN_LINES = 8
SHARE_UNDER_25 = 0.9


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_files(folder: str) -> None:
    lengths = {str(file): len((PROJECT / file).read_text().splitlines()) for file in files(folder)}
    assert {file: length for file, length in lengths.items() if length > FILE_LINES} == {}


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_functions(folder: str) -> None:
    sizes = {f"{file}:{function.lineno} {function.name}": size(function) for file in files(folder) for function in functions(file)}
    assert {place: length for place, length in sizes.items() if length > FUNCTION_LINES} == {}


def test_most_functions_are_small() -> None:
    sizes = [size(function) for file in files(*PACKAGES) for function in functions(file)]
    assert median(sizes) <= MEDIAN_LINES
    assert sum(length < 25 for length in sizes) / len(sizes) >= SHARE_UNDER_25


def test_every_module_says_what_it_is() -> None:
    import ast

    from tests.architecture.source import parsed

    silent = [str(file) for file in files(*PACKAGES) if parsed(file).body and ast.get_docstring(parsed(file)) is None]
    assert silent == []


def test_sizes_are_counted(tmp_path: Path) -> None:
    """The rule itself: a docstring is free, everything else counts."""
    source = tmp_path / "sample.py"
    source.write_text('def f() -> None:\n    """Doc.\n\n    More.\n    """\n    a = 1\n\n    b = (\n        a\n    )\n')
    assert [size(function) for function in functions(source)] == [5]
