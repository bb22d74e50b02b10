"""One client of the live feed: rounds enter, chunks of whole frames leave, until the client goes, is too slow, or may not see more.

A client has no queue. It has its place in the one chain of rounds; who is too far behind it loses the place and is told so.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

from api.live.history import Missed
from api.live.items import frame
from api.live.marks import write_vector
from api.live.payloads import Dropped, Ready, Reset
from api.live.rounds import BEFORE_ALL, CHUNK_BYTES, Round, View

if TYPE_CHECKING:
    from api.live.hub import Live

BEAT_S: Final = 10.0
"""A stream with nothing to say says this often that it lives, and where it stands."""
CHECK_S: Final = 15.0
"""How often a stream asks whether its key still works."""
RETRY: Final = b"retry: 1000\n"
"""Milliseconds after which a browser comes back."""
Allowed = Callable[[], Awaitable[bool]]


class Feed:
    """Made by `Live.open`; `frames` is its stream, `close` gives its place back."""

    def __init__(self, live: Live, view: View, allowed: Allowed) -> None:
        self._live, self._view, self._allowed = live, view, allowed
        self._last: Round | None = None
        self._missed = Missed()
        self._chunks: deque[bytes] = deque()
        self._check_at = time.monotonic() + CHECK_S
        self.over: Dropped | None = None

    def begin(self, last: Round, missed: Missed | None, reset: Reset | None) -> None:
        """Go on behind `last`, the newest round; first with what was missed, or with the word that it cannot be told."""
        self._last = last
        stand = write_vector(last.stand)
        if missed is not None:
            self._missed = missed
            opening = Ready(position=write_vector(missed.vector), resumed=True)
            # Without an id: the client keeps its own, which may lie inside a round.
            self._chunks.append(RETRY + frame("ready", opening) + b"\n")
            return
        if reset is not None:
            self._chunks.append(frame("reset", reset) + f"id: {stand}\n\n".encode())
        self._chunks.append(RETRY + frame("ready", Ready(position=stand, resumed=False)) + f"id: {stand}\n\n".encode())

    def behind(self, newest: Round) -> int:
        """Events that wait behind the round which the client gets next."""
        waiting = self._last.next if self._last is not None else None
        return newest.number - waiting.number - len(waiting.values) if waiting is not None else 0

    def drop(self, why: Dropped) -> None:
        """End the stream with a last event; what waits for the client is forgotten at once."""
        self.over, self._last = why, None
        self._missed.rounds.clear()
        self._chunks.clear()

    def close(self) -> None:
        """The client is gone."""
        self._live.forget(self)

    async def frames(self) -> AsyncIterator[bytes]:
        """The stream."""
        beat_at = time.monotonic() + BEAT_S
        while self.over is None:
            changed = self._live.changed
            if chunk := self._take():
                beat_at = time.monotonic() + BEAT_S
                yield chunk
            elif time.monotonic() >= beat_at:
                beat_at = time.monotonic() + BEAT_S
                yield self._beat()
            else:
                await _set_before(changed, min(beat_at, self._check_at))
            await self._check()
        yield frame("dropped", self.over) + b"\n"

    def _beat(self) -> bytes:
        """A comment, with the id of everything that was read and not shown to this client."""
        assert self._last is not None
        return f": beat\nid: {write_vector(self._last.stand)}\n\n".encode()

    async def _check(self) -> None:
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + CHECK_S
            if not await self._allowed():
                self.drop(Dropped(reason="not_allowed"))

    def _take(self) -> bytes:
        """Frames for one write; empty when the client has got everything."""
        parts: list[bytes] = []
        size = 0
        while size < CHUNK_BYTES and (self._chunks or self._advance()):
            if self._chunks:
                parts.append(self._chunks.popleft())
                size += len(parts[-1])
        return b"".join(parts)

    def _advance(self) -> bool:
        """Take the frames of the next round, if there is one."""
        if self._missed.rounds:
            self._chunks.extend(self._again(self._missed.rounds.popleft()))
            return True
        if self._last is None or self._last.next is None:
            return False
        self._last = self._last.next
        self._chunks.extend(self._last.frames(self._view))
        return True

    def _again(self, round_: Round) -> list[bytes]:
        """Frames of a missed round, with ids that say where this client stands."""
        vector, inside = self._missed.vector, self._missed.inside
        after = BEFORE_ALL
        if inside is not None and inside[0] == round_.partition:
            after, self._missed.inside = inside[1], None
        chunks = round_.frames(self._view, tuple(vector), after)
        vector[round_.partition] = round_.end
        return chunks


async def _set_before(event: asyncio.Event, until: float) -> None:
    """Until it is set or the time has come."""
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            await event.wait()
    except TimeoutError:
        return
