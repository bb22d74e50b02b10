"""An exit that the venue refused because there was nothing, or too little, to reduce. `exchanges.md` 3.2: -2022 and 110017 mean reconcile.

Enters: the refused exit. Leaves: its end state, or None: it is tried again, with what there is left to close.
"""

from __future__ import annotations

import logging

from engine.domain.values import SPOT_VENUES
from engine.exchanges.port import CallFailed, Credential
from engine.executor.desk import Desk, miss, settle_state
from engine.executor.jobs import Done, Job

log = logging.getLogger(__name__)


async def reconcile_exit(desk: Desk, job: Job, code: str) -> Done | None:
    """An exit ends only when it traded after all, or the position is proved flat."""
    order = job.order
    keys = await desk.credential(job.account)
    if keys is None:
        return await miss(desk, job, desk.no_keys(job.account))
    try:
        if job.attempts > 1 and (done := await _landed(desk, job, keys)):
            return done
        held = (await desk.exchanges[order.venue].account(keys, {})).position(order.symbol)
    except CallFailed as error:
        desk.limits.heed(job.account, error.judgement)
        log.warning("position of %s not read: %s", order.command_id, error)
        return None
    rules = desk.rules(order.venue, order.symbol)
    left = held if order.side == "sell" else -held
    if left <= 0 or (rules is not None and order.venue in SPOT_VENUES and left < max(rules.step, rules.min_quantity)):
        return await miss(desk, job, "position_flat", code)
    job.quantity = min(order.quantity, left)
    return None


async def _landed(desk: Desk, job: Job, keys: Credential) -> Done | None:
    """An earlier attempt that every source denied may be what left nothing to reduce: it is asked for once more."""
    state = await desk.exchanges[job.order.venue].find(keys, job.order)
    return await settle_state(desk, job, state) if state is not None and state.final and state.complete else None
