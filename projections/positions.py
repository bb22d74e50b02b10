"""`positions`: orders, their ends, drifts, dust and funding enter; one row a lot leaves, equal to the engine's own lots.

The lots that a batch touches are loaded, the facts folded in the order of the log, and the rows written back whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from engine.domain.events import CopyDecided, DriftDetected, DustRecorded, FundingRecorded, OrderEnded, OrdersRequested
from engine.domain.messages import PlaceOrder
from engine.domain.values import Direction, Mode
from projections.ids import position_id, user_id
from projections.lots import COLUMNS, ZERO, Lot, LotKey, key_of_order
from projections.sql import load
from projections.staging import Curs, copy_rows
from projections.trades import Known

Fact = CopyDecided | OrdersRequested | OrderEnded | DriftDetected | DustRecorded | FundingRecorded
FUNDED_MODES: Final[tuple[Mode, ...]] = ("live", "paper")
DIRECTIONS: Final[tuple[Direction, ...]] = ("long", "short")


@dataclass(slots=True)
class Positions:
    """The facts of a batch, and the lots that they touch."""

    facts: list[tuple[Fact, int, int]] = field(default_factory=list)
    lots: dict[LotKey, Lot] = field(default_factory=dict)

    def on_fact(self, event: Fact, partition: int, offset: int) -> None:
        """Anything that changes a lot."""
        self.facts.append((event, partition, offset))

    def write(self, cursor: Curs, known: dict[str, Known]) -> None:
        """Load, fold, stage, merge. `known`: the requests of the orders that end."""
        if not self.facts:
            return
        self._load(cursor, {key for fact, _, _ in self.facts for key in _keys(fact, known)})
        found = set(self.lots)
        for fact, partition, offset in self.facts:
            self._fold(fact, partition, offset, known)
        touched = sorted((key for key, lot in self.lots.items() if key not in found or lot.updated_at), key=lambda key: key)
        copy_rows(cursor, "stage_positions", COLUMNS, (self.lots[key].row(key) for key in touched))
        cursor.execute(load("merges.sql")["merge_positions"])

    def _load(self, cursor: Curs, keys: Iterable[LotKey]) -> None:
        by_number = {(user_id(key[0]), *key[1:]): key for key in keys}
        columns = [list(column) for column in zip(*by_number, strict=True)] or [[]] * 6
        cursor.execute(load("merges.sql")["load_lots"], columns)
        for row in cursor:
            self.lots[by_number[row[:6]]] = Lot(*row[6:])

    def _lot(self, key: LotKey, number: int) -> Lot:
        lot = self.lots.get(key)
        if lot is None:
            lot = self.lots[key] = Lot(number)
        return lot

    def _fold(self, fact: Fact, partition: int, offset: int, known: dict[str, Known]) -> None:
        match fact:
            case CopyDecided() | OrdersRequested():
                for item, order in enumerate(fact.orders):
                    self._request(order, fact.at, position_id(partition, offset, item))
            case OrderEnded():
                if request := known.get(fact.command_id):
                    self._end(fact, request, position_id(partition, offset))
            case DriftDetected():
                self._drift(fact)
            case DustRecorded():
                self._dust(fact)
            case FundingRecorded():
                self._fund(fact)

    def _request(self, order: PlaceOrder, at: int, number: int) -> None:
        key = key_of_order(order)
        lot = self._lot(key, number)
        was_empty = lot.empty
        lot.touch(at)
        if order.mode == "shadow":
            _fill_shadow(lot, key, order)
        elif order.kind == "open":
            lot.pending += order.quantity
        else:
            lot.reserved += order.quantity
        if order.kind == "open":
            lot.leverage = int(order.leverage)
        lot.settle(was_empty, at)

    def _end(self, event: OrderEnded, order: Known, number: int) -> None:
        lot = self._lot(_ended_key(event, order), number)
        was_empty = lot.empty
        lot.touch(event.at)
        price = event.average_price or ZERO
        if event.kind == "open":
            lot.pending -= order.quantity
            lot.gain(event.filled, event.quantity, price)
        else:
            lot.reserved -= order.quantity
            if event.quantity:
                lot.shrink(lot.filled - event.quantity)
            lot.realized += event.realized_pnl
        lot.fee_base += event.fee_base
        lot.fee_quote += event.fee_quote
        lot.settle(was_empty, event.at)

    def _drift(self, event: DriftDetected) -> None:
        for change in event.adjustments:
            key = LotKey(event.originator_id, event.venue, event.venue_symbol, change.direction, event.mode, change.whale_id)
            if lot := self.lots.get(key):
                lot.touch(event.at)
                lot.drift += lot.filled - change.after
                lot.shrink(change.after)
                lot.settle(False, event.at)

    def _dust(self, event: DustRecorded) -> None:
        key = LotKey(event.originator_id, event.venue, event.venue_symbol, event.direction, event.mode, event.whale_id)
        if lot := self.lots.get(key):
            lot.touch(event.at)
            lot.dust += event.quantity
            lot.shrink(ZERO)
            lot.settle(False, event.at)

    def _fund(self, event: FundingRecorded) -> None:
        for whale_id, amount in event.shares.items():
            lots = [lot for key in _funded_keys(event, whale_id) if (lot := self.lots.get(key))]
            # A perpetual position has one direction: the lot that holds something, or the first that ever did.
            lot = next((lot for lot in lots if lot.filled), lots[0] if lots else None)
            if lot:
                lot.touch(event.at)
                lot.funding += amount


def _keys(fact: Fact, known: dict[str, Known]) -> list[LotKey]:
    """The lots that a fact may touch."""
    match fact:
        case CopyDecided() | OrdersRequested():
            return [key_of_order(order) for order in fact.orders]
        case OrderEnded():
            order = known.get(fact.command_id)
            return [_ended_key(fact, order)] if order else []
        case DriftDetected():
            place = (fact.originator_id, fact.venue, fact.venue_symbol)
            return [LotKey(*place, change.direction, fact.mode, change.whale_id) for change in fact.adjustments]
        case DustRecorded():
            return [LotKey(fact.originator_id, fact.venue, fact.venue_symbol, fact.direction, fact.mode, fact.whale_id)]
        case FundingRecorded():
            return [key for whale_id in fact.shares for key in _funded_keys(fact, whale_id)]


def _ended_key(event: OrderEnded, order: Known) -> LotKey:
    return LotKey(event.originator_id, event.venue, event.venue_symbol, event.direction, order.mode, event.whale_id)


def _funded_keys(event: FundingRecorded, whale_id: str) -> list[LotKey]:
    place = (event.originator_id, event.venue, event.venue_symbol)
    return [LotKey(*place, direction, mode, whale_id) for mode in FUNDED_MODES for direction in DIRECTIONS]


def _fill_shadow(lot: Lot, key: LotKey, order: PlaceOrder) -> None:
    """Shadow orders fill at the whale's price at once, without an event of their own."""
    price = order.reference_price or (lot.cost / lot.filled if lot.filled else ZERO)
    if order.kind == "open":
        lot.gain(order.quantity, order.quantity, price)
    else:
        lot.realized += lot.profit(key.direction, order.quantity, price)
        lot.shrink(lot.filled - order.quantity)
