"""Reading a log only to fold it: the same records enter, events without what folding never looks at leave, in about half the time.

How a size came about is told by `CopyDecided` and looked at by people and projections, never by the state. These types have the
tags of the events that they stand for; folding takes them like those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, localcontext

import msgspec

from engine.domain import events, events_follower
from engine.domain.events import AnyEvent, LotExit
from engine.domain.fold import OF_FOLLOWER, copy_decided, evolve_within
from engine.domain.messages import CancelOrder, PlaceOrder
from engine.domain.positions import order_ended
from engine.domain.state import ARITHMETIC, FollowerState, ShardState
from engine.domain.values import Venue


class ModeOnly(msgspec.Struct, frozen=True, gc=False):
    """Of a sizing: exit or not."""

    mode: str


class LeanCopyDecided(events.Event, frozen=True, kw_only=True, tag="CopyDecided.v1"):
    """What folding needs of a copy."""

    signal_id: str
    whale_id: str
    symbol: str
    venue: Venue
    venue_symbol: str
    sizing: ModeOnly
    orders: tuple[PlaceOrder, ...] = ()
    cancels: tuple[CancelOrder, ...] = ()
    waiting: tuple[PlaceOrder, ...] = ()
    exits: tuple[LotExit, ...] = ()


class LeanOrderEnded(events.Event, frozen=True, kw_only=True, tag="OrderEnded.v1"):
    """What folding needs of an order's end."""

    command_id: str
    filled: Decimal = Decimal(0)
    quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None
    fee_quote: Decimal = Decimal(0)
    settled_at: int = 0


LeanEvent = (
    LeanCopyDecided
    | LeanOrderEnded
    | events.FollowerConfigured
    | events.WhaleFollowed
    | events.WhaleUnfollowed
    | events.CopySkipped
    | events.OrdersRequested
    | events.OpenDropped
    | events.EquityRecorded
    | events.FundingRecorded
    | events.DriftSuspected
    | events.DriftDetected
    | events.DustRecorded
    | events.AccountRecorded
    | events.ShardEvent
)
"""Every event, lean where it pays."""

OF_FOLLOWER[LeanCopyDecided] = copy_decided
OF_FOLLOWER[LeanOrderEnded] = order_ended
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(LeanEvent)
decode_lean = _decoder.decode
"""An event for folding only; raises `msgspec.ValidationError` for an older version, like a decoder of `AnyEvent`."""


_EQUITY = b'{"t":"EquityRecorded.v1",'


class Folding:
    """Folds stored events of a shard into its state, those of many rounds. `finish` before the state is looked at.

    Equity is most of a long log, and folding looks at the equity of an account with lots or orders only when the next report has
    replaced it: such a report is kept as it is until it turns out to be the newest.
    """

    def __init__(self, state: ShardState, decode: Callable[[bytes], AnyEvent]) -> None:
        self._state, self._decode = state, decode
        self._late: dict[bytes, bytes] = {}
        """Key (originator) to the newest report that was not folded."""
        self._known: dict[bytes, FollowerState] = {}
        """Followers whose capital is known, by key: a report only replaces the one before while something of theirs is open."""

    def fold(self, events: Iterable[tuple[int, bytes, bytes, int]]) -> None:
        """Fold the next events, each (offset, key, value, append time)."""
        with localcontext(ARITHMETIC):
            self._fold(events)

    def _fold(self, events: Iterable[tuple[int, bytes, bytes, int]]) -> None:
        state, late, known, decode = self._state, self._late, self._known, self._decode
        for _, key, value, _ in events:
            equity = value.startswith(_EQUITY)
            if equity and (owner := known.get(key)) is not None and (owner.lots or owner.orders):
                late[key] = value
                state.events += 1
                continue
            event = decode(value)
            if type(event) is events_follower.FollowerConfigured:
                self._take_in(key)
                known.pop(key, None)
            evolve_within(state, event)
            if equity:
                late.pop(key, None)
                known[key] = state.followers[event.originator_id]

    def finish(self) -> None:
        """Fold what was put off."""
        for key in list(self._late):
            self._take_in(key)

    def _take_in(self, key: bytes) -> None:
        value = self._late.pop(key, None)
        if value is None:
            return
        event, owner = self._decode(value), self._known[key]
        assert isinstance(event, events_follower.EquityRecorded)
        owner.version = max(owner.version, event.originator_version)
        self._state.now = max(self._state.now, event.at)
        owner.equity, owner.available, owner.equity_at, owner.equity_mode = event.equity, event.available, event.reported_at, event.mode
