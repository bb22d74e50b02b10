"""No write outside the log without its audit record: whoever calls one of these says so on the log before, in the same function."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.source import Function, files, functions

WRITES = {"add_key", "revoke", "add_credential", "add_credentials", "remove_credential", "rotate_master_key"}
"""Of the keys of the API and of the vault."""
NOTES = {"note", "_note", "publish_audit"}
DOORS = {"projections/access.py", "engine/executor/accounts/vault.py"}
"""Where these functions are; they are called by others."""


def _calls(node: ast.AST) -> Iterator[tuple[int, str]]:
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            name = each.func.attr if isinstance(each.func, ast.Attribute) else each.func.id if isinstance(each.func, ast.Name) else ""
            yield each.lineno, name


def _inner(function: Function) -> set[int]:
    return {id(node) for node in ast.walk(function) if node is not function and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def unsaid() -> tuple[list[str], int]:
    """Writes whose function has said nothing yet, and how many writes there are."""
    found, seen = [], 0
    for file in files("engine", "projections", "api", "ops"):
        if str(file) in DOORS or file.parts[:2] == ("ops", "bench"):  # A bench fills a stack of its own that is thrown away.
            continue
        inner = {part for function in functions(file) for part in _inner(function)}
        for function in functions(file):
            calls = [] if id(function) in inner else sorted(_calls(function))
            writes = [line for line, name in calls if name in WRITES]
            seen += len(writes)
            found += [f"{file}:{line}" for line in writes if not any(name in NOTES and noted < line for noted, name in calls)]
    return found, seen


def test_the_trail_comes_before_the_write() -> None:
    found, seen = unsaid()
    assert found == [] and seen >= 7
