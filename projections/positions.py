"""`positions`: orders, their ends, drifts, dust and funding enter; one row a lot leaves, equal to the engine's own lots.

The lots that a batch touches are loaded (or remembered from the batch before), the facts folded in the order of the log, and the rows
written back whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from projections.ids import position_id, user_id
from projections.lots import COLUMNS, ZERO, Lot, LotKey
from projections.sql import load
from projections.staging import Curs, copy_lines
from projections.trades import Known, Requested, Requests, fitting
from projections.views import DriftDetected, DustRecorded, FundingRecorded, OrderEnded, OrderView

Rare = DriftDetected | DustRecorded | FundingRecorded
Lots = dict[LotKey, Lot]
FUNDED_MODES: Final = ("live", "paper")
DIRECTIONS: Final = ("long", "short")
REMEMBERED: Final = 300_000
"""Lots that a session keeps in memory."""


class End(NamedTuple):
    """The end of an order; its lot is known once its request is."""

    event: OrderEnded
    number: int


@dataclass(slots=True)
class Positions:
    """The facts of a batch, and the lots that the session remembers. After a batch that failed the memory must be emptied."""

    lots: Lots = field(default_factory=dict)
    facts: list[Requested | End | Rare] = field(default_factory=list)
    touched: set[LotKey] = field(default_factory=set)

    def on_requests(self, requests: Iterable[Requested]) -> None:
        """Orders are under way."""
        self.facts += requests
        for request in requests:
            self.touched.add(request.lot)

    def on_ended(self, event: OrderEnded, partition: int, offset: int) -> None:
        """An order has ended."""
        self.facts.append(End(event, position_id(partition, offset)))

    def on_rare(self, event: Rare, partition: int, offset: int) -> None:
        """Drift, dust or funding."""
        self.touched.update(_keys(event))
        self.facts.append(event)

    def write(self, cursor: Curs, known: Requests) -> None:
        """Load, fold, stage, merge. `known`: the requests of the orders that end."""
        if not self.facts:
            return
        if len(self.lots) > REMEMBERED:
            self.lots.clear()
        # Requests of this batch are touched anyway.
        touched = self.touched | {request.lot for request in known.values() if isinstance(request, Known)}
        self._load(cursor, touched - self.lots.keys())
        self._fold(known)
        changed = sorted((key, lot) for key in touched if (lot := self.lots.get(key)) and lot.version)
        copy_lines(cursor, "stage_positions", COLUMNS, [lot.line(key) for key, lot in changed])
        cursor.execute(load("merges.sql")["merge_positions"])
        for _, lot in changed:
            lot.version = 0

    def _load(self, cursor: Curs, keys: Iterable[LotKey]) -> None:
        by_number = {(user_id(key[0]), *key[1:]): key for key in keys}
        if not by_number:
            return
        cursor.execute(load("merges.sql")["load_lots"], [list(column) for column in zip(*by_number, strict=True)])
        for row in cursor:
            self.lots[by_number[row[:6]]] = Lot(*row[6:])

    def _fold(self, known: Requests) -> None:
        for fact in self.facts:
            match fact:
                case Requested():
                    self._request(fact)
                case End():
                    if request := known.get(fact.event.command_id):
                        self._end(fact, request)
                case DriftDetected():
                    self._drift(fact)
                case DustRecorded():
                    self._dust(fact)
                case FundingRecorded():
                    self._fund(fact)

    def _lot(self, key: LotKey, number: int) -> Lot:
        lot = self.lots.get(key)
        if lot is None:
            lot = self.lots[key] = Lot(number)
        return lot

    def _request(self, fact: Requested) -> None:
        order, key, at, number = fact
        quantity = fact.quantity
        lot = self._lot(key, number)
        was_empty = lot.empty
        lot.touch(at)
        if order.mode == "shadow":
            _fill_shadow(lot, order, quantity, key[3])
        elif order.kind == "open":
            lot.pending += quantity
        else:
            lot.reserved += quantity
        if order.kind == "open":
            lot.leverage = fitting(order.leverage)
        lot.settle(was_empty, at)

    def _end(self, fact: End, order: Requested | Known) -> None:
        event = fact.event
        lot = self._lot(order.lot, fact.number)
        was_empty = lot.empty
        lot.touch(event.at)
        quantity = Decimal(event.quantity)
        if event.kind == "open":
            lot.pending -= order.quantity
            lot.gain(Decimal(event.filled), quantity, Decimal(event.average_price or 0))
        else:
            lot.reserved -= order.quantity
            if quantity:
                lot.shrink(lot.filled - quantity)
            lot.realized += Decimal(event.realized_pnl)
        if event.fee_base != "0":
            lot.fee_base += Decimal(event.fee_base)
        lot.fee_quote += Decimal(event.fee_quote)
        lot.settle(was_empty, event.at)

    def _drift(self, event: DriftDetected) -> None:
        for change in event.adjustments:
            key = (event.originator_id, event.venue, event.venue_symbol, change.direction, event.mode, change.whale_id)
            if lot := self.lots.get(key):
                lot.touch(event.at)
                after = Decimal(change.after)
                lot.drift += lot.filled - after
                lot.shrink(after)
                lot.settle(False, event.at)

    def _dust(self, event: DustRecorded) -> None:
        if lot := self.lots.get(_dust_key(event)):
            lot.touch(event.at)
            lot.dust += Decimal(event.quantity)
            lot.shrink(ZERO)
            lot.settle(False, event.at)

    def _fund(self, event: FundingRecorded) -> None:
        for whale_id, amount in event.shares.items():
            lots = [lot for key in _funded_keys(event, whale_id) if (lot := self.lots.get(key))]
            # A perpetual position has one direction: the lot that holds something, or the first that ever did.
            lot = next((lot for lot in lots if lot.filled), lots[0] if lots else None)
            if lot:
                lot.touch(event.at)
                lot.funding += Decimal(amount)


def _keys(fact: Rare) -> list[LotKey]:
    """The lots that a rare fact may touch."""
    match fact:
        case DriftDetected():
            place = (fact.originator_id, fact.venue, fact.venue_symbol)
            return [(*place, change.direction, fact.mode, change.whale_id) for change in fact.adjustments]
        case DustRecorded():
            return [_dust_key(fact)]
        case FundingRecorded():
            return [key for whale_id in fact.shares for key in _funded_keys(fact, whale_id)]


def _dust_key(event: DustRecorded) -> LotKey:
    return (event.originator_id, event.venue, event.venue_symbol, event.direction, event.mode, event.whale_id)


def _funded_keys(event: FundingRecorded, whale_id: str) -> list[LotKey]:
    place = (event.originator_id, event.venue, event.venue_symbol)
    return [(*place, direction, mode, whale_id) for mode in ((event.mode,) if event.mode else FUNDED_MODES) for direction in DIRECTIONS]


def _fill_shadow(lot: Lot, order: OrderView, quantity: Decimal, direction: str) -> None:
    """Shadow orders fill at the whale's price at once, without an event of their own."""
    price = Decimal(order.reference_price) if order.reference_price else lot.cost / lot.filled if lot.filled else ZERO
    if order.kind == "open":
        lot.gain(quantity, quantity, price)
    else:
        lot.realized += lot.profit(direction, quantity, price)
        lot.shrink(lot.filled - quantity)
