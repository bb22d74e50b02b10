"""Market rules and marks. Every executor keeps marks for the equity of spot accounts; the owner of shard 0 also publishes.

Leaves: `RulesReported` (when shard 0 is claimed and on change) and `MarksReported` (likewise, and each interval) on `market.reports.v1`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final

import msgspec
from aiokafka import AIOKafkaProducer

from engine.domain.messages import MarketReport, MarksReported, RulesReported
from engine.domain.values import MarketRules, Venue
from engine.exchanges.port import CallFailed, Credential, Exchange
from engine.executor.jobs import Account
from engine.executor.limits import Limits

log = logging.getLogger(__name__)
RELOAD_S: Final = 3600.0
RETRY_S: Final = 1.0
CLOCK_S: Final = 60.0
RULES_A_RECORD: Final = 1000
_ENCODER = msgspec.json.Encoder(decimal_format="string")


class Market:
    """Rules and marks of every venue."""

    def __init__(
        self,
        exchanges: dict[Venue, Exchange],
        producer: AIOKafkaProducer,
        topic: str,
        publishes: Callable[[], bool],
        keys_of: Callable[[Venue], Awaitable[Credential | None]],
        now: Callable[[], int],
        limits: Limits,
        loaded: Callable[[], None] = lambda: None,
    ) -> None:
        self._keys_of, self._limits, self._loaded = keys_of, limits, loaded
        self._exchanges, self._producer, self._topic, self._publishes, self._now = exchanges, producer, topic, publishes, now
        self.started: set[Venue] = set()
        self.marks: dict[Venue, dict[str, Decimal]] = {}
        self._rules: dict[Venue, dict[str, MarketRules]] = {}
        self._published: dict[Venue, tuple[MarketRules, ...]] = {}
        self._wake = asyncio.Event()
        self._untold: set[Venue] = set()
        self._clock_due: dict[Venue, float] = {}

    def rules(self, venue: Venue, symbol: str) -> MarketRules | None:
        """The venue's rules of one symbol."""
        return self._rules.get(venue, {}).get(symbol)

    def claimed(self) -> None:
        """Shard 0 became ours: publish everything."""
        self._published.clear()
        self._wake.set()

    def appeared(self, venue: Venue) -> None:
        """The venue has an account: what it tells accounts only can be asked for."""
        if venue in self._untold:
            self._wake.set()

    async def start(self) -> None:
        """Load every venue that answers; the others follow in `run`."""
        await self._load_all(list(self._exchanges))

    async def _load_all(self, venues: list[Venue]) -> None:
        if any(await asyncio.gather(*(self._load(venue) for venue in venues))):
            self._loaded()

    async def _load(self, venue: Venue) -> bool:
        exchange = self._exchanges[venue]
        if self._limits.ip_paused_s(venue):
            return False
        try:
            await exchange.start()
            if exchange.signed_rules:
                self._untold.add(venue)
            self._read_rules(venue)
            self.marks[venue] = await exchange.marks()
            self.started.add(venue)
            return True
        except CallFailed as error:
            self._failed(venue, error)
            log.warning("%s is not reached: %s", venue, error)
            return False

    def _read_rules(self, venue: Venue) -> None:
        self._rules[venue] = {rule.symbol: rule for rule in self._exchanges[venue].rules()}

    async def _ask_untold(self) -> None:
        """Read with somebody's keys what is missing of the rules; without an account they stay as they are."""
        for venue in [venue for venue in self._untold if venue in self.started and not self._limits.ip_paused_s(venue)]:
            keys = await self._keys_of(venue)
            if keys is None:
                continue
            try:
                await self._exchanges[venue].load_signed_rules(keys)
            except CallFailed as error:
                self._failed(venue, error)
                log.warning("rules of %s that only accounts are told: %s", venue, error)
                continue
            self._untold.discard(venue)
            self._read_rules(venue)

    async def run(self, interval_s: float) -> None:
        """Refresh and publish for ever."""
        reload_at = time.monotonic() + RELOAD_S
        while True:
            self._wake.clear()
            await self._ask_untold()
            if self._publishes():
                await self._publish()
            missing = [venue for venue in self._exchanges if venue not in self.started]
            try:
                async with asyncio.timeout(RETRY_S if missing else interval_s):
                    await self._wake.wait()
                continue
            except TimeoutError:
                reload = time.monotonic() >= reload_at
                reload_at = time.monotonic() + RELOAD_S if reload else reload_at
            await self._load_all(list(self._exchanges) if reload else missing)
            await asyncio.gather(*(self._refresh(venue) for venue in self.started))

    def _failed(self, venue: Venue, error: CallFailed) -> None:
        """A ban met here counts for orders and accounts too, as theirs do here: asking on makes it longer."""
        self._limits.heed(Account("", venue), error.judgement)

    async def _refresh(self, venue: Venue) -> None:
        if self._limits.ip_paused_s(venue):
            return
        try:
            self.marks[venue] = await self._exchanges[venue].marks()
            if time.monotonic() >= self._clock_due.get(venue, 0.0):
                await self._exchanges[venue].sync_clock()
                self._clock_due[venue] = time.monotonic() + CLOCK_S
        except CallFailed as error:
            self._failed(venue, error)
            log.warning("marks of %s not read: %s", venue, error)

    async def _publish(self) -> None:
        for venue in sorted(self.started):
            rules = tuple(self._rules[venue].values())
            if self._published.get(venue) != rules:
                for first in range(0, len(rules), RULES_A_RECORD):
                    await self._send(venue, RulesReported(venue=venue, rules=rules[first : first + RULES_A_RECORD], at=self._now()))
                self._published[venue] = rules
            await self._send(venue, MarksReported(venue=venue, marks=self.marks[venue], at=self._now()))

    async def _send(self, venue: Venue, report: MarketReport) -> None:
        await self._producer.send_and_wait(self._topic, value=_ENCODER.encode(report), key=venue.encode(), partition=0)  # type: ignore[no-untyped-call]
