"""Reading a log only to fold it: the same records enter, events without what folding never looks at leave, in about half the time.

How a size came about is told by `CopyDecided` and looked at by people and projections, never by the state. These types have the
tags of the events that they stand for; `evolve` takes them like those.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.domain import events
from engine.domain.events import AnyEvent, LotExit
from engine.domain.fold import OF_FOLLOWER, copy_decided
from engine.domain.messages import CancelOrder, PlaceOrder
from engine.domain.positions import order_ended
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


def decode_lean(value: bytes) -> AnyEvent:
    """An event for `evolve` only; raises `msgspec.ValidationError` for an older version, like a decoder of `AnyEvent`."""
    return _decoder.decode(value)
