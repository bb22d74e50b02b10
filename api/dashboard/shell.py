"""What every page shares: who looks at it, templates, headers, errors as pages.

`Viewer` is who looks: a stranger is sent to the login. `Page` makes the answer: `page.show("whales.html", whales=rows)`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from api.dashboard.words import FILTERS
from api.reading import Reads, get_reads
from api.security import Principal, Scope, Visitor, csrf_token

POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "img-src 'self' data:",
        "object-src 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
TEMPLATES: Final = Environment(
    loader=PackageLoader("api.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
TEMPLATES.filters.update(FILTERS)
TEMPLATES.globals["once"] = lambda: secrets.token_hex(12)
TEMPLATES.filters["path"] = lambda text: quote(str(text), safe="")


class LoginNeeded(Exception):
    """A stranger asked for a page."""


class PageProblem(Exception):
    """What a person is told instead of the page that was asked for."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(title)
        self.status, self.title, self.text = status, title, text


def nothing_here(what: str) -> PageProblem:
    """There is no such thing, or it is not the viewer's business."""
    return PageProblem(404, "Nothing here", f"{what} is not in the read models. If it is new, it will be there in a moment: try again.")


async def get_viewer(visitor: Visitor) -> Principal:
    """Who looks. Errors: LoginNeeded, PageProblem when the key may not read."""
    if visitor is None:
        raise LoginNeeded
    if not visitor.allows("read"):
        raise PageProblem(403, "This key cannot read", "Log in with a key that has the scope read.")
    return visitor


Viewer = Annotated[Principal, Depends(get_viewer)]


class Page:
    """One answer in the making."""

    def __init__(self, request: Request, viewer: Viewer) -> None:
        self.request, self.viewer = request, viewer
        self.reads: Reads = get_reads(request)

    def show(self, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """A filled template with the dashboard's headers."""
        return render(self.request, self.viewer, template, status, values)

    def needs(self, scope: Scope) -> None:
        """Errors: PageProblem without the scope."""
        if not self.viewer.allows(scope):
            have = ", ".join(sorted(self.viewer.scopes))
            raise PageProblem(403, "Not with this key", f"This needs a key with the scope {scope}; yours has {have}.")

    def everything(self) -> None:
        """Pages about all followers are not for a key of one follower. Errors: PageProblem."""
        if self.viewer.follower_id is not None:
            raise PageProblem(403, "Not with this key", f"Your key sees the follower {self.viewer.follower_id} only.")


Open = Annotated[Page, Depends(Page)]


def render(request: Request, viewer: Principal | None, template: str, status: int, values: Mapping[str, Any]) -> HTMLResponse:
    """A filled template with the dashboard's headers."""
    shared = {"viewer": viewer, "csrf": csrf_token(request), "here": request.url.path, "query": request.query_params}
    return HTMLResponse(TEMPLATES.get_template(template).render(shared | dict(values)), status, HEADERS)


def to_login(request: Request, error: Exception) -> Response:
    """A page: to the form and back again. A fragment: the whole page goes there."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers=HEADERS | {"HX-Redirect": "/login"})
    where = "/login" if request.method != "GET" or wanted == "/" else "/login?" + urlencode({"next": wanted})
    return RedirectResponse(where, 303)


def to_problem(request: Request, error: Exception) -> Response:
    """An error as a page."""
    assert isinstance(error, PageProblem)
    return render(request, None, "problem.html", error.status, {"title": error.title, "text": error.text})
