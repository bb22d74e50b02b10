"""A command on its way (`Job`), the queue of one account and symbol (`Lane`), and what one step of work ends in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Protocol

from engine.domain.messages import OrderSettled, PlaceOrder
from engine.domain.values import PRIORITY_RANK, Mode, Venue
from engine.executor.journal import Journal

RANKS = 2 * len(PRIORITY_RANK)


class Account(NamedTuple):
    """One account of a follower at a venue. `mode`: whose orders it takes, paper or live; None where one account takes all."""

    follower_id: str
    venue: Venue
    mode: Mode | None = None

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.venue, self.mode == "paper"

    def __str__(self) -> str:
        return " ".join(filter(None, (self.mode or "", f"account of {self.follower_id} on {self.venue}")))


Place = tuple[Venue, bool]
"""A venue, or (True) the paper venue beside it: what is away, slow or limited there concerns nobody here."""
LaneKey = tuple[Account, str]


class ShardOfJob(Protocol):
    """What a job needs of the shard it came from."""

    journal: Journal
    paused: bool
    """The group is being rebalanced: nothing new is attempted."""
    closed: bool
    """Another executor owns the shard."""

    async def settle(self, job: Job, settled: OrderSettled) -> None:
        """Record the end state of the job, once it is durable."""


@dataclass(slots=True, eq=False)
class Job:
    """One order on its way to its end state. `fence` (ms): no attempt so far can reach the book after it."""

    seq: int
    order: PlaceOrder
    account: Account
    """The one of the order's own mode."""
    shard: ShardOfJob
    quantity: Decimal
    attempts: int = 0
    since: int = 0
    fence: int = 0
    unresolved: bool = False
    """An attempt has no outcome: reconcile before anything else."""
    doubted: bool = False
    """An answer proved nothing, at some time."""
    duplicate: bool = False
    """The venue said that an order with our id exists."""
    cancelled: bool = False
    running: bool = False
    acknowledged_at: int | None = None
    attempted_at: int | None = None
    setbacks: int = 0
    """Attempts in a row that did not reach the book: what the back-off counts."""

    @property
    def lane_key(self) -> LaneKey:
        """Orders of one lane go one after the other."""
        return self.account, self.order.symbol

    @property
    def is_exit(self) -> bool:
        """Exits pass what stops opens."""
        return self.order.kind == "exit"

    @property
    def rank(self) -> int:
        """Exits before opens; then by priority."""
        return PRIORITY_RANK[self.order.priority] + (0 if self.is_exit else len(PRIORITY_RANK))


@dataclass(slots=True, eq=False)
class Lane:
    """Jobs of one account and symbol, in command order. A lane inherits the best rank among its jobs."""

    key: LaneKey
    jobs: deque[Job] = field(default_factory=deque)
    ranks: list[int] = field(default_factory=lambda: [0] * RANKS)
    entry: int = 0
    """Number of its valid entry in the queue; 0 when it has none."""
    busy: bool = False
    """Its head is being worked on, or waits for its time."""

    def push(self, job: Job) -> None:
        """Behind the others."""
        self.jobs.append(job)
        self.ranks[job.rank] += 1

    def remove(self, job: Job) -> bool:
        """Out of the lane; False when it is not in it."""
        if job not in self.jobs:
            return False
        self.jobs.remove(job)
        self.ranks[job.rank] -= 1
        return True

    @property
    def rank(self) -> int:
        """Best rank of its jobs."""
        return next(rank for rank, count in enumerate(self.ranks) if count)


@dataclass(frozen=True, slots=True)
class Done:
    """The job has its end state."""


@dataclass(frozen=True, slots=True)
class Again:
    """The job needs another attempt, not before `delay_s` from now."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Unresolved:
    """The last attempt proves nothing: reconcile, without a slot."""

    delay_s: float = 0.3


Step = Done | Again | Unresolved
