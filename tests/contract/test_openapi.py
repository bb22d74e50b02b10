"""The published OpenAPI page: it is what the app says, it is valid, and nothing that clients rely on may go.

`tests/golden/api/v1.json` is what version 1 promised: the page may only add to it. What was promised newly is added there on purpose.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from api.openapi import page
from tests.support import PROJECT

COMMITTED = PROJECT / "docs" / "contract" / "openapi.json"
PROMISED = PROJECT / "tests" / "golden" / "api" / "v1.json"
Page = dict[str, Any]
text = cache(page)


def current() -> Page:
    """The app's page now, a fresh copy."""
    found: Page = json.loads(text())
    return found


def operations(document: Page) -> dict[str, Page]:
    """`GET /path` to the operation."""
    return {f"{method.upper()} {path}": operation for path, methods in document["paths"].items() for method, operation in methods.items()}


def followed(document: Page, schema: Page) -> Page:
    """What a reference stands for."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def shape(document: Page, schema: Page) -> Any:
    """A schema as far as clients depend on it: types, fields, words."""
    schema = followed(document, schema)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return sorted((shape(document, option) for option in options), key=str)
    if "properties" in schema:
        return {name: shape(document, field) for name, field in schema["properties"].items()}
    if "items" in schema:
        return [shape(document, schema["items"])]
    return schema.get("const") or schema.get("enum") or schema.get("type", "any")


def surface(document: Page) -> Page:
    """What clients rely on, by operation: what they must send, what they may send, what they get."""
    found: Page = {}
    for name, operation in operations(document).items():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        answers = {status: answer.get("content", {}) for status, answer in operation["responses"].items() if status.startswith("2")}
        found[name] = {
            "sends": {item["name"]: shape(document, item["schema"]) for item in operation.get("parameters", [])},
            "needs": sorted(item["name"] for item in operation.get("parameters", []) if item.get("required")),
            "body": shape(document, body) if body else None,
            "body_needs": sorted(followed(document, body).get("required", [])) if body else [],
            "gets": {
                status: {kind: shape(document, part["schema"]) for kind, part in content.items()} for status, content in answers.items()
            },
        }
    return found


def breaks(before: Any, after: Any, where: str = "") -> list[str]:
    """Places where `after` has not what `before` had. `needs` may not grow, everything else may not shrink or change."""
    if where.endswith(("/needs", "/body_needs")):
        return [f"{where}: {name} is required now" for name in sorted(set(after) - set(before))]
    if isinstance(before, dict):
        if not isinstance(after, dict):
            return [f"{where}: changed"]
        gone = [f"{where}/{name}: gone" for name in before if name not in after]
        return gone + [place for name in before if name in after for place in breaks(before[name], after[name], f"{where}/{name}")]
    return [] if before == after else [f"{where}: {before} became {after}"]


def test_the_committed_page_is_the_apps() -> None:
    assert COMMITTED.read_text() == text(), "python -m api.openapi > docs/contract/openapi.json"


def test_nothing_that_was_promised_is_broken() -> None:
    assert breaks(json.loads(PROMISED.read_text()), surface(current())) == []


def test_every_route_is_promised() -> None:
    assert json.loads(PROMISED.read_text()).keys() == surface(current()).keys()


def drop_path(document: Page) -> None:
    del document["paths"]["/v1/trades"]


def drop_field(document: Page) -> None:
    del document["components"]["schemas"]["Trade"]["properties"]["fee_quote"]


def require(document: Page) -> None:
    document["paths"]["/v1/trades"]["get"]["parameters"][0]["required"] = True


def require_in_body(document: Page) -> None:
    document["components"]["schemas"]["FollowerBody"]["required"].append("mode")


def narrow(document: Page) -> None:
    document["components"]["schemas"]["FollowerBody"]["properties"]["mode"]["enum"] = ["paper"]


def retype(document: Page) -> None:
    document["components"]["schemas"]["Accepted"]["properties"]["offset"]["type"] = "string"


@pytest.mark.parametrize("change", [drop_path, drop_field, require, require_in_body, narrow, retype])
def test_breaking_changes_are_noticed(change: Callable[[Page], None]) -> None:
    document = current()
    changed = copy.deepcopy(document)
    change(changed)
    assert breaks(surface(document), surface(changed)) != []


def test_every_route_tells_its_problems() -> None:
    for name, operation in operations(current()).items():
        if operation.get("security"):
            assert {"401", "403", "422", "429", "503"} <= operation["responses"].keys(), name
        for status, answer in operation["responses"].items():
            if status.startswith("4"):
                assert list(answer["content"]) == ["application/problem+json"], (name, status)
