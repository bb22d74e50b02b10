"""Switches and gates as they stand now: folded from the control topic itself, read on to its end at every question.

Enters: control records. Leaves: who set what, when and why, and the position up to which that is true. Repeats of a request are dropped,
as the shards and the executor drop them.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import msgspec
from aiokafka import AIOKafkaConsumer
from fastapi import Depends, Request

from engine.config import Settings
from engine.contracts.audit import is_audit
from engine.contracts.types import from_ms
from engine.domain.messages import ControlRecord, SetGate, SetSwitch
from engine.domain.values import Priority, SwitchState
from engine.log.consume import end_of, open_consumer, read_range
from engine.topology import CONTROL

log = logging.getLogger(__name__)
REMEMBERED: Final = 10_000
_DECODER = msgspec.json.Decoder(ControlRecord)


@dataclass(frozen=True)
class Setting:
    """The newest record of a scope, or of the gate."""

    state: SwitchState
    reason: str
    actor: str
    set_at: datetime
    offset: int


@dataclass(frozen=True)
class Gate:
    """What lets signals pass."""

    paused: bool = False
    min_priority: Priority = "low"
    actor: str = ""
    set_at: datetime | None = None
    offset: int | None = None


class ControlFold:
    """Everything that the control topic says and that still holds."""

    def __init__(self) -> None:
        self.switches: dict[tuple[str, str], Setting] = {}
        self.gate = Gate()
        self.position = 0
        self._requests: dict[str, None] = {}

    def fold(self, value: bytes, offset: int, timestamp_ms: int) -> None:
        """One record; what is for the trail, or nobody could have accepted, changes nothing."""
        self.position = offset + 1
        if is_audit(value):
            return
        try:
            record = _DECODER.decode(value)
        except msgspec.DecodeError as error:
            log.warning("control record %d skipped: %s", offset, error)
            return
        if record.request_id in self._requests:
            return
        self._remember(record.request_id)
        at = from_ms(timestamp_ms)
        if isinstance(record, SetSwitch):
            target = "" if record.scope == "global" else record.target
            self.switches[(record.scope, target)] = Setting(record.state, record.reason, record.actor, at, offset)
        elif isinstance(record, SetGate):
            self.gate = Gate(record.paused, record.min_priority, record.actor, at, offset)

    def _remember(self, request_id: str) -> None:
        self._requests[request_id] = None
        if len(self._requests) > REMEMBERED:
            del self._requests[next(iter(self._requests))]


class Control:
    """One for the process. Its consumer opens with the first question."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = AsyncExitStack()
        self._consumer: AIOKafkaConsumer | None = None
        self._fold = ControlFold()
        self._reading = asyncio.Lock()

    async def now(self) -> ControlFold:
        """The fold up to the topic's end. Errors: DependencyUnreachable."""
        async with self._reading:
            try:
                await self._read_on()
            except BaseException:
                await self._drop()
                raise
            return self._fold

    async def _read_on(self) -> None:
        if self._consumer is None:
            self._consumer = await self._open.enter_async_context(open_consumer(self._settings))
        topic = self._settings.topic(CONTROL)
        end = await end_of(self._consumer, topic, 0)
        async for records in read_range(self._consumer, topic, 0, self._fold.position, end):
            for record in records:
                self._fold.fold(record.value or b"", record.offset, record.timestamp)

    async def _drop(self) -> None:
        """The next question opens a new consumer."""
        self._consumer = None
        await self._open.aclose()

    async def close(self) -> None:
        """Stop the consumer."""
        await self._drop()


def get_control(request: Request) -> Control:
    """The process's view of the control topic."""
    control: Control = request.app.state.control
    return control


async def _control(request: Request) -> Control:
    """For routes."""
    return get_control(request)


Controlled = Annotated[Control, Depends(_control)]
