"""The shards of this process: assigned by the consumer group, taken over from the log, fed with commands, committed by low watermark.

Enters: `trade.commands.v1`. Leaves: records into shards. Nothing of another owner's is touched: a shard that is lost writes nothing more,
and one that is given back while another claimed it in between is taken over anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NoReturn

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from engine.config import Settings
from engine.domain.messages import PlaceOrder
from engine.errors import LogCorrupt
from engine.executor import meters
from engine.executor.jobs import Account
from engine.executor.scheduler import Scheduler
from engine.executor.seqs import SeqGap, Seqs
from engine.executor.shard import Shard
from engine.executor.takeover import take_over
from engine.fate import own_cancellations
from engine.log.consume import stop_consumer
from engine.meters import Sample
from engine.topology import EXECUTIONS, TRADE_COMMANDS

log = logging.getLogger(__name__)
PENDING_A_SHARD: Final = 4000
"""Jobs of one shard in memory before its partition is paused."""
DRAIN_S: Final = 2.0
COMMIT_S: Final = 1.0


class Shards(ConsumerRebalanceListener):
    """Owned shards by partition. `start`, then `execute_commands` and `commit` for ever."""

    def __init__(
        self,
        settings: Settings,
        producer: AIOKafkaProducer,
        scheduler: Scheduler,
        settled: Callable[[Account, bool], None],
        account_of: Callable[[PlaceOrder], Account],
        taken: Callable[[int], None],
        die: Callable[[BaseException], NoReturn],
    ) -> None:
        self._settings, self._producer, self._scheduler = settings, producer, scheduler
        self._settled, self._account_of, self._taken, self._die = settled, account_of, taken, die
        self.owned: dict[int, Shard] = {}
        self._topic, self._executions = settings.topic(TRADE_COMMANDS), settings.topic(EXECUTIONS)
        self._loading: dict[int, asyncio.Task[None]] = {}
        self._full: set[int] = set()
        self._halted, self._unsure = False, set[int]()
        self._consumer = AIOKafkaConsumer(  # type: ignore[no-untyped-call]
            bootstrap_servers=settings.kafka,
            group_id=settings.group("executor"),
            group_instance_id=f"executor-{settings.instance}",
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_s * 250),
            rebalance_timeout_ms=int(settings.session_timeout_s * 1000),
            max_poll_interval_ms=600_000,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=250,
        )

    async def start(self) -> None:
        """Join the group."""
        await self._consumer.start()  # type: ignore[no-untyped-call]
        self._consumer.subscribe([self._topic], listener=self)  # type: ignore[no-untyped-call]

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Attempt nothing new; let what is under way end, so that a successor has little to reconcile."""
        for shard in self.owned.values():
            shard.paused = True
        for task in self._loading.values():
            task.cancel()
        self._loading.clear()
        if list(revoked):
            await self._scheduler.quiet(DRAIN_S)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Every partition starts paused; each is resumed at the right place in the background."""
        partitions = sorted(tp.partition for tp in assigned)
        self._consumer.pause(*[TopicPartition(self._topic, partition) for partition in partitions])  # type: ignore[no-untyped-call]
        self._full.clear()
        for lost in set(self.owned) - set(partitions):
            self.owned.pop(lost).close()
        for partition in () if self._halted else partitions:
            self._loading[partition] = asyncio.create_task(self._load(partition))

    async def _load(self, partition: int) -> None:
        try:
            with own_cancellations():
                await self._place(partition)
        except Exception as error:
            self._die(error)

    async def _place(self, partition: int) -> None:
        shard = self.owned.get(partition)
        if shard is not None and not await self._still_ours(shard):
            self.owned.pop(partition).close()
            shard = None
        if shard is None:
            shard = await self._take_over(partition)
        tp = TopicPartition(self._topic, partition)
        self._consumer.seek(tp, shard.next_command)  # type: ignore[no-untyped-call]
        shard.paused = False
        self.owned[partition] = shard
        self._consumer.resume(tp)  # type: ignore[no-untyped-call]
        self._taken(partition)

    async def _still_ours(self, shard: Shard) -> bool:
        """Nobody else wrote to the shard's executions since our last record."""
        await shard.journal.drain()
        tp = TopicPartition(self._executions, shard.number)
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets([tp])  # type: ignore[no-untyped-call]
        return ends[tp] == shard.journal.next_offset

    async def _take_over(self, partition: int) -> Shard:
        meters.CLAIMS.inc()
        journal, history, found = await take_over(
            self._settings, self._producer, partition, f"executor-{self._settings.instance}", self._die
        )
        offset, hint = found if found else (0, None)
        seqs = Seqs(hint, history.ended, set(history.open))
        shard = Shard(partition, journal, self._scheduler, seqs, self._settled, self._account_of, paused=True, next_command=offset)
        shard.funding = hint.funding if hint else None
        shard.recover(history)
        return shard

    async def execute_commands(self) -> None:
        """Read commands for ever; a shard with too many waiting jobs is not read on."""
        while True:
            batches = await self._consumer.getmany(timeout_ms=100, max_records=2000)
            for tp, records in batches.items():
                shard = self.owned.get(tp.partition)
                if shard is not None and tp.partition not in self._loading_now():
                    self._feed(tp, shard, records)
            self._let_in()

    def _loading_now(self) -> set[int]:
        return {partition for partition, task in self._loading.items() if not task.done()}

    def samples(self) -> Iterator[Sample]:
        """What `/metrics` shows of the shards of this process."""
        yield meters.SHARDS, (), sum(not shard.paused for shard in self.owned.values())
        for number, shard in self.owned.items():
            end = self._consumer.highwater(TopicPartition(self._topic, number))  # type: ignore[no-untyped-call]
            if end is not None:
                yield meters.LAG, (str(number),), max(end - shard.next_command, 0)

    def _feed(self, tp: TopicPartition, shard: Shard, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        meters.COMMANDS.inc(len(records))
        try:
            for record in records:
                shard.read(record.offset, record.value or b"")
        except SeqGap as gap:
            if shard.rewound:
                self._die(LogCorrupt(f"shard {shard.number}: {gap}, also when read from the start"))
            log.warning("shard %s: %s: reading its commands from the start", shard.number, gap)
            shard.rewound = True
            self._consumer.seek(tp, 0)  # type: ignore[no-untyped-call]
        except LogCorrupt as error:
            self._die(error)
        if len(shard.jobs) >= PENDING_A_SHARD:
            self._full.add(shard.number)
            self._consumer.pause(tp)  # type: ignore[no-untyped-call]

    def _let_in(self) -> None:
        for number in [full for full in self._full if len(self.owned[full].jobs) < PENDING_A_SHARD // 2]:
            self._full.discard(number)
            self._consumer.resume(TopicPartition(self._topic, number))  # type: ignore[no-untyped-call]

    async def commit(self) -> None:
        """Commit low watermarks for ever; a failure is no reason to stop."""
        while True:
            await asyncio.sleep(COMMIT_S)
            await self.commit_once()

    async def commit_once(self) -> None:
        """Commit what has changed."""
        await self._commit([shard for shard in self.owned.values() if not shard.paused])

    async def _commit(self, shards: list[Shard]) -> None:
        points = {shard: point for shard in shards if (point := shard.resume_point())}
        if not points:
            return
        offsets = {
            TopicPartition(self._topic, shard.number): OffsetAndMetadata(offset, msgspec.json.encode(hint).decode())
            for shard, (offset, hint) in points.items()
        }
        try:
            await self._consumer.commit(offsets)  # type: ignore[no-untyped-call]
        except KafkaError as error:
            log.warning("low watermarks not committed: %r", error)
            return
        for shard, point in points.items():
            shard.committed = point

    def halt(self) -> None:
        """Attempt nothing new and take over nothing more: the process is about to stop."""
        self._halted, self._unsure = True, self._loading_now()
        for shard in self.owned.values():
            shard.paused = True
        for task in self._loading.values():
            task.cancel()

    async def stop(self) -> None:
        """Leave the group once what was said is written and committed: the journals need the producer, and the next owner reads less."""
        held = [shard for number, shard in self.owned.items() if number not in self._unsure]
        await asyncio.gather(*(shard.journal.drain() for shard in held))
        await self._commit(held)
        await stop_consumer(self._consumer)
