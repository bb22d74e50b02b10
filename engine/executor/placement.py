"""One attempt at one order: last checks, durable attempt record, one POST, judgement. `exchanges.md` 3.3, steps 2 to 4.

Enters: a job. Leaves: a `Step`: done (an end state is on the log), another attempt later, or unresolved (see `recovery`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR
from typing import Final

from engine.domain.messages import OrderAttempted, OrderUnknown
from engine.domain.values import SPOT_VENUES
from engine.exchanges.port import Answer, CallFailed, Credential, Hint, Judgement, OrderRequest, OrderState, Verdict
from engine.executor.desk import Desk, end, miss, settle_state, sync_clock
from engine.executor.exits import reconcile_exit
from engine.executor.jobs import Again, Done, Job, Step, Unresolved
from engine.executor.meters import count_attempt

FIRST_BACKOFF_S: Final = 0.2
LONGEST_BACKOFF_S: Final = 30.0
KEYS_BACKOFF_S: Final = 60.0


class Placement:
    """Attempts. Holds no state of its own."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def attempt(self, job: Job) -> Step:
        """Everything from the last checks to the verdict; a probe of the breaker ends with it."""
        try:
            return await self._attempt(job)
        finally:
            self._desk.breakers[job.account.place].abandoned()

    async def _attempt(self, job: Job) -> Step:
        desk, order = self._desk, job.order
        if job.shard.paused:
            return Again(FIRST_BACKOFF_S)
        if reason := desk.refusal(job):
            return await miss(desk, job, reason)
        if order.venue not in desk.started:
            return self._back_off(job)
        keys = await desk.credential(job.account)
        if keys is None:
            return await miss(desk, job, desk.no_keys(job.account))
        assert job.account.mode in (None, order.mode) and (job.account.mode is None or keys.paper == (order.mode == "paper"))
        if order.kind == "open" and desk.refused_keys.holds(job.account, keys):
            return await miss(desk, job, "keys_refused")
        if order.mode == "live" and order.kind == "open" and (reason := await desk.refused_live(job.account)):
            return await miss(desk, job, "account_refused", reason)
        request = self._request(job)
        if request is None:
            return await miss(desk, job, "below_minimum")
        if order.kind == "open" and order.venue not in SPOT_VENUES:
            verdict = await desk.leverage.prepare(job.account, keys, order)
            if verdict.verdict is not Verdict.ACCEPTED:
                return await self._leverage_failed(job, verdict)
        if reason := desk.refusal(job):
            return await miss(desk, job, reason)
        return await self._send(job, keys, request)

    def _request(self, job: Job) -> OrderRequest | None:
        order, rules = job.order, self._desk.rules(job.order.venue, job.order.symbol)
        quantity, price = job.quantity, order.limit_price
        if rules is not None:
            quantity = quantity // rules.step * rules.step if rules.step else quantity
            if price is not None and rules.tick:
                # The bound holds: a buy is rounded down, a sell up.
                price = (price / rules.tick).to_integral_value(ROUND_FLOOR if order.side == "buy" else ROUND_CEILING) * rules.tick
        if quantity <= 0:
            return None
        return OrderRequest(order.command_id, order.symbol, order.side, quantity, price, order.reduce_only, 0, self._desk.recv_window_ms)

    async def _send(self, job: Job, keys: Credential, request: OrderRequest) -> Step:
        desk, order = self._desk, job.order
        sent_at = desk.now()
        job.attempts += 1
        attempted = OrderAttempted(
            epoch=job.shard.journal.epoch,
            seq=job.seq,
            attempt=job.attempts,
            sent_at=sent_at,
            recv_window_ms=desk.recv_window_ms,
            order=order,
        )
        await job.shard.journal.append(attempted, order.follower_id)
        if reason := desk.refusal(job):
            return await miss(desk, job, reason)
        job.attempted_at = job.attempted_at or sent_at
        job.since = job.since or sent_at
        job.fence = sent_at + desk.recv_window_ms
        began = time.perf_counter()
        answer = await desk.exchanges[order.venue].place(keys, replace(request, sent_at=sent_at))
        count_attempt(job, answer.judgement, time.perf_counter() - began)
        return await self._act(job, answer)

    async def _act(self, job: Job, answer: Answer) -> Step:
        desk, verdict = self._desk, answer.judgement
        self._tell_breaker(job, verdict)
        match verdict.verdict:
            case Verdict.ACCEPTED:
                job.setbacks, job.acknowledged_at = 0, desk.now()
                return await self._accepted(job, answer.state)
            case Verdict.NOT_SENT if verdict.hint is Hint.LOCAL:
                return await miss(desk, job, "refused_locally", verdict.reason[:60])
            case Verdict.NOT_SENT:
                return self._back_off(job)
            case Verdict.REJECTED:
                return await self._rejected(job, verdict)
            case Verdict.UNKNOWN:
                job.unresolved = job.doubted = True
                job.duplicate = verdict.hint is Hint.DUPLICATE
                await job.shard.journal.append(self._unknown(job, verdict), job.order.follower_id)
                return Unresolved()

    async def _accepted(self, job: Job, state: OrderState | None) -> Step:
        """A reply that shows the end state settles it (with its fees); else the order is followed."""
        desk, order = self._desk, job.order
        if state is None or not state.final:
            return Unresolved(0.0)
        keys = await desk.credential(job.account)
        if not state.complete and keys is not None:
            try:
                state = await desk.exchanges[order.venue].details(keys, order, state)
            except CallFailed as error:
                desk.limits.heed(job.account, error.judgement)
                return Unresolved(0.0)
        return await settle_state(desk, job, state) if state.complete else Unresolved(0.0)

    def _tell_breaker(self, job: Job, verdict: Judgement) -> None:
        breaker = self._desk.breakers[job.account.place]
        failed = verdict.verdict is Verdict.UNKNOWN or (verdict.verdict is Verdict.NOT_SENT and verdict.hint is not Hint.LOCAL)
        if failed and verdict.hint is not Hint.DUPLICATE:
            breaker.failed()
        else:
            breaker.succeeded()

    def _unknown(self, job: Job, verdict: Judgement) -> OrderUnknown:
        return OrderUnknown(
            epoch=job.shard.journal.epoch,
            seq=job.seq,
            command_id=job.order.command_id,
            follower_id=job.order.follower_id,
            attempt=job.attempts,
            reason=f"{verdict.code} {verdict.reason}".strip(),
            at=self._desk.now(),
        )

    def _back_off(self, job: Job, first_s: float = FIRST_BACKOFF_S, longest_s: float = LONGEST_BACKOFF_S) -> Again:
        job.setbacks += 1
        return Again(min(first_s * 2 ** min(job.setbacks - 1, 20), longest_s))

    async def _rejected(self, job: Job, verdict: Judgement) -> Step:
        desk = self._desk
        if verdict.hint is Hint.LIMITED:
            return Again(min(desk.limits.pause(job.account, verdict), 1.0))
        if verdict.hint is Hint.CLOCK:
            return await self._clock_wrong(job)
        if verdict.hint is Hint.KEYS and (keys := await desk.credential(job.account)) is not None:
            desk.refused_keys.note(job.account, keys)
        if not job.is_exit or verdict.hint is Hint.FINAL:
            await job.shard.settle(job, end(desk, job, "rejected", verdict.reason, verdict.code))
            return Done()
        if verdict.hint in (Hint.RECONCILE, Hint.FUNDS):
            return await self._reconcile_exit(job, verdict)
        return self._back_off(job, 1.0, KEYS_BACKOFF_S if verdict.hint is Hint.KEYS else LONGEST_BACKOFF_S)

    async def _clock_wrong(self, job: Job) -> Step:
        await sync_clock(self._desk, job)
        return self._back_off(job)

    async def _reconcile_exit(self, job: Job, verdict: Judgement) -> Step:
        step = await reconcile_exit(self._desk, job, verdict.code)
        return step if step is not None else self._back_off(job, 1.0)

    async def _leverage_failed(self, job: Job, verdict: Judgement) -> Step:
        if verdict.verdict is Verdict.REJECTED and verdict.hint not in (Hint.LIMITED, Hint.CLOCK):
            await job.shard.settle(job, end(self._desk, job, "rejected", f"leverage: {verdict.reason}", verdict.code))
            return Done()
        self._desk.limits.heed(job.account, verdict)
        if not verdict.code and verdict.hint is Hint.NONE:
            # No answer at all: such calls hold their slots until they time out, and other venues need them.
            self._desk.breakers[job.account.place].failed()
        return self._back_off(job)
