"""Switches as the executor sees them: folded from `engine.control.v1` itself, from offset 0, so that a halt reaches queued orders at once.

Enters: control records. Leaves: the strictest state that is in force for an order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec
from aiokafka import TopicPartition

from engine.config import Settings
from engine.contracts.audit import is_audit
from engine.domain.messages import ControlRecord, PlaceOrder, SetSwitch
from engine.domain.values import SwitchState
from engine.log.consume import bounds, open_consumer
from engine.topology import CONTROL

log = logging.getLogger(__name__)
STRICTNESS: Final[dict[SwitchState, int]] = {"running": 0, "close_only": 1, "halt": 2, "halt_exits": 3}
REMEMBERED: Final = 10_000
"""Requests whose repeat is dropped, as the shards drop it: an old halt that comes twice must not undo the resume between."""
_DECODER = msgspec.json.Decoder(ControlRecord)


class Switches:
    """Newest state of every scope. `changed` counts the switches that were set."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], SwitchState] = {}
        self._requests: dict[str, None] = {}
        self.changed = 0

    def fold(self, value: bytes) -> None:
        """Apply one control record; those that are not switches, are for the trail, or nobody could have accepted, change nothing."""
        if is_audit(value):
            return
        try:
            record = _DECODER.decode(value)
        except msgspec.DecodeError as error:
            log.warning("control record skipped: %s", error)
            return
        if isinstance(record, SetSwitch) and record.request_id not in self._requests:
            self._requests[record.request_id] = None
            if len(self._requests) > REMEMBERED:
                del self._requests[next(iter(self._requests))]
            self._states[(record.scope, record.target if record.scope != "global" else "")] = record.state
            self.changed += 1

    def refusal(self, order: PlaceOrder) -> str:
        """Reason code that forbids the order now; empty when it may go."""
        scopes = (("global", ""), ("exchange", order.venue), ("whale", order.whale_id), ("follower", order.follower_id))
        strictest = max((self._states.get(scope, "running") for scope in scopes), key=STRICTNESS.__getitem__)
        if strictest == "halt_exits":
            return "kill_switch"
        if order.kind == "open" and strictest != "running":
            return "close_only" if strictest == "close_only" else "kill_switch"
        return ""


async def watch_control(settings: Settings, switches: Switches, ready: asyncio.Event, changed: Callable[[], None]) -> None:
    """Fold the control topic for ever; `ready` is set once everything that was there at the start is folded."""
    tp = TopicPartition(settings.topic(CONTROL), 0)
    async with open_consumer(settings) as consumer:
        _, end = await bounds(consumer, tp.topic, tp.partition)
        consumer.assign([tp])  # type: ignore[no-untyped-call]
        consumer.seek(tp, 0)  # type: ignore[no-untyped-call]
        folded = 0
        while True:
            if folded >= end:
                ready.set()
            batches = await consumer.getmany(tp, timeout_ms=200)
            before = switches.changed
            for record in batches.get(tp, ()):
                switches.fold(record.value or b"")
                folded = record.offset + 1
            if switches.changed != before:
                changed()
