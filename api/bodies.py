"""Bodies are bounded: a request enters, it goes on with at most `MOST_BYTES` of body or is answered 413."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import TooLarge

MOST_BYTES: Final = 100_000


class BoundedBodies:
    """ASGI middleware. A length that is told is judged at once; what comes in pieces is counted."""

    def __init__(self, app: ASGIApp, most: int = MOST_BYTES) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _told_length(scope) > self._most:
            await self._refuse(send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise TooLarge(self._detail)
            return message

        async def unless_refused(message: Message) -> None:
            if seen <= self._most:
                await send(message)

        # Whatever the app makes of the error, the client gets ours: nobody answers before the body is there.
        with suppress(TooLarge):
            await self._app(scope, counted, unless_refused)
        if seen > self._most:
            await self._refuse(send)

    @property
    def _detail(self) -> str:
        return f"A body has at most {self._most} bytes."

    async def _refuse(self, send: Send) -> None:
        body = json.dumps({"type": TooLarge.type_, "title": TooLarge.title, "status": 413, "detail": self._detail}).encode()
        headers: Any = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _told_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
