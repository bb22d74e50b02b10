"""Adds the dashboard to the app: pages, fragments, static files, and errors as pages for those who asked for a page."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from fastapi_problem.error import Problem
from starlette.exceptions import HTTPException

from api.dashboard import followers, guide, operations, orders, overview, session, whales
from api.dashboard.shared import Shared
from api.dashboard.shell import TEMPLATES, LoginNeeded, PageProblem, render, to_login, to_problem
from api.live.payloads import KINDS

ROUTERS: Final = (session, overview, whales, followers, orders, operations, guide)
SHOWN: Final[tuple[type[Exception], ...]] = (Problem, HTTPException, RequestValidationError)
"""What is a page for those who asked for one."""
SAYS: Final[dict[int, tuple[str, str]]] = {
    401: ("Please log in again", "The session has ended, or the key does not work any more."),
    404: ("Nothing here", "There is no such page."),
    405: ("Nothing here", "There is no such page."),
    422: ("This cannot be done", "Something in the form or the address is not what was expected."),
}


def install(app: FastAPI) -> None:
    """After the API's own error handlers: what they answer to programs stays as it is."""
    app.state.dashboard = Shared()
    TEMPLATES.globals["live_kinds"] = sorted(KINDS)
    for module in ROUTERS:
        app.include_router(module.router)
    app.mount("/static", StaticFiles(packages=[("api.dashboard", "static")]), name="static")
    app.add_exception_handler(LoginNeeded, to_login)
    app.add_exception_handler(PageProblem, to_problem)
    for kind in SHOWN:
        app.add_exception_handler(kind, _as_page(app.exception_handlers[kind]))


def _as_page(plain: Any) -> Any:
    """A handler that shows a person a page, and hands everybody else to the handler that was there."""

    async def shown(request: Request, error: Exception) -> Response:
        if "text/html" not in request.headers.get("accept", "") or request.url.path.startswith("/v1/"):
            answer = plain(request, error)
            found: Response = await answer if isawaitable(answer) else answer
            return found
        status = getattr(error, "status_code", 422)
        title, text = SAYS.get(status) or (getattr(error, "title", "This did not work"), "")
        return render(request, None, "problem.html", status, {"title": title, "text": getattr(error, "detail", None) or text})

    return shown
