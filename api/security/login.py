"""`POST /login` and `POST /logout`: an API key from a form enters, a session cookie leaves."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse

from api.errors import Forbidden
from api.security.guard import get_guard, identify
from api.security.principal import Principal
from api.security.session import COOKIE

router = APIRouter(include_in_schema=False)
SESSION_S: Final = 12 * 3600


@router.post("/login")
async def login(
    request: Request, api_key: Annotated[str, Form(max_length=200)], next: Annotated[str, Form(max_length=500)] = "/"
) -> RedirectResponse:
    """A session for an API key; 303 to where the visitor wanted to go, or back to the form."""
    check_origin(request)
    guard = get_guard(request)
    verdict = await guard.by_key(api_key.strip())
    wanted = own_path(next)
    if verdict.principal is None:
        guard.note_guess(request.client.host if request.client else "")
        return RedirectResponse(f"/login?failed=1&next={quote(wanted, safe='')}", 303)
    token = await guard.store.add_session(verdict.principal.key_id, SESSION_S)
    answer = RedirectResponse(wanted, 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, token, max_age=SESSION_S, path="/", httponly=True, samesite="lax", secure=secure)
    return answer


@router.post("/logout")
async def logout(request: Request, _: Annotated[Principal, Depends(identify)]) -> RedirectResponse:
    """End the session, here and in the store."""
    guard, token = get_guard(request), request.cookies.get(COOKIE)
    if token:
        guard.forget(token)
        await guard.store.end_session(token)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return answer


def own_path(text: str) -> str:
    """A path of ours, `/` for anything else: no other host, no scheme."""
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"


def check_origin(request: Request) -> None:
    """No other site may log somebody in. Errors: Forbidden."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise Forbidden("The form was sent from another site.")
