"""Faust's Kafka transport, made to read from where the log says instead of from group offsets.

Enters: `Positions`, an async function from partitions to offsets. Leaves: partitions that are read from exactly there.

At every assignment all partitions stay paused. The positions are asked for in the background, so a slow answer holds up
neither the other partitions nor the group membership (heartbeats run in the consumer's own thread). Each partition is then
sought and resumed. A seek happens only where nothing of the partition can be under way in Faust: its buffers were cleared
when the flow stopped, and a paused partition delivers nothing (docs/decisions/0020).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import aiokafka
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer, Transport, server_list
from faust.types import TP
from mode.types.services import ServiceT

from engine.fate import die, is_cancelled
from engine.log.consume import end_fetches

log = logging.getLogger(__name__)

Positions = Callable[[frozenset[TP]], Awaitable[Mapping[TP, int]]]
"""Where to read each of these partitions from: the next offset that the log says is not yet worked in."""
Notice = Callable[[frozenset[TP]], Awaitable[None]]
FETCH_WAIT_MS = 250


@dataclass(frozen=True, slots=True)
class Placement:
    """What an app does at a rebalance; see `engine.agents.app.build_app`."""

    positions: Positions
    one_by_one: bool
    assigned: Notice | None
    revoked: Notice | None


class ConsumerThread(AIOKafkaConsumerThread):
    """The aiokafka consumer in its own thread and event loop."""

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(  # type: ignore[no-untyped-call]
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            # A fetch under way at the old position must not hold up the one that follows a seek for long.
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=10_000,
        )

    async def on_thread_stop(self) -> None:
        """End the fetches ourselves: the consumer's own way may fail, and then this thread never says that it is down."""
        if self._consumer is not None:
            await end_fetches(self._consumer)
        await super().on_thread_stop()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Group offsets are only for the eyes of lag monitors: a failed commit is no reason to stop (Faust would crash)."""
        mine = {TopicPartition(tp.topic, tp.partition): offset for tp, offset in offsets.items() if tp in self.assignment()}
        try:
            await self._ensure_consumer().commit(mine)  # type: ignore[no-untyped-call]
        except KafkaError as error:
            log.warning("group offsets not committed: %r", error)
            return False
        return True


class LogConsumer(Consumer):
    """A consumer whose positions come from the log."""

    placement: Placement
    _drain_task: asyncio.Task[Any] | None = None
    _placing: tuple[asyncio.Task[None], ...] = ()
    _placed: asyncio.Event

    def _new_consumer_thread(self) -> ConsumerThread:
        self._placed = asyncio.Event()
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget placements under way: the coming assignment decides anew."""
        self._stop_placing()
        await super().on_partitions_revoked(revoked)
        await self._tell(self.placement.revoked, frozenset(revoked))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tell the app its whole assignment before any position is asked for."""
        await self._tell(self.placement.assigned, frozenset(assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Start to place every assigned partition. Faust calls this at each assignment, with the flow stopped."""
        if asyncio.current_task() is self._drain_task:
            # Records were dropped because the flow stopped under a fetch. The placement that ends each rebalance
            # comes after them; seeking here could undo it.
            return
        self._stop_placing()
        assigned = frozenset(self.assignment())
        self.pause_partitions(assigned)
        self._buffered_partitions.clear()
        parts = [frozenset((tp,)) for tp in sorted(assigned)] if self.placement.one_by_one else [assigned] if assigned else []
        self._placing = tuple(asyncio.create_task(self._place(part), name=f"place {sorted(part)}") for part in parts)

    async def _tell(self, notice: Notice | None, tps: frozenset[TP]) -> None:
        if notice is None:
            return
        try:
            await notice(tps)
        except Exception as error:
            die(error)

    def _stop_placing(self) -> None:
        for task in self._placing:
            task.cancel()
        self._placing = ()
        self._placed.clear()

    async def _place(self, tps: frozenset[TP]) -> None:
        try:
            positions = await self.placement.positions(tps)
            assert set(positions) == tps, "every assigned partition has a position"
            # Before the flow runs, a fetch that started before the rebalance could still drop what it gets.
            await self.can_resume_flow.wait()
            await self.seek_wait(positions)
            self.resume_partitions(tps)
            self._placed.set()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and (self.should_stop or is_cancelled()):
                raise
            die(error)

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        self._drain_task = asyncio.current_task()
        await super()._drain_messages(fetcher)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        """Faust sleeps a whole second when no partition is active; wake as soon as one is placed."""
        while not self._get_active_partitions() and not self.should_stop:
            self._placed.clear()
            await self.wait_first(self._placed.wait(), timeout=1.0)
        return await super()._wait_next_records(timeout)

    async def verify_all_partitions_active(self) -> None:
        """Faust's livelock detector knows nothing of shards that are loading; ours is the lag that `status` shows."""


class IdempotentProducer(Producer):
    """Faust's producer with idempotence, which Faust sets only for its own transactions."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class LogTransport(Transport):
    """What `build_app` puts in the place of Faust's transport."""

    Consumer: ClassVar[type[LogConsumer]] = LogConsumer
    Producer: ClassVar[type[IdempotentProducer]] = IdempotentProducer
