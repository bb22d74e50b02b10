"""The dashboard's session: cookie and CSRF token.

The CSRF token is a hash of the session's token, so that nothing more is stored: it can be made only by who has the cookie, which no script
and no other site can read.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from fastapi import Request

from api.errors import Forbidden

COOKIE: Final = "remora_session"
HEADER: Final = "x-csrf-token"
FIELD: Final = "csrf_token"
FORM: Final = "application/x-www-form-urlencoded"


def csrf_token(request: Request) -> str:
    """What unsafe requests of this session must carry; empty without a session."""
    session = request.cookies.get(COOKIE)
    return token_for(session) if session else ""


def token_for(session: str) -> str:
    """The CSRF token of a session's token."""
    return hmac.new(session.encode(), b"remora csrf", hashlib.sha256).hexdigest()


async def check_csrf(request: Request, session: str) -> None:
    """Errors: Forbidden."""
    given = request.headers.get(HEADER, "")
    if not given and request.headers.get("content-type", "").startswith(FORM):
        given = str((await request.form(max_files=0, max_fields=100)).get(FIELD, ""))
    if not hmac.compare_digest(given.encode(), token_for(session).encode()):
        raise Forbidden("The CSRF token is missing or wrong: load the page again.")
