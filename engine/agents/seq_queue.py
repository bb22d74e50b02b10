"""`process next` and `process batch`: a request on the control topic enters, one record that names the signals leaves, on the same topic.

Shards may see a request at different moments of their queues, so it is resolved once, from shard 0's queue as it was when shard 0 had
worked in the request, and the answer is a control record of its own that every shard obeys. The request itself goes to the shards
without effect. Answers name their request by its offset; only the first answer to a request counts (docs/decisions/0032).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer

from engine.config import Settings
from engine.contracts.check import RawRecord, read_control
from engine.domain.events import GateSet, SignalAdmitted, SignalDecided, SignalExpired, SignalReleased
from engine.domain.ids import shard_originator
from engine.domain.messages import ControlRecord, ReleaseSignals
from engine.domain.shard import restore_state
from engine.domain.signal_queue import gate_set, next_signals, signal_admitted, signal_done, signal_released
from engine.domain.state import ShardState, new_state
from engine.errors import ContractViolation
from engine.log.codec import decode_event
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.publish import Publisher
from engine.log.reader import AcceptedRound, Position, RoundReader
from engine.log.snapshots import newest_snapshot
from engine.topology import CONTROL, EVENTS

SHARD: Final = 0
"""Every shard sees every signal; this one's queue is looked at."""
ANSWER: Final = "release@"
FIRST_POLL_S: Final = 0.005
LONGEST_POLL_S: Final = 0.25

_FOLDS: Final[dict[type[Any], Callable[[ShardState, Any], None]]] = {
    SignalAdmitted: signal_admitted,
    SignalReleased: signal_released,
    SignalDecided: signal_done,
    SignalExpired: signal_done,
    GateSet: gate_set,
}
_control: Final[msgspec.json.Decoder[ControlRecord]] = msgspec.json.Decoder(ControlRecord)


class QueueView:
    """The signals that wait in shard 0, as its accepted rounds say."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._originator = shard_originator(SHARD).encode()
        self._state = new_state(SHARD, settings.partitions)
        self._reader: RoundReader | None = None
        self.control_mark = 0
        """Next control offset that shard 0 has not worked in."""

    async def catch_up(self, consumer: AIOKafkaConsumer) -> None:
        """Fold what the shard's log holds by now."""
        if self._reader is None:
            self._reader = RoundReader(SHARD, await self._restore(consumer))
        topic = self._settings.topic(EVENTS)
        _, end = await bounds(consumer, topic, SHARD)
        async for records in read_range(consumer, topic, SHARD, self._reader.next_offset, end):
            for accepted in self._reader.feed(records):
                self._fold_round(accepted)

    async def _restore(self, consumer: AIOKafkaConsumer) -> Position:
        snapshot, _ = await newest_snapshot(consumer, self._settings, SHARD)
        if snapshot is None:
            return Position()
        whole = await asyncio.to_thread(restore_state, snapshot.chunks)
        # Followers and positions stay behind: the queue is all that is needed.
        self._state.held, self._state.gate, self._state.events = whole.held, whole.gate, whole.events
        self.control_mark = whole.sources.get("c/0", 0)
        return snapshot.position

    def _fold_round(self, accepted: AcceptedRound) -> None:
        for _, key, value, _ in accepted.events:
            if key == self._originator:
                event = decode_event(value)
                if (fold := _FOLDS.get(type(event))) is not None:
                    self._state.events += 1
                    fold(self._state, event)
        self.control_mark = accepted.marker.sources.get("c/0", 0)

    def next_ids(self, request: ReleaseSignals, promised: set[str]) -> tuple[str, ...]:
        """What a request lets pass, without what other answers have named already."""
        held = {signal_id: signal for signal_id, signal in self._state.held.items() if signal_id not in promised}
        waiting = msgspec.structs.replace(self._state, held=held)
        return tuple(held.signal.signal_id for held in next_signals(waiting, request))


class ReleaseDesk:
    """Open requests of the control topic and the answers to them."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._settings, self._publisher = settings, publisher
        self._view = QueueView(settings)
        self._open: dict[int, ReleaseSignals] = {}
        self._answered_at: dict[int, int] = {}
        self._promised: dict[int, tuple[str, ...]] = {}
        self._wake = asyncio.Event()

    async def load(self) -> None:
        """Find the requests that have no answer yet, and the answers that are given."""
        self._open.clear()
        async with open_consumer(self._settings) as consumer:
            topic = self._settings.topic(CONTROL)
            first, end = await bounds(consumer, topic, 0)
            async for records in read_range(consumer, topic, 0, first, end, gaps=True):
                for record in records:
                    self._read(record.offset, record.value)
        self._view = QueueView(self._settings)

    def _read(self, offset: int, value: bytes | None) -> None:
        try:
            read_control(RawRecord(value))
        except ContractViolation:
            return
        record = _control.decode(value or b"")
        if isinstance(record, ReleaseSignals):
            self.take(offset, record)

    def close(self) -> None:
        """The control topic is no longer ours."""
        self._open.clear()

    def take(self, offset: int, record: ReleaseSignals) -> ReleaseSignals:
        """Note a request or an answer; gives the record that the shards get in its place."""
        if record.max_signals and not record.signal_ids:
            if offset not in self._answered_at:
                self._open[offset] = record
                self._wake.set()
            return ReleaseSignals(request_id=record.request_id, actor=record.actor)
        request = _answered_request(record)
        if request is not None:
            self._open.pop(request, None)
            if self._answered_at.setdefault(request, offset) != offset:
                return ReleaseSignals(request_id=record.request_id, actor=record.actor)
        self._promised[offset] = record.signal_ids
        return record

    async def work(self) -> None:
        """Answer requests as soon as shard 0 has worked them in."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            delay = FIRST_POLL_S
            async with open_consumer(self._settings) as consumer:
                while self._open:
                    await self._view.catch_up(consumer)
                    await self._answer_due()
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, LONGEST_POLL_S)

    async def _answer_due(self) -> None:
        for offset, request in sorted(self._open.items()):
            if offset < self._view.control_mark:
                ids = self._view.next_ids(request, self._promised_ids())
                answer = ReleaseSignals(request_id=f"{ANSWER}{offset}", signal_ids=ids, actor=request.actor)
                published = await self._publisher.publish_control(answer)
                self._promised[published.offset] = ids
                self._open.pop(offset, None)

    def _promised_ids(self) -> set[str]:
        """Signals that are named but not released yet."""
        self._promised = {offset: ids for offset, ids in self._promised.items() if offset >= self._view.control_mark}
        return {signal_id for ids in self._promised.values() for signal_id in ids}


def _answered_request(record: ReleaseSignals) -> int | None:
    name = record.request_id.removeprefix(ANSWER)
    return int(name) if name != record.request_id and name.isascii() and name.isdigit() else None
