"""`trades`: requested orders and their ends enter, one row an order leaves. What happens in between comes from `executions.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from projections.ids import position_id
from projections.lots import LotKey, key_of_order
from projections.sql import load
from projections.staging import NULL, Curs, copy_lines, plain, text, when, when_line, who
from projections.views import CopyDecided, OrderEnded, OrdersRequested, OrderView

ORDER: Final = (
    "id",
    "user_id",
    "follower_key",
    "exchange",
    "symbol",
    "side",
    "quantity",
    "leverage",
    "created_at",
    "command_key",
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
LARGEST: Final = (1 << 31) - 1
NOTHING: Final = "\t".join([NULL, NULL, "0", "0", NULL, "0", "0", "0", NULL, NULL, NULL, "0", NULL, NULL, NULL])
"""From `exchange_order_id` to `settled_at` of an order that has not ended."""


class Requested(NamedTuple):
    """An order of a batch, the lot that it changes, the shard time and the number of its request."""

    order: OrderView
    lot: LotKey
    at: int
    number: int

    @property
    def quantity(self) -> Decimal:
        """Taken from the text when the lot is folded: an amount that is none is found where single records can be left out."""
        return Decimal(self.order.quantity)


class Known(NamedTuple):
    """What the end of an order needs of a request of an earlier batch."""

    lot: LotKey
    quantity: Decimal


Requests = Mapping[str, Requested | Known]
"""By command, the requests of the orders that end in a batch."""


@dataclass(slots=True)
class Trades:
    """What a batch changes in `trades`: an order that is requested and ends in it is written once."""

    requested: dict[str, Requested] = field(default_factory=dict)
    ended: dict[str, OrderEnded] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)
    """Cause and line, without the signal's number, of each requested order, once they are prepared."""

    def on_orders(self, event: CopyDecided | OrdersRequested, partition: int, offset: int) -> list[Requested]:
        """New orders; gives them as requests."""
        found = [
            Requested(order, key_of_order(order), event.at, position_id(partition, offset, item)) for item, order in enumerate(event.orders)
        ]
        for request in found:
            self.requested[request.order.command_id] = request
        return found

    def on_ended(self, event: OrderEnded, partition: int, offset: int) -> None:
        """An order's end state."""
        self.ended[event.command_id] = event

    def known(self, cursor: Curs) -> Requests:
        """The requests of all orders that end in this batch, from the batch or from the table."""
        missing = self.ended.keys() - self.requested.keys()
        if not missing:
            return self.requested
        cursor.execute(load("merges.sql")["requested_orders"], [list(missing)])
        found: dict[str, Requested | Known] = dict(self.requested)
        for key, quantity, mode in cursor:
            ended = self.ended[key]
            lot = (ended.originator_id, ended.venue, ended.venue_symbol, ended.direction, mode, ended.whale_id)
            found[key] = Known(lot, quantity)
        return found

    def prepare(self) -> None:
        """Put together what needs no database; nothing is collected after this."""
        self.lines = [(new.order.cause, self._line(key, new)) for key, new in self.requested.items()]

    def write(self, cursor: Curs, numbers: dict[str, int]) -> None:
        """COPY what is new, stage and merge what ended of earlier batches."""
        if self.requested:
            if not self.lines:
                self.prepare()
            lines = [f"{numbers.get(cause, NULL)}\t{line}" for cause, line in self.lines]
            copy_lines(cursor, "trades", ("signal_id", *ORDER, *END, "version"), lines)
        if later := [f"{plain(key)}\t{_end(event, NULL)}" for key, event in self.ended.items() if key not in self.requested]:
            copy_lines(cursor, "stage_trade_ends", ("command_key", *END), later)
            cursor.execute(load("merges.sql")["end_trades"])

    def _line(self, key: str, new: Requested) -> str:
        ended = self.ended.get(key)
        if ended is None:
            return f"{_order(new)}\t{_begin(new)}\t1"
        return f"{_order(new)}\t{_end(ended, new.order.reference_price or NULL)}\t2"


def _order(new: Requested) -> str:
    order, _, at, number = new
    return (
        f"{number}\t{who(order.follower_id)}\t{order.venue}\t{text(order.symbol)}\t{order.side}\t{order.quantity}\t"
        f"{fitting(order.leverage)}\t{when(at)}\t{plain(order.command_id)}\t{text(order.whale_id)}\t{text(order.cause)}\t{order.kind}\t"
        f"{order.leg}\t{order.mode}\t{order.priority}\t{order.leverage}\t{order.limit_price or NULL}\t{order.reference_price or NULL}\t"
        f"{when_line(order.detected_at)}\t{when_line(order.published_at)}\t{when_line(order.received_at)}\t{when_line(order.decided_at)}\t"
        f"{when_line(order.expires_at)}\tlog"
    )


def _begin(new: Requested) -> str:
    status = "shadow" if new.order.mode == "shadow" else "pending"
    return f"{status}\t{new.order.reference_price or NULL}\t{NOTHING}\t{when(new.at)}"


def _end(event: OrderEnded, price: str) -> str:
    settled, average = when_line(event.settled_at), event.average_price or NULL
    executed = NULL if nothing(event.filled) else settled
    return (
        f"{event.status}\t{event.average_price or price}\t{plain(event.exchange_order_id)}\t{executed}\t{event.filled}\t{event.quantity}\t"
        f"{average}\t{event.fee_base}\t{event.fee_quote}\t{event.realized_pnl}\t{event.slippage_bps or NULL}\t{text(event.reason)}\t"
        f"{text(event.raw_code)}\t{event.attempts}\t{when_line(event.attempted_at)}\t{when_line(event.acknowledged_at)}\t{settled}\t"
        f"{when(event.at)}"
    )


def nothing(amount: str) -> bool:
    """Whether an amount of the log is zero."""
    return amount == "0" or not Decimal(amount)


def fitting(amount: str) -> int:
    """The whole part of an amount of the log, for an older integer column."""
    return min(int(amount) if amount.isdigit() else int(Decimal(amount)), LARGEST)
