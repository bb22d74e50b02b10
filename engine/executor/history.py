"""What the log of a partition says happened before us: fold of `trade.executions.v1` up to our own claim.

Enters: records in offset order. Leaves: which commands have ended, and which attempts have no outcome. Records whose epoch is not the
newest claim before them are void, for us as for every other reader.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from engine.domain.messages import Execution, ExecutorClaimed, OrderAttempted, OrderSettled, OrderUnknown, PlaceOrder
from engine.errors import LogCorrupt

_DECODER = msgspec.json.Decoder(Execution)


@dataclass(slots=True)
class OpenAttempt:
    """A command that was attempted and has no outcome: `since` the first attempt, void at the venue after `not_after`."""

    seq: int
    order: PlaceOrder
    attempts: int
    since: int
    not_after: int


@dataclass(slots=True)
class History:
    """The fold. `epoch` is the claim in force at the record folded last."""

    epoch: int = -1
    ended: set[int] = field(default_factory=set)
    open: dict[int, OpenAttempt] = field(default_factory=dict)

    def fold(self, offset: int, value: bytes) -> None:
        """Fold one record."""
        try:
            record = _DECODER.decode(value)
        except msgspec.DecodeError as error:
            raise LogCorrupt(f"execution at offset {offset} cannot be read: {error}") from error
        if isinstance(record, ExecutorClaimed):
            self.epoch = offset
        elif record.epoch == self.epoch:
            self._apply(record)

    def _apply(self, record: Execution) -> None:
        match record:
            case OrderAttempted():
                self._attempted(record)
            case OrderSettled():
                self.ended.add(record.seq)
                self.open.pop(record.seq, None)
            case OrderUnknown() | _:
                pass

    def _attempted(self, record: OrderAttempted) -> None:
        first = self.open.get(record.seq)
        since = first.since if first else record.sent_at
        self.open[record.seq] = OpenAttempt(record.seq, record.order, record.attempt, since, record.sent_at + record.recv_window_ms)
