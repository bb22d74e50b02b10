"""The live feed of one process: one tail of the log enters, streams for clients leave.

Clients wait for one event that is set at most every `FLUSH_S`; each then takes from the chain of rounds what it has not had.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from fastapi_problem.error import StatusProblem

from api.live.feed import Allowed, Feed
from api.live.history import History, Missed, Refused
from api.live.marks import Mark, parse_mark, write_vector
from api.live.payloads import Dropped, Reset
from api.live.rounds import Round, View, round_of
from api.live.tail import Tail
from engine.config import Settings
from engine.log.reader import AcceptedRound, Position
from projections.reads import ReadModels

log = logging.getLogger(__name__)
FLUSH_S: Final = 0.05
READY_S: Final = 5.0
REACH_S: Final = 3.0
"""How long a client that was ahead of us, served by another process, waits for our tail."""
BEHIND_EVENTS: Final = 50_000
"""A client with more events waiting than this is too slow."""

GAP: Final = b'{"t":"WhaleGapDetected'


class LiveUnavailable(StatusProblem):
    """As many streams as this process gives, or the log cannot be read now: come back later."""

    type_ = "live-unavailable"
    title = "The live feed cannot be had now."
    status = 503


class Live:
    """One for the process, at `app.state.live`; runs within `start` and `stop`."""

    def __init__(self, settings: Settings, models: ReadModels, *, behind_events: int = BEHIND_EVENTS) -> None:
        self._most, self._behind, self._partitions = settings.live_clients, behind_events, settings.partitions
        self.history = History(settings)
        self.tail = Tail(settings, models, self._begin, self._take)
        self.changed = asyncio.Event()
        self.clients: set[Feed] = set()
        self.dropped = self.events = self.gaps = 0
        self._newest: Round | None = None
        self._flushing: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read the log."""
        self._task = asyncio.create_task(self._run(), name="live-tail")

    async def _run(self) -> None:
        """A tail that ends has met a log that contradicts itself: what it could still tell is not to be trusted."""
        await self.tail.run()
        self.close()

    async def stop(self) -> None:
        """End the streams and the tail."""
        self.close()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def close(self) -> None:
        """End every stream now, with a last event; nobody is let in any more."""
        self._closing = True
        for feed in self.clients:
            feed.drop(Dropped(reason="stopping"))
        self._wake()

    async def open(self, view: View, last_id: str | None, allowed: Allowed) -> Feed:
        """A stream behind the id, or from now on. Errors: LiveUnavailable."""
        if self._closing or self.tail.failed or len(self.clients) >= self._most:
            raise _unavailable("This process gives no more streams.")
        feed = Feed(self, view, allowed)
        self.clients.add(feed)
        try:
            await self._open(feed, last_id)
        except BaseException:
            self.forget(feed)
            raise
        return feed

    def forget(self, feed: Feed) -> None:
        """A client is gone."""
        self.clients.discard(feed)

    async def _open(self, feed: Feed, last_id: str | None) -> None:
        try:
            async with asyncio.timeout(READY_S):
                await self.tail.ready.wait()
        except TimeoutError:
            raise _unavailable("The log has not been read to its end yet.") from None
        missed, refused = await self._since(last_id) if last_id else (None, None)
        assert self._newest is not None, "a tail that is ready has begun"
        reset = Reset(reason=refused, position=write_vector(self._newest.stand)) if refused else None
        feed.begin(self._newest, missed, reset)

    async def _since(self, last_id: str) -> tuple[Missed | None, Refused | None]:
        mark = parse_mark(last_id, self._partitions)
        if mark is None or not await self._reached(mark):
            return None, "unknown_position"
        found = await self.history.since(mark)
        return (found, None) if isinstance(found, Missed) else (None, found)

    async def _reached(self, mark: Mark) -> bool:
        """Whether our tail comes to where the client was."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REACH_S):
                while not self.history.reached(mark):
                    await self.changed.wait()
                return True
        return False

    def _begin(self, positions: list[Position]) -> None:
        self.history.begin(positions)
        self._newest = Round(0, 0, positions[0], 0, [], self.history.vector)

    def _take(self, accepted: AcceptedRound, before: int) -> None:
        """The next round: the newest of the chain."""
        assert self._newest is not None, "begun"
        round_ = round_of(accepted, before, self.history.vector)
        round_.number = self._newest.number + len(self._newest.values)
        self._newest.next = round_
        self._newest = round_
        self.history.add(round_)
        self.events += len(round_.values)
        if accepted.shard == 0:
            self.gaps += sum(value.startswith(GAP) for _, value in round_.values)
        if self._flushing is None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.call_at(max(loop.time(), self._flushed_at + FLUSH_S), self._flush)

    def _flush(self) -> None:
        self._flushing, self._flushed_at = None, asyncio.get_running_loop().time()
        self._wake()
        assert self._newest is not None
        for feed in list(self.clients):
            if feed.over is None and feed.behind(self._newest) > self._behind:
                feed.drop(Dropped(reason="too_slow"))
                self.dropped += 1

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


def _unavailable(detail: str) -> LiveUnavailable:
    return LiveUnavailable(detail, headers={"Retry-After": "2"})
