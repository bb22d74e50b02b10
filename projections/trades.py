"""`trades`: requested orders and their ends enter, one row an order leaves. What happens in between comes from `executions.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from engine.domain.events import CopyDecided, OrderEnded, OrdersRequested
from engine.domain.messages import PlaceOrder
from engine.domain.values import Mode
from projections.ids import position_id, user_id
from projections.sql import load
from projections.staging import Curs, copy_rows, when, when_known

ORDER: Final = (
    "id",
    "user_id",
    "signal_id",
    "exchange",
    "symbol",
    "side",
    "quantity",
    "leverage",
    "created_at",
    "command_key",
    "follower_key",
    "whale_key",
    "cause",
    "kind",
    "leg",
    "mode",
    "priority",
    "requested_leverage",
    "limit_price",
    "reference_price",
    "detected_at",
    "published_at",
    "received_at",
    "decided_at",
    "expires_at",
    "origin",
)
END: Final = (
    "status",
    "price",
    "exchange_order_id",
    "executed_at",
    "filled",
    "lot_quantity",
    "average_price",
    "fee_base",
    "fee_quote",
    "realized_pnl",
    "slippage_bps",
    "reason",
    "raw_code",
    "attempts",
    "attempted_at",
    "acknowledged_at",
    "settled_at",
    "updated_at",
)
ZERO: Final = Decimal(0)


class Requested(NamedTuple):
    """An order of a batch: itself, the shard time of its event, its number."""

    order: PlaceOrder
    at: int
    number: int


class Known(NamedTuple):
    """What the end of an order needs of its request."""

    quantity: Decimal
    mode: Mode


@dataclass(slots=True)
class Trades:
    """What a batch changes in `trades`: an order that is requested and ends in it is written once."""

    requested: dict[str, Requested] = field(default_factory=dict)
    ended: dict[str, OrderEnded] = field(default_factory=dict)

    def on_orders(self, event: CopyDecided | OrdersRequested, partition: int, offset: int) -> None:
        """New orders."""
        for item, order in enumerate(event.orders):
            self.requested[order.command_id] = Requested(order, event.at, position_id(partition, offset, item))

    def on_ended(self, event: OrderEnded, partition: int, offset: int) -> None:
        """An order's end state."""
        self.ended[event.command_id] = event

    def known(self, cursor: Curs) -> dict[str, Known]:
        """The requests of all orders that end in this batch, from the batch or from the table."""
        found = {key: Known(it.order.quantity, it.order.mode) for key in self.ended if (it := self.requested.get(key))}
        if missing := [key for key in self.ended if key not in found]:
            cursor.execute(load("merges.sql")["requested_orders"], [missing])
            found |= {row[0]: Known(row[1], row[2]) for row in cursor}
        return found

    def write(self, cursor: Curs, signal_ids: dict[str, int]) -> None:
        """COPY what is new, stage and merge what ended of earlier batches."""
        if self.requested:
            rows = [self._row(key, new, signal_ids) for key, new in self.requested.items()]
            copy_rows(cursor, "trades", (*ORDER, *END, "version"), rows)
        if later := [(key, *_end(event)) for key, event in self.ended.items() if key not in self.requested]:
            copy_rows(cursor, "stage_trade_ends", ("command_key", *END), later)
            cursor.execute(load("merges.sql")["end_trades"])

    def _row(self, key: str, new: Requested, signal_ids: dict[str, int]) -> tuple[object, ...]:
        ended = self.ended.get(key)
        return (*_order(new, signal_ids), *(_end(ended) if ended else _begin(new)), 2 if ended else 1)


def _order(new: Requested, signal_ids: dict[str, int]) -> tuple[object, ...]:
    order, at, number = new
    return (
        number,
        user_id(order.follower_id),
        signal_ids.get(order.cause),
        order.venue,
        order.symbol,
        order.side,
        order.quantity,
        int(order.leverage),
        when(at),
        order.command_id,
        order.follower_id,
        order.whale_id,
        order.cause,
        order.kind,
        order.leg,
        order.mode,
        order.priority,
        order.leverage,
        order.limit_price,
        order.reference_price,
        when_known(order.detected_at),
        when_known(order.published_at),
        when_known(order.received_at),
        when_known(order.decided_at),
        when_known(order.expires_at),
        "log",
    )


def _begin(new: Requested) -> tuple[object, ...]:
    status = "shadow" if new.order.mode == "shadow" else "pending"
    nothing = (ZERO, ZERO, None, ZERO, ZERO, ZERO, None, None, None, 0, None, None, None)
    return (status, new.order.reference_price, None, None, *nothing, when(new.at))


def _end(event: OrderEnded) -> tuple[object, ...]:
    return (
        event.status,
        event.average_price,
        event.exchange_order_id or None,
        when(event.settled_at) if event.filled else None,
        event.filled,
        event.quantity,
        event.average_price,
        event.fee_base,
        event.fee_quote,
        event.realized_pnl,
        event.slippage_bps,
        event.reason or None,
        event.raw_code or None,
        event.attempts,
        when_known(event.attempted_at),
        when_known(event.acknowledged_at),
        when_known(event.settled_at),
        when(event.at),
    )
