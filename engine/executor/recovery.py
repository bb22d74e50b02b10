"""Reconciliation of one order: after an answer that proves nothing, after an acknowledgement, after a restart. `exchanges.md` 3.3, 5 to 7.

Enters: a job with an attempt behind it. Leaves: its end state, or (proved absent and still wanted) another attempt with the same id.
Nothing is ever sent here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from engine.domain.values import SPOT_VENUES
from engine.exchanges.port import CallFailed, Credential, Hint, OrderState
from engine.executor.desk import Desk, end, miss, settle_state, sync_clock
from engine.executor.jobs import Again, Done, Job, Step, Unresolved

QUERIES_AT_ONCE: Final = 16
CLOCK_MARGIN_MS: Final = 1000
BYBIT_QUIET_S: Final = 15.0
"""Longest quiet period where a wrong ABSENT is harmless: the venue refuses a used id for ever."""
ACKNOWLEDGED_DELAYS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
"""An acknowledged order is matched within milliseconds: asking at once would ask twice."""
DELAYS_S: Final = (0.3, 0.7, 1.0, 2.0, 4.0)
"""Queries 0.3, 1, 2, 4 and 8 s after the attempt, then every 4 s or oftener near the end of the proof."""


class Recovery:
    """Finds out what became of attempts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._queries = asyncio.Semaphore(QUERIES_AT_ONCE)

    async def resolve(self, job: Job, why: Unresolved) -> Step:
        """Ask until the order is final, or absent for certain."""
        desk = self._desk
        delays = self._delays(acknowledged=not job.unresolved, first=why.delay_s)
        quiet_since: int | None = None
        while not job.shard.closed:
            await asyncio.sleep(next(delays))
            keys = await desk.credential(job.account)
            if keys is None:
                continue
            past_fence = desk.now() >= self._fence(job)
            try:
                state, absent = await self._ask(job, keys, every_source=past_fence)
            except CallFailed as error:
                await self._asked_in_vain(job, error)
                quiet_since = None
                continue
            if state is not None and state.final and state.complete:
                return await self._found(job, state)
            if not absent:
                quiet_since = None
                continue
            quiet_since = quiet_since or desk.now()
            if desk.now() - quiet_since >= self._quiet_s(job) * 1000:
                return await self._absent(job)
        return Done()

    def _delays(self, acknowledged: bool, first: float) -> Iterator[float]:
        if acknowledged:
            yield from ACKNOWLEDGED_DELAYS_S
        elif not first:
            yield 0.0
        yield from DELAYS_S
        while True:
            yield min(DELAYS_S[-1], max(self._desk.absent_quiet_s / 3, 0.1))

    def _fence(self, job: Job) -> int:
        return job.fence + CLOCK_MARGIN_MS + int(self._desk.engine_time_s * 1000)

    def _quiet_s(self, job: Job) -> float:
        venue = job.order.venue
        if self._desk.exchanges[venue].resend_safe:
            return min(self._desk.absent_quiet_s, BYBIT_QUIET_S)
        # A spot exit is no reduce-only order: sending it again after a wrong ABSENT would sell twice.
        return self._desk.absent_quiet_s * (2 if job.is_exit and venue in SPOT_VENUES else 1)

    async def _ask(self, job: Job, keys: Credential, every_source: bool) -> tuple[OrderState | None, bool]:
        desk, order = self._desk, job.order
        wait = desk.limits.take_read(job.account, order.venue, "query")
        while wait:
            await asyncio.sleep(wait)
            wait = desk.limits.take_read(job.account, order.venue, "query")
        exchange, absent = desk.exchanges[order.venue], False
        async with self._queries:
            if every_source:
                state, absent = await exchange.search(keys, order, job.since)
            else:
                state = await exchange.find(keys, order)
        if state is not None and state.final and not state.complete:
            state = await exchange.details(keys, order, state)
        return state, absent

    async def _asked_in_vain(self, job: Job, error: CallFailed) -> None:
        self._desk.limits.heed(job.account, error.judgement)
        if error.judgement.hint is Hint.CLOCK:
            await sync_clock(self._desk, job)

    async def _found(self, job: Job, state: OrderState) -> Step:
        job.acknowledged_at = job.acknowledged_at or self._desk.now()
        return await settle_state(self._desk, job, state)

    async def _absent(self, job: Job) -> Step:
        """No source knows it and nothing can still arrive."""
        desk, order = self._desk, job.order
        if job.duplicate or job.acknowledged_at is not None:
            # It was there, so it ended, and without a trade: trades stay findable for years.
            await job.shard.settle(job, end(desk, job, "unfilled", "unfindable"))
            return Done()
        if order.kind == "open" and not desk.exchanges[order.venue].resend_safe:
            return await miss(desk, job, "absent")
        if reason := desk.refusal(job):
            return await miss(desk, job, reason)
        job.unresolved = False
        return Again(0.0)
