"""`GET /v1/live`: a request enters, a stream of server-sent events leaves."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.errors import READS, answers
from api.live.feed import Feed
from api.live.hub import Live
from api.live.marks import MAX_CHARS
from api.live.payloads import KINDS, PUBLIC, Dropped, Kind, Ready, Reset
from api.live.rounds import View
from api.security import Principal, Reader, still_allowed
from engine.errors import DependencyUnreachable

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/live", tags=["live"], responses=answers(*READS))
STUCK_S: Final = 60.0
"""A connection that takes nothing for this long is closed."""
Text = Annotated[str | None, Query(max_length=128)]
Mark = Annotated[str | None, Query(max_length=MAX_CHARS, description="an id, for clients that cannot send `Last-Event-ID`")]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=MAX_CHARS)]


class LiveResponse(EventSourceResponse):
    """The stream of one feed, whose place is given back however it ends.

    As `response_class` FastAPI would write each event again for each client: here it gets the bytes that all clients share.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed.frames(), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.close()

    async def stream_response(self, send: Send) -> None:
        """Send chunk by chunk; a connection that takes nothing is given up."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for chunk in self.body_iterator:
                async with asyncio.timeout(STUCK_S):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            async with asyncio.timeout(STUCK_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.warning("a client of the live feed takes nothing: closed")


async def get_live(request: Request) -> Live:
    """The process's live feed."""
    live: Live = request.app.state.live
    return live


def describe() -> dict[str, Any]:
    """The stream for the OpenAPI page: the types of its events and their data."""
    models: list[tuple[str, type[BaseModel]]] = [*KINDS.items(), ("ready", Ready), ("reset", Reset), ("dropped", Dropped)]
    data = [model.model_json_schema() | {"title": name} for name, model in models]
    return {"description": "A stream of events.", "content": {"text/event-stream": {"schema": {"oneOf": data}}}}


DESCRIPTION: Final = f"""What happens, as it is accepted: each event has a type (`event:`), JSON data and an id.

Come back with the last id (`Last-Event-ID`, or `after`): nothing is missed or repeated. When that is not possible (`reset`), load what
you show anew; the stream goes on from there. An id is the numbers of `freshness.position` by partition, joined by dots: a page that was
read at this position can use them as `after`. Streams begin with `ready`; `dropped` is the last event of a stream that the server ends.
A key of one follower gets that follower's events and the public ones: {", ".join(sorted(PUBLIC))}.
"""


async def _allowed(request: Request, caller: Principal) -> bool:
    """Whether the key still works; while nobody can say, it does."""
    try:
        return await still_allowed(request, caller)
    except DependencyUnreachable:
        return True


@router.get("", response_class=StreamingResponse, responses={200: describe()}, description=DESCRIPTION)
async def live(
    request: Request,
    caller: Reader,
    feeds: Annotated[Live, Depends(get_live)],
    types: Annotated[list[Kind] | None, Query(max_length=len(KINDS), description="only these types; without it all")] = None,
    follower_id: Annotated[str | None, Query(max_length=128, description="as this follower sees it: its own and the public events")] = None,
    whale_id: Text = None,
    after: Mark = None,
    last_event_id: LastEventId = None,
) -> EventSourceResponse:
    """The live feed."""
    view = View(caller.only(follower_id), whale_id, frozenset(types or ()))
    feed = await feeds.open(view, last_event_id or after, partial(_allowed, request, caller))
    return LiveResponse(feed)
