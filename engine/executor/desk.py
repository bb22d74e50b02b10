"""What every step of an order works with (`Desk`), and how its end state is written down."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from engine.domain.messages import OrderSettled, PlaceOrder
from engine.domain.values import MarketRules, Mode, SettledStatus, Venue
from engine.exchanges.port import CallFailed, Credential, Exchange, Judgement, OrderState
from engine.executor.breaker import Breaker
from engine.executor.jobs import Account, Done, Job, Place
from engine.executor.limits import Limits
from engine.executor.switches import Switches

log = logging.getLogger(__name__)
KEYS_REFUSED_S: Final = 60.0
"""How long nothing is opened with keys that the venue refused."""


class RefusedKeys:
    """Accounts whose keys a venue refused (revoked, another IP, a temporary ban). Other keys, or a minute, lift it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[Account, tuple[int, float]] = {}

    def note(self, account: Account, keys: Credential) -> None:
        """The venue refused these keys now."""
        self._until[account] = keys.version, self._clock() + KEYS_REFUSED_S

    def holds(self, account: Account, keys: Credential) -> bool:
        """Whether these keys were refused a moment ago."""
        version, until = self._until.get(account, (0, 0.0))
        return version == keys.version and self._clock() < until


class Leverage(Protocol):
    """Brings the account's leverage to what the order wants, when flat."""

    async def prepare(self, account: Account, keys: Credential, order: PlaceOrder) -> Judgement:
        """ACCEPTED when the order may go."""


@dataclass(frozen=True)
class Desk:
    """Everything an attempt works with."""

    exchanges: dict[Venue, Exchange]
    started: set[Venue]
    """Venues whose markets are loaded."""
    credential: Callable[[Account], Awaitable[Credential | None]]
    """An account's keys; None only when the vault answered that it has none."""
    is_known: Callable[[Account], bool]
    refused_live: Callable[[Account], Awaitable[str]]
    """Why live trading is refused, empty when it is allowed."""
    leverage: Leverage
    switches: Switches
    limits: Limits
    breakers: dict[Place, Breaker]
    refused_keys: RefusedKeys
    rules: Callable[[Venue, str], MarketRules | None]
    now: Callable[[], int]
    recv_window_ms: int
    simulated: bool
    """There is somewhere for paper orders to go."""
    absent_quiet_s: float
    engine_time_s: float

    def no_keys(self, account: Account) -> str:
        """Why an order of the account cannot be sent; keys of the follower's account of the other mode are none for it."""
        others: dict[Mode | None, Mode] = {"paper": "live", "live": "paper"}
        other = others.get(account.mode)
        return "account_of_other_mode" if other and self.is_known(account._replace(mode=other)) else "no_credential"

    def refusal(self, job: Job) -> str:
        """Reason why the order must not be sent (again) now; empty when it may. Asked only of orders of which no attempt is in the book."""
        order = job.order
        if job.cancelled:
            return "cancelled"
        if order.kind == "open" and order.expires_at is not None and self.now() >= order.expires_at:
            return "signal_expired"
        if order.mode == "shadow":
            return "shadow"
        if order.mode == "paper" and not self.simulated:
            return "paper_without_simulator"
        return self.switches.refusal(order)


def end(desk: Desk, job: Job, status: SettledStatus, reason: str = "", code: str = "", state: OrderState | None = None) -> OrderSettled:
    """The end state of a job as a record."""
    return OrderSettled(
        epoch=job.shard.journal.epoch,
        seq=job.seq,
        command_id=job.order.command_id,
        follower_id=job.order.follower_id,
        status=status,
        reason=reason,
        raw_code=code,
        exchange_order_id=state.exchange_order_id if state else "",
        filled=state.filled if state else Decimal(0),
        average_price=state.average_price if state else None,
        fee_base=state.fee_base if state else Decimal(0),
        fee_quote=state.fee_quote if state else Decimal(0),
        attempts=job.attempts,
        attempted_at=job.attempted_at,
        acknowledged_at=job.acknowledged_at,
        settled_at=desk.now(),
    )


async def settle_state(desk: Desk, job: Job, state: OrderState) -> Done:
    """Record what a final order came to."""
    if state.refused and not state.filled:
        await job.shard.settle(job, end(desk, job, "rejected", state.refused, state.status, state))
    else:
        status: SettledStatus = "filled" if state.filled >= job.order.quantity else "partial" if state.filled else "unfilled"
        await job.shard.settle(job, end(desk, job, status, "", state.status, state))
    return Done()


async def sync_clock(desk: Desk, job: Job) -> None:
    """Measure the clock of the job's venue; what keeps it from being measured is no reason to stop."""
    try:
        await desk.exchanges[job.order.venue].sync_clock()
    except CallFailed as error:
        desk.limits.heed(job.account, error.judgement)
        log.warning("clock of %s not measured: %s", job.order.venue, error)


async def miss(desk: Desk, job: Job, reason: str, code: str = "") -> Done:
    """Record that the order was not placed."""
    await job.shard.settle(job, end(desk, job, "missed", reason, code))
    return Done()
