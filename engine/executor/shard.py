"""One shard's commands in this process: what was read, what is on its way, what has ended.

Enters: records of `trade.commands.v1`. Leaves: jobs for the scheduler, end states on `trade.executions.v1`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from engine.domain.messages import CancelOrder, OrderSettled, PlaceOrder, TradeCommand
from engine.errors import LogCorrupt
from engine.executor.history import History, OpenAttempt
from engine.executor.jobs import Account, Job
from engine.executor.journal import Journal
from engine.executor.meters import count_settled
from engine.executor.scheduler import Scheduler
from engine.executor.seqs import FundingMark, Hint, Seqs

_DECODER = msgspec.json.Decoder(TradeCommand)


@dataclass(eq=False)
class Shard:
    """A shard this process has claimed. `settled` hears of every end state (and of past doubt); `account_of` says where an order goes."""

    number: int
    journal: Journal
    scheduler: Scheduler
    seqs: Seqs
    settled: Callable[[Account, bool], None]
    account_of: Callable[[PlaceOrder], Account]
    paused: bool = False
    closed: bool = False
    next_command: int = 0
    rewound: bool = False
    jobs: dict[str, Job] = field(default_factory=dict)
    committed: tuple[int, Hint] | None = None
    funding: FundingMark | None = None
    """How far funding is reported; goes with the hint to the next owner."""

    def recover(self, history: History) -> None:
        """Queue the attempts without an outcome, to be reconciled before anything of their account and symbol."""
        for attempt in sorted(history.open.values(), key=lambda found: found.seq):
            self._enqueue(_recovered(attempt, self))

    def read(self, offset: int, value: bytes) -> None:
        """Take in one command record; repeats are dropped. Raises `SeqGap`, `LogCorrupt`."""
        try:
            command = _DECODER.decode(value)
        except msgspec.DecodeError as error:
            raise LogCorrupt(f"command at offset {offset} cannot be read: {error}") from error
        new = self.seqs.read(command.seq, offset, self.journal.next_offset, self.journal.epoch)
        self.next_command = offset + 1
        if not new or self.seqs.has_ended(command.seq):
            return
        match command.body:
            case PlaceOrder() as order:
                if order.command_id not in self.jobs:
                    self._enqueue(Job(command.seq, order, self.account_of(order), self, order.quantity))
            case CancelOrder() as cancel:
                self._cancel(cancel.command_id)
                self.seqs.end(command.seq)

    def _enqueue(self, job: Job) -> None:
        self.jobs[job.order.command_id] = job
        self.scheduler.add(job)

    def _cancel(self, command_id: str) -> None:
        job = self.jobs.get(command_id)
        if job is not None:
            job.cancelled = True

    async def settle(self, job: Job, settled: OrderSettled) -> None:
        """Record the end state of the job, once it is durable."""
        await self.journal.append(settled, settled.follower_id)
        self.seqs.end(job.seq)
        self.jobs.pop(job.order.command_id, None)
        count_settled(job, settled)
        self.settled(job.account, job.doubted)

    def resume_point(self) -> tuple[int, Hint] | None:
        """What to commit to the group, when it has changed."""
        found = self.seqs.resume(self.next_command, self.journal.next_offset, self.journal.epoch)
        if found is None:
            return None
        point = found[0], msgspec.structs.replace(found[1], funding=self.funding)
        return point if point != self.committed else None

    def close(self) -> None:
        """Another executor owns the shard, or will: write nothing, attempt nothing."""
        self.closed = self.paused = True
        self.journal.close()
        self.scheduler.drop(self.jobs.values())


def _recovered(attempt: OpenAttempt, shard: Shard) -> Job:
    return Job(
        attempt.seq,
        attempt.order,
        shard.account_of(attempt.order),
        shard,
        attempt.order.quantity,
        attempts=attempt.attempts,
        since=attempt.since,
        fence=attempt.not_after,
        attempted_at=attempt.since,
        unresolved=True,
        doubted=True,
    )
