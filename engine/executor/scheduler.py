"""Order of work. Enters: jobs. Leaves: calls of `attempt` and `resolve`, at most `slots` attempts at once.

One lane (account and symbol) is worked in command order. Among lanes: exits first, then priority, then followers in turn (start-time fair
queueing), per venue and apart from its paper venue, so that one that is limited or down holds up no other.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from engine.executor.breaker import Breaker
from engine.executor.jobs import Account, Again, Done, Job, Lane, LaneKey, Place, Step, Unresolved
from engine.executor.journal import JournalClosed
from engine.executor.limits import Limits
from engine.fate import own_cancellations

LOOK_AHEAD: Final = 64
"""Lanes whose key is limited that are passed over in one go."""
_Entry = tuple[int, float, int, Lane]


class _VenueQueue:
    """Ready lanes of one venue."""

    def __init__(self, breaker: Breaker) -> None:
        self.heap: list[_Entry] = []
        self.breaker = breaker
        self.served: dict[str, float] = {}
        self.turn = 0.0
        self.timer: asyncio.TimerHandle | None = None


class Scheduler:
    """Runs jobs. `attempt` and `resolve` raise nothing but bugs, which end the process through `die`. `running` counts orders between
    attempt and outcome by account."""

    def __init__(
        self,
        attempt: Callable[[Job], Awaitable[Step]],
        resolve: Callable[[Job, Unresolved], Awaitable[Step]],
        limits: Limits,
        breakers: dict[Place, Breaker],
        running: Counter[Account],
        slots: int,
        die: Callable[[BaseException], object],
    ) -> None:
        self._attempt, self._resolve, self._limits, self._free, self._die = attempt, resolve, limits, slots, die
        self._queues = {place: _VenueQueue(breaker) for place, breaker in breakers.items()}
        self._lanes: dict[LaneKey, Lane] = {}
        self._entries = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._dispatching = self._stopped = False
        self._turn_of = 0
        self._running = running

    def add(self, job: Job) -> None:
        """Take in a job, behind the others of its lane."""
        lane = self._lanes.setdefault(job.lane_key, Lane(job.lane_key))
        lane.push(job)
        if not lane.busy:
            self._enqueue(lane)
        self._dispatch_soon()

    @property
    def free(self) -> int:
        """Orders that may be attempted beyond those under way."""
        return self._free

    @property
    def busy(self) -> bool:
        """Every slot is taken: orders wait."""
        return self._free <= 0

    def jobs(self) -> Iterable[Job]:
        """Every job that has no end state."""
        return (job for lane in list(self._lanes.values()) for job in list(lane.jobs))

    def drop(self, jobs: Iterable[Job]) -> None:
        """Forget jobs that are not being worked on (settled elsewhere, or another executor's now)."""
        for job in list(jobs):
            lane = self._lanes.get(job.lane_key)
            if lane is None or job.running or not lane.remove(job):
                continue
            if not lane.jobs and not lane.busy:
                self._lanes.pop(lane.key)
                lane.entry = 0

    def _enqueue(self, lane: Lane) -> None:
        account = lane.key[0]
        queue, follower = self._queues[account.place], account.follower_id
        turn = max(queue.served.get(follower, 0.0), queue.turn)
        queue.served[follower] = turn + 1.0
        self._entries += 1
        lane.entry = self._entries
        heapq.heappush(queue.heap, (lane.rank, turn, self._entries, lane))

    def _dispatch_soon(self) -> None:
        if not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        queues = [] if self._stopped else list(self._queues.values())
        for step in range(len(queues)):
            self._dispatch_venue(queues[(self._turn_of + step) % len(queues)])
        self._turn_of += 1

    def _dispatch_venue(self, queue: _VenueQueue) -> None:
        limited: list[_Entry] = []
        while queue.heap and self._free and len(limited) < LOOK_AHEAD:
            entry = queue.heap[0]
            lane = entry[3]
            if lane.entry != entry[2] or not lane.jobs:
                heapq.heappop(queue.heap)
                continue
            job = lane.jobs[0]
            wait = 0.0 if job.unresolved else max(queue.breaker.delay(job.is_exit), self._limits.ip_delay(job.account.venue, job.account))
            if wait:
                self._later(queue, wait)
                break
            heapq.heappop(queue.heap)
            if not job.unresolved and (wait := self._limits.take_order(job.account, job.account.venue)):
                limited.append(entry)
                self._later(queue, wait)
                continue
            queue.turn = max(queue.turn, entry[1])
            self._start(queue, lane, job)
        for entry in limited:
            heapq.heappush(queue.heap, entry)
        if not queue.heap:
            queue.served.clear()

    def _later(self, queue: _VenueQueue, wait: float) -> None:
        loop = asyncio.get_running_loop()
        if queue.timer is not None and queue.timer.when() <= loop.time() + wait and not queue.timer.cancelled():
            return
        if queue.timer is not None:
            queue.timer.cancel()

        def fire() -> None:
            queue.timer = None
            self._dispatch_soon()

        queue.timer = loop.call_later(max(wait, 0.001), fire)

    def _start(self, queue: _VenueQueue, lane: Lane, job: Job) -> None:
        lane.busy, lane.entry, job.running = True, 0, True
        if not job.unresolved:
            self._free -= 1
            queue.breaker.started()
        self._running[job.account] += 1
        task = asyncio.create_task(self._run(lane, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, lane: Lane, job: Job) -> None:
        try:
            with own_cancellations():
                step = await self._work(job)
        except JournalClosed:
            step = Done()
        except Exception as error:
            self._die(error)
            raise
        finally:
            job.running = False
            self._running[job.account] -= 1
            if not self._running[job.account]:
                del self._running[job.account]
        if isinstance(step, Again) and not job.shard.closed:
            asyncio.get_running_loop().call_later(step.delay_s, self._ready, lane)
            return
        lane.remove(job)
        self._ready(lane)

    async def _work(self, job: Job) -> Step:
        if job.unresolved:
            return await self._resolve(job, Unresolved(0.0))
        try:
            step = await self._attempt(job)
        finally:
            self._free += 1
            self._dispatch_soon()
        if isinstance(step, Unresolved):
            return await self._resolve(job, step)
        return step

    def _ready(self, lane: Lane) -> None:
        lane.busy = False
        if lane.jobs:
            self._enqueue(lane)
            self._dispatch_soon()
        else:
            self._lanes.pop(lane.key, None)

    async def quiet(self, wait_s: float) -> None:
        """Wait a while for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=wait_s)

    async def stop(self, wait_s: float) -> None:
        """Begin nothing any more, wait for what is under way, then cancel the rest (which the next owner reconciles)."""
        self._stopped = True
        await self.quiet(wait_s)
        for task in list(self._tasks):
            task.cancel()
