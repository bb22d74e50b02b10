"""The executor process: commands in, orders at the venues, executions out. `await run(settings)`; it ends by `die` when fenced out.

Group offsets are the low watermark of what has ended, with a hint for the next owner; the log of executions is the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, NoReturn

from aiokafka.errors import KafkaError

from engine.config import Settings
from engine.domain.values import VENUES
from engine.exchanges.session import open_net, open_paper_net
from engine.exchanges.venues import open_venues
from engine.exchanges.wire import now_ms
from engine.executor import meters
from engine.executor.accounts import Directory, load_master_key, papers_of
from engine.executor.breaker import Breaker
from engine.executor.desk import Desk, RefusedKeys, miss
from engine.executor.funding import FundingReports
from engine.executor.group import Shards
from engine.executor.jobs import Account
from engine.executor.journal import Journal, JournalClosed
from engine.executor.leverage import LeverageBook
from engine.executor.limits import Limits
from engine.executor.market import Market
from engine.executor.placement import Placement
from engine.executor.recovery import Recovery
from engine.executor.reports import AccountReports
from engine.executor.scheduler import Scheduler
from engine.executor.switches import Switches, watch_control
from engine.fate import die, own_cancellations
from engine.lifecycle import announce_ready
from engine.log import reach
from engine.log.writer import build_producer, start
from engine.meters import Sample
from engine.topology import MARKET_REPORTS, shard_of

log = logging.getLogger(__name__)
SWEEP_S: Final = 0.5
SWEEP_CHUNK: Final = 500
NEVER: Final = 1 << 62


class Executor:
    """All parts of the process, wired together; call inside a running loop."""

    def __init__(
        self, settings: Settings, die: Callable[[BaseException], NoReturn] = die, loaded: Callable[[], None] = lambda: None
    ) -> None:
        self.settings, self._end, self._loaded = settings, die, loaded
        self.net, self.paper_net = open_net(settings), open_paper_net(settings)
        self.exchanges = open_venues(self.net, self.paper_net)
        self.producer = build_producer(settings, "remora-executor")
        self._limits = Limits(settings.venue_limits, time.monotonic, settings.ip_pause_s)
        self._breakers = {venue: Breaker(time.monotonic) for venue in VENUES}
        self._places = {(venue, False): breaker for venue, breaker in self._breakers.items()}
        self._places |= {(venue, True): Breaker(time.monotonic) for venue in VENUES}
        self._running: Counter[Account] = Counter()
        self.switches, self.switches_known, self._sweep_now = Switches(), asyncio.Event(), asyncio.Event()
        self._swept = 0
        self.stopping: asyncio.Task[None] | None = None
        dsn, master, papers = settings.database_url.get_secret_value(), load_master_key(settings), papers_of(settings)
        self.directory = Directory(dsn, master, papers, self._appeared)
        self.market = self._build_market()
        self.reports = self._build_reports()
        self.desk = self._build_desk()
        attempt, resolve = Placement(self.desk).attempt, Recovery(self.desk).resolve
        self.scheduler = Scheduler(attempt, resolve, self._limits, self._places, self._running, settings.orders_in_flight, self._die)
        self.shards = Shards(
            settings, self.producer, self.scheduler, self.reports.touched, self.directory.account_of, self._taken, self._die
        )
        self.funding = self._build_funding()

    def _die(self, error: BaseException) -> NoReturn:
        self._end(reach.clearly(self.settings, error))

    def _build_market(self) -> Market:
        topic, publishes = self.settings.topic(MARKET_REPORTS), lambda: 0 in self.shards.owned
        return Market(self.exchanges, self.producer, topic, publishes, self.directory.keys_of, now_ms, self._limits, self._loaded)

    def _build_reports(self) -> AccountReports:
        return AccountReports(
            self.directory,
            self.exchanges,
            self.market.started,
            self._limits,
            self.market.marks,
            self._journal_of,
            lambda account: self._running.get(account, 0),
            lambda: self.scheduler.busy,
            self.settings.equity_interval_s,
            self.settings.open_orders_interval_s,
            now_ms,
        )

    def _build_funding(self) -> FundingReports:
        return FundingReports(
            self.settings,
            self.exchanges,
            self.market.started,
            self._limits,
            self.directory.credential,
            self.directory.accounts,
            lambda: self.shards.owned,
            self.reports.flat_since,
            now_ms,
        )

    def _build_desk(self) -> Desk:
        return Desk(
            exchanges=self.exchanges,
            started=self.market.started,
            credential=self.directory.credential,
            is_known=self.directory.is_known,
            refused_live=self.reports.refused_live,
            leverage=LeverageBook(self.exchanges, self.reports.view),
            switches=self.switches,
            limits=self._limits,
            breakers=self._places,
            refused_keys=RefusedKeys(time.monotonic),
            rules=self.market.rules,
            now=now_ms,
            recv_window_ms=self.settings.recv_window_ms,
            simulated=self.settings.exchange_url is not None or self.paper_net is not None,
            absent_quiet_s=self.settings.absent_quiet_s,
            engine_time_s=self.settings.engine_time_s,
        )

    def _journal_of(self, account: Account) -> Journal | None:
        shard = self.shards.owned.get(shard_of(account.follower_id, self.settings.partitions))
        return shard.journal if shard is not None and not shard.paused else None

    def _appeared(self, account: Account) -> None:
        self.reports.appeared(account)
        self.market.appeared(account.venue)

    def _taken(self, partition: int) -> None:
        self.funding.taken()
        if partition == 0:
            self.market.claimed()
        for account in self.directory.accounts():
            if shard_of(account.follower_id, self.settings.partitions) == partition:
                self.reports.appeared(account)

    async def start(self) -> None:
        """Connect to everything; raises `DependencyUnreachable`."""
        await start(self.settings, self.producer)
        await self.directory.open()
        await self.market.start()

    async def sweep(self) -> None:
        """Settle waiting orders that may not be sent any more (expired, halted, cancelled) without spending a request on them."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._sweep_now.wait()
            self._sweep_now.clear()
            await self._sweep_once()

    async def _sweep_once(self) -> None:
        """Only after a switch was set need every waiting order be held against the switches; else its own time and state will do."""
        now, changed = now_ms(), self.switches.changed != self._swept
        self._swept = self.switches.changed
        waiting = (job for job in self.scheduler.jobs() if not (job.running or job.unresolved or job.shard.paused))
        suspects = list(waiting) if changed else [job for job in waiting if job.cancelled or now >= (job.order.expires_at or NEVER)]
        refused = [(job, reason) for job in suspects if (reason := self.desk.refusal(job))]
        self.scheduler.drop(job for job, _ in refused)
        for first in range(0, len(refused), SWEEP_CHUNK):
            part = refused[first : first + SWEEP_CHUNK]
            done = await asyncio.gather(*(miss(self.desk, job, reason) for job, reason in part), return_exceptions=True)
            for result in done:
                if isinstance(result, Exception) and not isinstance(result, JournalClosed):
                    raise result

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for ever."""
        return [
            self.shards.execute_commands(),
            self.shards.commit(),
            self.directory.watch(),
            self.market.run(self.settings.marks_interval_s),
            self.reports.run(),
            self.funding.run(),
            self.sweep(),
        ]

    def samples(self) -> Iterator[Sample]:
        """What `/metrics` shows of this process."""
        yield meters.FREE, (), self.scheduler.free
        yield from self.shards.samples()
        yield from meters.order_samples(self.scheduler.jobs(), VENUES)
        yield from meters.venue_samples(self._limits, self._breakers)
        yield from meters.account_samples(self.directory.accounts())

    async def run(self) -> None:
        """Serve until cancelled; any task that ends ends the process. Raises `DependencyUnreachable`."""
        await self.start()
        watch = asyncio.create_task(watch_control(self.settings, self.switches, self.switches_known, self._sweep_now.set))
        tasks = [watch]
        try:
            known = asyncio.create_task(self.switches_known.wait())
            await asyncio.wait((watch, known), return_when=asyncio.FIRST_COMPLETED)
            await self.shards.start()
            tasks += [asyncio.create_task(task) for task in self.tasks()]
            announce_ready(self.settings, "executor")
            async with meters.EXECUTOR.serve(self.settings, self.samples):
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            with own_cancellations():
                await next(iter(ended))
        except KafkaError as error:
            raise reach.clearly(self.settings, error) from error
        finally:
            # A second cancellation must not leave half of it open.
            self.stopping = asyncio.create_task(self._stop(tasks))
            await asyncio.shield(self.stopping)

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        self.shards.halt()
        await self.scheduler.stop(self.settings.exchange_timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.shards.stop()
        await self.producer.stop()  # type: ignore[no-untyped-call]
        await self.directory.close()
        await self.net.close()
        if self.paper_net is not None:
            await self.paper_net.close()


async def run(settings: Settings) -> None:
    """Run the executor until SIGTERM or SIGINT; anything unexpected ends the process at once."""
    # Markets are hundreds of thousands of objects that stay: a collection that walks them holds up every order for 100 to 200 ms.
    gc.set_threshold(50_000, 20, 50)
    service = asyncio.create_task(Executor(settings, loaded=gc.freeze).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.cancel)
    try:
        await service
    except asyncio.CancelledError:
        log.info("stopped")
    except Exception as error:
        die(error)
