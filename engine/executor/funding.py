"""Funding payments of perpetual accounts as records, each exactly once.

Enters: time, the venues' own lists of payments. Leaves: `FundingReported` on the account's partition, oldest first. What is reported is
known from the log: the mark that goes with the shard's hint says where on it to look, and payments are told apart by their ids.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from engine.config import Settings
from engine.domain.messages import Execution, ExecutorClaimed, FundingReported
from engine.domain.values import SPOT_VENUES, Venue
from engine.exchanges.port import CallFailed, Credential, Exchange, Funding, Hint
from engine.executor.jobs import Account
from engine.executor.journal import JournalClosed
from engine.executor.limits import Limits
from engine.executor.seqs import FundingMark
from engine.executor.shard import Shard
from engine.log.consume import open_consumer, read_range
from engine.topology import EXECUTIONS, shard_of

log = logging.getLogger(__name__)
OVERLAP_MS: Final = 600_000
"""A venue may list a payment this late: so much is asked for again each time."""
MARGIN_MS: Final = 60_000
"""More than the venues' clocks and ours can differ."""
AFTER_THE_HOUR_MS: Final = 20_000
"""Venues settle on full hours: the list is complete a little later."""
AT_ONCE: Final = 4
_DECODER = msgspec.json.Decoder(Execution)


@dataclass(slots=True)
class Book:
    """What is known of one shard's payments. `checkpoints`: (ms, execution offset) pairs; later payments are reported behind them."""

    shard: Shard
    since: int
    asked: dict[Account, int] = field(default_factory=dict)
    """Every payment before it was seen, by account."""
    seen: dict[Account, dict[str, int]] = field(default_factory=dict)
    checkpoints: list[FundingMark] = field(default_factory=list)

    def mark(self, accounts: Iterable[Account]) -> FundingMark:
        """How far everything is reported, with the newest place on the log that is surely before the rest."""
        paid_to = max(min((self.asked[account] for account in accounts), default=self.checkpoints[-1].paid_to) - OVERLAP_MS, self.since)
        while len(self.checkpoints) > 1 and self.checkpoints[1].paid_to <= paid_to - MARGIN_MS:
            self.checkpoints.pop(0)
        return msgspec.structs.replace(self.checkpoints[0], paid_to=paid_to)

    def forget(self, account: Account) -> None:
        """Ids that no later answer can contain."""
        until = self.asked[account] - 2 * OVERLAP_MS
        self.seen[account] = {number: at for number, at in self.seen.get(account, {}).items() if at >= until}


class FundingReports:
    """Asks for payments a little after each `funding_interval_s` of the clock; an account that was flat since before it was asked for last
    is left alone."""

    def __init__(
        self,
        settings: Settings,
        exchanges: dict[Venue, Exchange],
        started: Container[Venue],
        limits: Limits,
        credential: Callable[[Account], Awaitable[Credential | None]],
        accounts: Callable[[], list[Account]],
        owned: Callable[[], dict[int, Shard]],
        flat_since: Callable[[Account], int | None],
        now: Callable[[], int],
    ) -> None:
        self._settings, self._exchanges, self._limits, self._credential = settings, exchanges, limits, credential
        self._started = started
        self._accounts, self._owned, self._flat_since, self._now = accounts, owned, flat_since, now
        self._books: dict[int, Book] = {}
        self._wake = asyncio.Event()
        self._unreadable: set[Account] = set()

    def taken(self) -> None:
        """A shard became ours."""
        self._wake.set()

    async def run(self) -> None:
        """Report for ever; a shard's payments since its last owner at once."""
        while True:
            self._wake.clear()
            for number, shard in list(self._owned().items()):
                if number not in self._books or self._books[number].shard is not shard:
                    self._books[number] = await self._open(shard)
                    await self._round(self._books[number])
            try:
                async with asyncio.timeout((self._next_due() - self._now()) / 1000):
                    await self._wake.wait()
            except TimeoutError:
                for book in [book for number, book in self._books.items() if self._owned().get(number) is book.shard]:
                    await self._round(book)

    def _next_due(self) -> int:
        interval_ms = int(self._settings.funding_interval_s * 1000)
        late_ms = min(AFTER_THE_HOUR_MS, interval_ms // 4)
        return ((self._now() - late_ms) // interval_ms + 1) * interval_ms + late_ms

    def _of(self, shard: Shard) -> list[Account]:
        found = (account for account in self._accounts() if account.venue not in SPOT_VENUES)
        return [account for account in found if shard_of(account.follower_id, self._settings.partitions) == shard.number]

    async def _open(self, shard: Shard) -> Book:
        """The shard's book as the log has it. Without a mark nothing was ever traded here: what is paid from now on counts."""
        mark = shard.funding or FundingMark(self._now(), shard.journal.epoch + 1, shard.journal.epoch)
        book = Book(shard, mark.paid_to, checkpoints=[mark])
        async with open_consumer(self._settings) as consumer:
            topic, epoch = self._settings.topic(EXECUTIONS), mark.epoch
            async for records in read_range(consumer, topic, shard.number, mark.offset, shard.journal.epoch):
                for record in records:
                    epoch = self._fold(book, record.offset, record.value or b"", epoch)
        book.asked = dict.fromkeys(self._of(shard), mark.paid_to)
        return book

    def _fold(self, book: Book, offset: int, value: bytes, epoch: int) -> int:
        if b"FundingReported" not in value and b"ExecutorClaimed" not in value:
            return epoch
        match _DECODER.decode(value):
            case ExecutorClaimed():
                return offset
            case FundingReported() as report if report.epoch == epoch:
                # Older reports do not say whose they were: their ids count as seen in both modes.
                for mode in (report.mode,) if report.mode else (None, "paper", "live"):
                    book.seen.setdefault(Account(report.follower_id, report.venue, mode), {})[report.funding_id] = report.at
        return epoch

    async def _round(self, book: Book) -> None:
        shard, accounts = book.shard, self._of(book.shard)
        book.checkpoints.append(FundingMark(self._now(), shard.journal.next_offset, shard.journal.epoch))
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(account: Account) -> None:
            async with gate:
                await self._account(book, account)

        try:
            await asyncio.gather(*(one(account) for account in accounts))
        except JournalClosed:
            return
        shard.funding = book.mark(account for account in accounts if account not in self._unreadable)

    async def _account(self, book: Book, account: Account) -> None:
        asked_at, flat_since = self._now(), self._flat_since(account)
        since = book.asked.setdefault(account, asked_at)
        keys = await self._credential(account)
        if account.venue not in self._started:
            return
        if keys is None or (flat_since is not None and flat_since <= since):
            book.asked[account] = asked_at
            return
        wait = self._limits.take_read(account, account.venue, "funding")
        while wait:
            await asyncio.sleep(wait)
            wait = self._limits.take_read(account, account.venue, "funding")
        try:
            paid = await self._exchanges[account.venue].funding(keys, max(since - OVERLAP_MS, book.since))
        except CallFailed as error:
            self._failed(account, error)
            return
        self._unreadable.discard(account)
        await self._report(book, account, paid)
        book.asked[account] = asked_at
        book.forget(account)

    def _failed(self, account: Account, error: CallFailed) -> None:
        log.info("funding of %s not read: %s", account, error)
        self._limits.heed(account, error.judgement)
        if error.judgement.hint is Hint.KEYS:
            # Such an account must not hold back for ever what a new owner may leave out.
            self._unreadable.add(account)

    async def _report(self, book: Book, account: Account, paid: list[Funding]) -> None:
        seen = book.seen.setdefault(account, {})
        for payment in paid:
            if payment.funding_id in seen or payment.at < book.since:
                continue
            report = FundingReported(
                epoch=book.shard.journal.epoch,
                follower_id=account.follower_id,
                venue=account.venue,
                symbol=payment.symbol,
                funding_id=payment.funding_id,
                amount=payment.amount,
                at=payment.at,
                mode=account.mode,
            )
            await book.shard.journal.append(report, account.follower_id)
            seen[payment.funding_id] = payment.at
