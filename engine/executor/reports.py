"""Reports of accounts: equity, positions and open orders, and the check of the keys.

Enters: "this account changed", time. Leaves: records on the account's own partition of `trade.executions.v1`. Reports yield to orders:
they use only a share of each budget, and wait a while when orders wait.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Container
from decimal import Decimal
from typing import Any, Final

from engine.domain.messages import AccountChecked, EquityReported, OpenOrdersReported, PositionsReported
from engine.domain.values import Venue
from engine.exchanges.port import AccountView, CallFailed, Credential, Exchange, Hint
from engine.executor.accounts import Directory
from engine.executor.jobs import Account
from engine.executor.journal import Journal, JournalClosed
from engine.executor.limits import Limits
from engine.executor.meters import REPORTS

log = logging.getLogger(__name__)
COALESCE_S: Final = 1.0
"""Least time between two reports of one account."""
RETRY_S: Final = 2.0
AT_ONCE: Final = 8
PATIENCE_S: Final = 10.0
"""How long a report that is due lets orders go first."""
YIELD_S: Final = 0.25
LONGEST_WAIT_S: Final = 2.0
"""Longest wait for a budget that holds up the reports of other accounts."""


def _whose(account: Account, journal: Journal) -> dict[str, Any]:
    """What every report of an account begins with."""
    return {"epoch": journal.epoch, "follower_id": account.follower_id, "venue": account.venue, "mode": account.mode}


class AccountReports:
    """Keeps every account's equity and positions reported."""

    def __init__(
        self,
        directory: Directory,
        exchanges: dict[Venue, Exchange],
        started: Container[Venue],
        limits: Limits,
        marks: dict[Venue, dict[str, Decimal]],
        journal_of: Callable[[Account], Journal | None],
        in_flight: Callable[[Account], int],
        busy: Callable[[], bool],
        interval_s: float,
        orders_interval_s: float,
        now: Callable[[], int],
    ) -> None:
        self._directory, self._exchanges, self._limits, self._marks = directory, exchanges, limits, marks
        self._journal_of, self._in_flight, self._interval_s, self._now = journal_of, in_flight, interval_s, now
        self._busy, self._started, self._orders_interval_s = busy, started, orders_interval_s
        self._due: dict[Account, float] = {}
        self._heap: list[tuple[float, Account]] = []
        self._last: dict[Account, float] = {}
        self._orders_due: dict[Account, float] = {}
        self._views: dict[Account, AccountView] = {}
        self._checked: dict[Account, tuple[str, ...]] = {}
        self._flat_since: dict[Account, int] = {}
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def view(self, account: Account) -> AccountView | None:
        """The newest report, None once the account has traded since."""
        return self._views.get(account)

    def touched(self, account: Account, doubted: bool = False) -> None:
        """The account traded: report it soon, with its open orders when what became of one was in doubt."""
        if doubted:
            self._orders_due.pop(account, None)
        self._views.pop(account, None)
        self._flat_since.pop(account, None)
        self._plan(account, max(time.monotonic(), self._last.get(account, 0.0) + COALESCE_S))

    def flat_since(self, account: Account) -> int | None:
        """Since when (ms) every report showed no position and nothing was traded; None while it holds something or is not known."""
        return self._flat_since.get(account)

    def appeared(self, account: Account) -> None:
        """A new account, new keys (of whatever account at the venue), or a shard of ours: check and report it."""
        self._views.pop(account, None)
        self._flat_since.pop(account, None)
        self._checked.pop(account, None)
        self._orders_due.pop(account, None)
        self._plan(account, time.monotonic())

    def _plan(self, account: Account, at: float) -> None:
        known = self._due.get(account)
        if known is None or at < known:
            self._due[account] = at
            heapq.heappush(self._heap, (at, account))
            self._wake.set()

    async def run(self) -> None:
        """Report what is due, for ever."""
        try:
            while True:
                await self._slots.acquire()
                account = await self._next()
                task = asyncio.create_task(self._report(account))
                self._tasks.add(task)
                task.add_done_callback(self._done)
        finally:
            # A report under way would write to a journal that is drained already.
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()):
            log.error("a report failed", exc_info=error)

    async def _next(self) -> Account:
        while True:
            self._wake.clear()
            while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
                heapq.heappop(self._heap)
            wait = self._heap[0][0] - time.monotonic() if self._heap else None
            if wait is not None and self._busy() and wait > -PATIENCE_S:
                await asyncio.sleep(YIELD_S)
                continue
            if wait is not None and wait <= 0:
                account = heapq.heappop(self._heap)[1]
                del self._due[account]
                return account
            try:
                # Not `wait_for`: in Python 3.11 it loses a cancellation that comes with the wake-up, and the process never ends.
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _report(self, account: Account) -> None:
        journal, keys = self._journal_of(account), await self._directory.credential(account)
        if journal is None or keys is None:
            return
        venue = account.venue
        if venue not in self._started:
            self._plan(account, time.monotonic() + RETRY_S)
            return
        while wait := self._limits.take_read(account, venue):
            if wait > LONGEST_WAIT_S:
                self._plan(account, time.monotonic() + wait)
                return
            # Waiting here keeps the turn: whoever is planned anew may lose it to others for ever.
            await asyncio.sleep(wait)
        asked_at, before = self._now(), self._in_flight(account)
        try:
            view = await self._exchanges[venue].account(keys, self._marks.get(venue, {}))
        except CallFailed as error:
            self._failed(account, error)
            return
        REPORTS.labels(venue, "read").inc()
        in_flight = max(before, self._in_flight(account))
        if not in_flight:
            self._views[account] = view
        if view.positions or in_flight:
            self._flat_since.pop(account, None)
        else:
            self._flat_since.setdefault(account, asked_at)
        self._last[account] = time.monotonic()
        self._plan(account, time.monotonic() + self._interval_s)
        try:
            await self._append(account, journal, view, in_flight, asked_at)
            if account not in self._checked:
                await self.reasons_against_live(account)
            await self._report_orders(account, journal, keys)
        except JournalClosed:
            return

    async def _report_orders(self, account: Account, journal: Journal, keys: Credential) -> None:
        """Open orders when they are due; without the budget for it now, with the next report."""
        began, at = time.monotonic(), self._now()
        if began < self._orders_due.get(account, 0.0) or self._limits.take_read(account, account.venue, "open_orders"):
            return
        try:
            found = await self._exchanges[account.venue].open_orders(keys)
        except CallFailed as error:
            self._failed(account, error)
            return
        self._orders_due[account] = began + self._orders_interval_s
        await journal.append(OpenOrdersReported(**_whose(account, journal), orders=found, at=at), account.follower_id)

    def _failed(self, account: Account, error: CallFailed) -> None:
        REPORTS.labels(account.venue, "failed").inc()
        log.info("%s not read: %s", account, error)
        self._limits.heed(account, error.judgement)
        slow = error.judgement.hint is Hint.KEYS
        self._plan(account, time.monotonic() + (max(self._interval_s, RETRY_S) if slow else RETRY_S))

    async def _append(self, account: Account, journal: Journal, view: AccountView, in_flight: int, at: int) -> None:
        whose, follower = _whose(account, journal), account.follower_id
        equity = EquityReported(**whose, equity=view.equity, available=view.available, at=at)
        positions = PositionsReported(**whose, positions=view.positions, in_flight=in_flight, at=at)
        await asyncio.gather(journal.append(equity, follower), journal.append(positions, follower))

    async def refused_live(self, account: Account) -> str:
        """Why live trading is refused, empty when it is allowed."""
        return ",".join(await self.reasons_against_live(account))

    async def reasons_against_live(self, account: Account) -> tuple[str, ...]:
        """Check the keys and modes of an account (once), record the result."""
        known = self._checked.get(account)
        if known is not None:
            return known
        keys, journal = await self._directory.credential(account), self._journal_of(account)
        if keys is None or journal is None:
            return ("no_credential",)
        try:
            reasons = await self._exchanges[account.venue].check(keys)
        except CallFailed as error:
            self._limits.heed(account, error.judgement)
            log.info("%s not checked: %s", account, error)
            return ("check_failed",)
        self._checked[account] = reasons
        checked = AccountChecked(**_whose(account, journal), allowed=not reasons, reasons=reasons, at=self._now())
        await journal.append(checked, account.follower_id)
        return reasons
