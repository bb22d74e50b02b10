"""`GET /login`: the form for an API key. `POST /login` and `/logout` are the API's own (`api.security.login`)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api.dashboard.shell import render

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def login_form(
    request: Request, next: Annotated[str, Query(max_length=500)] = "/", failed: Annotated[str, Query(max_length=1)] = ""
) -> HTMLResponse:
    """The form."""
    return render(request, None, "login.html", 200, {"next": next, "failed": failed})
