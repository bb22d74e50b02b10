"""What the architecture tests look at: every Python file of the project, parsed."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support import PROJECT

PACKAGES = ("engine", "projections", "api", "migrations", "ops")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files(*folders: str) -> tuple[Path, ...]:
    """Python files under these folders, relative to the project."""
    return tuple(sorted(file.relative_to(PROJECT) for folder in folders for file in (PROJECT / folder).rglob("*.py")))


@cache
def parsed(file: Path) -> ast.Module:
    """Syntax tree of one file."""
    return ast.parse((PROJECT / file).read_text())


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git knows and that is there."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return tuple(Path(name) for name in names.split("\0") if name and (PROJECT / name).is_file())


def functions(file: Path) -> Iterator[Function]:
    """Every function and method of a file."""
    return (node for node in ast.walk(parsed(file)) if isinstance(node, Function))


def statements(function: Function) -> list[ast.stmt]:
    """The body without its docstring."""
    return function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body


def size(function: Function) -> int:
    """Lines from the first statement to the last, docstring not counted."""
    body = statements(function)
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def strings(file: Path) -> Iterator[tuple[int, str]]:
    """Every string constant with its line, docstrings left out."""
    tree = parsed(file)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Every imported module with its line."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
