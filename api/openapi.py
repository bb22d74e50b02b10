"""The OpenAPI page: what FastAPI says of the routes enters, the same with our problems in their place leaves.

`docs/contract/openapi.json` is this page, checked in; `python -m api.openapi` prints it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi import FastAPI

from api.errors import ProblemBody
from api.security.guard import BEARER, SESSION

NOT_OURS: Final = ("HTTPValidationError", "ValidationError", "Problem")
"""Schemas of errors that the frameworks add and no route of ours answers with."""


def install(app: FastAPI) -> None:
    """Complete `app.openapi`, once."""
    made = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None or "ProblemBody" not in app.openapi_schema["components"]["schemas"]:
            page = made()
            schemas = page["components"]["schemas"]
            for name in NOT_OURS:
                schemas.pop(name, None)
            problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs") | {"ProblemBody": problem}
            _tell_sessions(page)
            app.openapi_schema = page
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]


def _tell_sessions(page: dict[str, Any]) -> None:
    """Where a key is taken, a session is too."""
    page["components"]["securitySchemes"][SESSION.scheme_name] = SESSION.model.model_dump(by_alias=True, exclude_none=True, mode="json")
    for operations in page["paths"].values():
        for operation in operations.values():
            if "security" in operation:
                operation["security"] = [{BEARER.scheme_name: []}, {SESSION.scheme_name: []}]


def page() -> str:
    """The page as it is checked in: of an app that is connected to nothing."""
    from api.app import build
    from engine.config import Settings

    return json.dumps(build(Settings()).openapi(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(page(), end="")
