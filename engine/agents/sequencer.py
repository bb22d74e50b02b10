"""The sequencer: five public or internal topics enter, one total order for every shard leaves on `engine.inbox.v1`.

Signals, control records and market reports go to all shards, follower commands and outcomes to their own, a tick to all. What cannot be
read is answered on its rejected or dead topic and stops nothing. Deterministic per source record and in source order: whoever sequences a
source appends it without a gap from where the shards' accepted rounds say, so a repeat is all that a crash or a zombie can cause.

While one batch waits for its acks the next one gathers: a lone signal leaves at once, a flood leaves in large batches.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Final, cast

from aiokafka import AIOKafkaProducer
from faust.types import TP
from faust.types.tuples import Message

from engine.agents import meters
from engine.agents.app import LogApp, build_app, consume, or_die, run_loop, run_worker
from engine.agents.seq_queue import ReleaseDesk
from engine.agents.seq_resume import answered_through, codes_by_topic, holds_records, resume_positions
from engine.agents.seq_route import TICK, Refused, Routed, Router, Source
from engine.config import Settings
from engine.contracts.check import RawRecord
from engine.contracts.envelope import Headers
from engine.domain.messages import ReleaseSignals
from engine.errors import LogCorrupt
from engine.log.inbox import ALL_SHARDS, InboxAppend, InboxWriter
from engine.log.publish import Publisher
from engine.log.topics import ensure_topics
from engine.log.writer import start_producer
from engine.meters import Sample, age_s
from engine.topology import CONTROL, EXECUTIONS, FOLLOWER_COMMANDS, MARKET_REPORTS, SIGNALS, SOURCES

ROLE: Final = "sequencer"
BATCH: Final = 1000
WAITING_HIGH: Final = 4000
MAX_KEY_BYTES: Final = 1000


class Sequencer:
    """Gathers the records of all sources and appends them in order."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._settings = settings
        self._codes = codes_by_topic(settings)
        self._control = TP(settings.topic(CONTROL), 0)
        self._router, self._inbox = Router(settings), InboxWriter(producer, settings)
        self._publisher = Publisher(settings, producer)
        self._desk = ReleaseDesk(settings, self._publisher)
        self._waiting: deque[Source] = deque()
        self._next: dict[TP, int] = {}
        self._answered: dict[TP, int] = {}
        self._tick_due = False
        self._wake, self._room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._idle.set()
        self.app: LogApp = self._build_app()

    def _build_app(self) -> LogApp:
        app = build_app(self._settings, ROLE, self.positions, revoked=self.revoked)
        consume(app, self._settings, (SIGNALS,), self.sequence_signals)
        consume(app, self._settings, (FOLLOWER_COMMANDS,), self.sequence_commands)
        consume(app, self._settings, (CONTROL,), self.sequence_control)
        consume(app, self._settings, (MARKET_REPORTS,), self.sequence_market)
        consume(app, self._settings, (EXECUTIONS,), self.sequence_executions)
        return app

    async def sequence_signals(self, tp: TP, message: Message) -> None:
        """A whale's signal: to every shard."""
        await self._gather(tp, message)

    async def sequence_commands(self, tp: TP, message: Message) -> None:
        """A follower command: to its follower's shard."""
        await self._gather(tp, message)

    async def sequence_control(self, tp: TP, message: Message) -> None:
        """A switch, gate or release: to every shard."""
        await self._gather(tp, message)

    async def sequence_market(self, tp: TP, message: Message) -> None:
        """Market rules and marks: to every shard."""
        await self._gather(tp, message)

    async def sequence_executions(self, tp: TP, message: Message) -> None:
        """Outcomes: to the shard that they came from; attempts concern no shard."""
        await self._gather(tp, message)

    async def positions(self, tps: frozenset[TP]) -> Mapping[TP, int]:
        """Where the shards' accepted rounds say that each source goes on."""
        self._answered = await answered_through(self._settings)
        if self._control in tps:
            await self._desk.load()
        positions = await resume_positions(self._settings, tps)
        self._next = dict(positions)
        meters.PLACED.inc()
        return positions

    async def revoked(self, _: frozenset[TP]) -> None:
        """Forget what waits and finish the batch in flight; all of it is read again by whoever is next."""
        self._waiting.clear()
        self._next.clear()
        self._room.set()
        self._desk.close()
        await self._idle.wait()

    async def _gather(self, tp: TP, message: Message) -> None:
        expected = self._next.get(tp)
        if expected is None or message.offset < expected:
            return
        if message.offset > expected and await holds_records(self._settings, tp, expected, message.offset):
            raise LogCorrupt(f"{tp.topic}[{tp.partition}]: offset {message.offset} arrived, {expected} was expected")
        if self._next.get(tp) != expected:
            # Revoked while the gap was looked at: what waited before this record was forgotten, so this one must be read again too.
            return
        self._next[tp] = message.offset + 1
        record = RawRecord(message.value, message.key, cast(Headers, message.headers or ()), round(message.timestamp * 1000))
        self._waiting.append(Source(self._codes[tp.topic], tp.partition, message.offset, record))
        self._wake.set()
        if len(self._waiting) >= WAITING_HIGH:
            self._room.clear()
            await self._room.wait()

    async def work(self) -> None:
        """Append what waits, batch after batch."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting or self._tick_due:
                self._idle.clear()
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                await self._append(batch)
                self._idle.set()
                if len(self._waiting) < WAITING_HIGH:
                    self._room.set()

    async def _append(self, batch: list[Source]) -> None:
        began = time.monotonic()
        appends: list[InboxAppend] = []
        answers: list[Refused] = []
        for source in batch:
            routed = self._router.route(source)
            if isinstance(routed, Routed):
                appends.append((routed.shard, self._with_names(routed).encoded()))
            elif routed is not None:
                answers.append(routed)
        if self._tick_due:
            self._tick_due = False
            appends.append((ALL_SHARDS, TICK))
        # Answers first: once a shard has seen a later record of their source, no successor comes back to what was unreadable.
        await self._answer(answers)
        await self._inbox.append(appends)
        meters.count_batch(Counter(source.topic.name for source in batch), len(appends), time.monotonic() - began)

    def _with_names(self, routed: Routed) -> Routed:
        """A release as the shards get it: requests are answered by another record."""
        if not isinstance(routed.body, ReleaseSignals):
            return routed
        return Routed(routed.shard, self._desk.take(routed.source.offset, routed.body), routed.source)

    async def _answer(self, answers: list[Refused]) -> None:
        """Tell the senders of unreadable records, once each."""
        sent = []
        for refused in answers:
            source = refused.source
            tp = TP(self._settings.topic(source.topic), source.partition)
            if source.offset > self._answered.get(tp, -1):
                self._answered[tp] = source.offset
                meters.REFUSED.labels(source.topic.name).inc()
                key = source.record.key
                sent.append(
                    await self._publisher.send_raw(refused.topic, refused.value, 0, key if key and len(key) <= MAX_KEY_BYTES else None)
                )
        for answer in sent:
            await answer

    async def tick(self) -> None:
        """Time passes for all shards, as long as the control topic is ours."""
        while True:
            await asyncio.sleep(self._settings.tick_ms / 1000)
            if self._control in self._next:
                self._tick_due = True
                self._wake.set()

    def samples(self) -> Iterator[Sample]:
        """What `/metrics` shows of the sources of this process."""
        yield meters.WAITING, (), len(self._waiting)
        yield meters.WAITING_SECONDS, (), age_s(self._waiting[0].record.appended_ms if self._waiting else None)
        yield meters.SOURCES, (), len(self._next)
        lags: Counter[str] = Counter()
        for tp, next_offset in self._next.items():
            lags[SOURCES[self._codes[tp.topic]].name] += meters.behind(self.app, tp, next_offset) or 0
        for topic, lag in lags.items():
            yield meters.SOURCE_LAG, (topic,), lag

    async def answer_requests(self) -> None:
        """Name the signals that requests let pass."""
        await self._desk.work()


async def run(settings: Settings) -> None:
    """The sequencer process, until SIGTERM or an error."""
    await ensure_topics(settings)
    producer = await start_producer(settings, f"remora-{ROLE}-{settings.instance}")
    sequencer = Sequencer(settings, producer)
    jobs = [asyncio.create_task(or_die(job)) for job in (sequencer.work, sequencer.tick, sequencer.answer_requests)]
    async with meters.SEQUENCER.serve(settings, sequencer.samples):
        await run_worker(sequencer.app, settings, ROLE)
    for job in jobs:
        job.cancel()
    await producer.stop()  # type: ignore[no-untyped-call]


def main(settings: Settings) -> None:
    """Run the sequencer in its own event loop."""
    run_loop(run(settings))
