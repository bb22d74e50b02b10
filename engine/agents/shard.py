"""One shard of the engine: inbox records enter, rounds of events and then commands leave.

Knows nothing of Faust: `engine.agents.engine` hands it records in order, tests and benches do the same. The steps of a round:
drain what has arrived, decide record by record, write events and marker, await every ack, fold the marker, send the commands.
One round is in flight at a time; the state runs ahead of the log only within it, and a round that fails ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from aiokafka import AIOKafkaProducer

from engine.agents import meters
from engine.agents.app import or_die
from engine.agents.loading import load_shard
from engine.config import Settings
from engine.domain.events import RoundCommitted
from engine.domain.messages import TradeCommand
from engine.domain.shard import decide, dump_state, fold_marker
from engine.domain.state import ShardState
from engine.errors import LogCorrupt
from engine.log.codec import decode_inbox, encode_event
from engine.log.consume import end_of, open_consumer
from engine.log.reader import Position, behind, chain
from engine.log.replay import Loaded
from engine.log.snapshots import write_snapshot
from engine.log.writer import Keyed, ShardWriter
from engine.meters import Sample, age_s
from engine.topology import EVENTS

log = logging.getLogger(__name__)

InboxItem = tuple[int, bytes, int]
"""Inbox offset, value, append time in ms."""
IDLE_MARKER_S: Final = 5.0
"""Ticks that lead to nothing are held back at most this long before a marker records them."""
SLICE_S: Final = 0.01
"""Longest time of deciding before other shards and the client have their turn."""
ROUND_MAX_EVENTS: Final = 20_000
QUEUE_HIGH: Final = 4000
QUEUE_LOW: Final = 1000


class Shard:
    """State, writer and queue of one shard while this process owns it."""

    def __init__(
        self, settings: Settings, shard: int, producer: AIOKafkaProducer, owner: str, full: Callable[[bool], None] | None = None
    ) -> None:
        self.settings, self.shard, self.owner = settings, shard, owner
        self._producer = producer
        self._full = full or (lambda _: None)
        self._is_full = False
        self._open = False
        self.writer = ShardWriter(producer, settings, shard)
        self._queue: deque[InboxItem] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._commands: asyncio.Queue[list[TradeCommand]] = asyncio.Queue()
        self._snapshot_task: asyncio.Task[None] | None = None
        self.next_inbox = -1
        """Inbox offset that is decided next; what lies between the accepted position and this led to nothing yet."""
        self._expected = -1
        self._marked_at = 0.0
        self.decided_records = 0

    async def load(self) -> None:
        """Claim the shard, fold its log up to the claim, send what may not have been sent, and begin to work."""
        meters.CLAIMS.inc()
        with meters.LOAD_SECONDS.time():
            loaded: Loaded = await load_shard(self.settings, self.writer, self.owner)
        self.state: ShardState = loaded.state
        self.position: Position = loaded.position
        self._slot, self._snapshot_id = loaded.next_slot, loaded.snapshot_id
        self.next_inbox, self._backlog_end = self.position.inbox_position, loaded.inbox_end
        self._queued_through = self._sent_through = self.state.command_seq - len(self.state.outbox)
        self._queue_commands()
        self._tasks = [asyncio.create_task(or_die(self._work)), asyncio.create_task(or_die(self._send))]

    def put(self, item: InboxItem) -> None:
        """Take the next inbox record. The inbox has no gaps: anything but the next offset ends the process."""
        if not self._open:
            # A straggler from before a rebalance: it will be read again from where the shard stands.
            return
        if item[0] != self._expected:
            raise LogCorrupt(f"shard {self.shard}: inbox offset {item[0]} arrived, {self._expected} was expected")
        self._expected += 1
        self._queue.append(item)
        self._wake.set()
        if not self._is_full and len(self._queue) >= QUEUE_HIGH:
            self._is_full = True
            self._full(True)

    def samples(self) -> Iterator[Sample]:
        """What `/metrics` shows of the shard."""
        shard = (str(self.shard),)
        yield meters.QUEUED, shard, len(self._queue)
        yield meters.LAG_SECONDS, shard, age_s(self._queue[0][2] if self._queue else None)
        yield meters.SINCE_SNAPSHOT, shard, self.position.next_id - self._snapshot_id
        yield from meters.shard_samples(self.state)

    async def pause(self) -> None:
        """Forget what is queued and finish the round in flight, so that the next owner's claim comes behind it."""
        self._open = False
        self._queue.clear()
        self._is_full = False
        await self._idle.wait()

    def resume(self) -> int:
        """Take records again, from the returned inbox offset on."""
        self._open, self._expected = True, self.next_inbox
        return self.next_inbox

    async def still_owned(self) -> bool:
        """Whether nobody has written to the shard's log since we did: our state is then what the log says."""
        await self._idle.wait()
        async with open_consumer(self.settings) as consumer:
            end = await end_of(consumer, self.settings.topic(EVENTS), self.shard)
        return end == self.writer.next_offset

    async def close(self) -> None:
        """Stop working; nothing is in flight afterwards."""
        await self.pause()
        await self._commands.join()
        # A snapshot that is torn here is passed over when the shard is loaded.
        for task in [*self._tasks, *([self._snapshot_task] if self._snapshot_task else [])]:
            task.cancel()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._idle.clear()
                await self._round()
                self._idle.set()
                self._make_room()

    def _make_room(self) -> None:
        if self._is_full and len(self._queue) <= QUEUE_LOW:
            self._is_full = False
            self._full(False)

    async def _round(self) -> None:
        began = time.monotonic()
        events, has_source = await self._decide()
        if not events and not has_source and time.monotonic() - self._marked_at < IDLE_MARKER_S:
            self._queue_commands()
            return
        marker, decided_at = self._marker(events), time.monotonic()
        offset = await self.writer.write_round(events, marker)
        self._marked_at = time.monotonic()
        meters.count_round(marker, self._marked_at - began, self._marked_at - decided_at)
        fold_marker(self.state, marker)
        self.position = behind(marker, offset)
        self._queue_commands()
        self._maybe_snapshot()

    async def _decide(self) -> tuple[list[Keyed], bool]:
        """Decide what is queued, up to the limits of a round; also whether any of it came from a source."""
        events: list[Keyed] = []
        has_source = False
        records, pause_at = 0, time.monotonic() + SLICE_S
        while self._queue and records < self.settings.round_max_records and len(events) < ROUND_MAX_EVENTS:
            offset, value, append_ms = self._queue.popleft()
            record = decode_inbox(value)
            has_source = has_source or record.src is not None
            decided = decide(self.state, record, append_ms)
            if decided:
                meters.count_decisions(decided)
                events += [encode_event(event) for event in decided]
            self.next_inbox = offset + 1
            records += 1
            if time.monotonic() > pause_at:
                await asyncio.sleep(0)
                pause_at = time.monotonic() + SLICE_S
        self.decided_records += records
        meters.DECIDED.inc(records)
        return events, has_source

    def _marker(self, events: list[Keyed]) -> RoundCommitted:
        state = self.state
        return RoundCommitted(
            epoch=self.writer.epoch,
            inbox_from=self.position.inbox_position,
            inbox_to=self.next_inbox,
            sources=dict(state.sources),
            events=len(events),
            first_id=self.position.next_id,
            digest=chain(self.position.digest, [value for _, value in events]),
            logic_version=state.logic_version,
            commands_through=self._sent_through,
            commands_total=state.command_seq,
            now=state.now,
        )

    def _queue_commands(self) -> None:
        """Hand the round's commands to the sender: they follow the marker's ack, in order, and do not hold up the next round.

        After an outage nothing is sent before the backlog is decided: an open that the whale has closed meanwhile then has its
        cancel right behind it.
        """
        outbox = self.state.outbox
        if self.next_inbox < self._backlog_end:
            return
        fresh = outbox[self._queued_through + 1 - outbox[0].seq :] if outbox else []
        if fresh:
            self._queued_through = fresh[-1].seq
            self._commands.put_nowait(fresh)

    async def _send(self) -> None:
        while True:
            commands = await self._commands.get()
            while not self._commands.empty():
                commands += self._commands.get_nowait()
                self._commands.task_done()
            await self.writer.send_commands(commands)
            self._sent_through = commands[-1].seq
            meters.COMMANDS.inc(len(commands))
            self._commands.task_done()

    def _maybe_snapshot(self) -> None:
        due = self.position.next_id - self._snapshot_id >= self.settings.snapshot_events
        if due and (self._snapshot_task is None or self._snapshot_task.done()):
            self._snapshot_id = self.position.next_id
            chunks = list(dump_state(self.state))
            self._snapshot_task = asyncio.create_task(or_die(partial(self._snapshot, self.position, chunks)))

    async def _snapshot(self, position: Position, chunks: Iterable[bytes]) -> None:
        slot, self._slot = self._slot, 1 - self._slot
        await write_snapshot(self._producer, self.settings, self.shard, slot, position, chunks)
        meters.SNAPSHOTS.inc()
