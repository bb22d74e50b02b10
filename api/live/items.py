"""What an event of the log looks like on the feed: an accepted event enters, its items leave, each with who may see it.

Every shard tells of a signal, a switch or a gate; one of them, always the same one, is shown. One event can be several items (a copy and
its orders); their number within the event is part of their id, so it must not depend on who reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi.sse import format_sse_event
from pydantic import BaseModel

from api.live import payloads
from api.live.marks import Place
from api.live.payloads import KINDS, Kind, Payload
from engine.domain import events
from engine.topology import shard_of


@dataclass(slots=True, frozen=True)
class Item:
    """One event of the feed. `body` is the frame without its id. `group`: followers who share it."""

    kind: Kind
    place: Place
    data: Payload
    body: bytes
    whale_id: str | None = None
    follower_id: str | None = None
    public: bool = False
    group: tuple[str, ...] = ()

    def seen_by(self, follower_id: str) -> bytes:
        """The body for one follower of the group."""
        return frame(self.kind, self.data.model_copy(update={"follower_id": follower_id, "followers": 1}))


Found = Iterator[tuple[Kind, Payload]]
OTHER_NAMES: Final = {"follower_id": "originator_id", "exchange": "venue", "exchange_symbol": "venue_symbol"}
"""Field of a payload to the event's name for it."""


def frame(kind: str, data: BaseModel) -> bytes:
    """A frame without its id and without the empty line at its end."""
    return format_sse_event(event=kind, data_str=data.model_dump_json())[:-1]


def items_of(event: events.AnyEvent, offset: int, shard: int, shards: int) -> Iterator[Item]:
    """The items of one event."""
    tell = TELLERS.get(type(event))
    if tell is not None and _announced(event, shard, shards):
        for number, (kind, data) in enumerate(tell(event)):
            yield _item(kind, data, (offset, number), event)


def _announced(event: events.AnyEvent, shard: int, shards: int) -> bool:
    """Whether it is this shard that shows what all shards tell."""
    match event:
        case events.SignalAdmitted():
            return shard == shard_of(event.signal.signal_id, shards)
        case events.SignalDecided():
            return event.followers > 0 or shard == shard_of(event.signal_id, shards)
        case events.SignalReleased() | events.SignalExpired() | events.WhaleGapDetected():
            return shard == shard_of(event.signal_id, shards)
        case events.SwitchSet() | events.GateSet() | events.WhaleResynced():
            return shard == 0
    return True


def _item(kind: Kind, data: Payload, place: Place, event: events.AnyEvent) -> Item:
    target = data.target if isinstance(data, payloads.SwitchSet) and data.scope == "follower" else None
    return Item(
        kind=kind,
        place=place,
        data=data,
        body=frame(kind, data),
        whale_id=getattr(data, "whale_id", None),
        follower_id=getattr(data, "follower_id", None) or target,
        public=kind in payloads.PUBLIC and target is None,
        group=tuple(name for name, _ in event.followers) if isinstance(event, events.CopiesSkipped) else (),
    )


def _fill(kind: Kind, source: object, **given: Any) -> tuple[Kind, Payload]:
    """The payload of a kind, from the fields of an event that have its names, and what is given."""
    model = KINDS[kind]
    names = model.model_fields.keys() - given.keys()
    return kind, model.model_validate({name: getattr(source, OTHER_NAMES.get(name, name)) for name in names} | given)


def _plain(kind: Kind) -> Callable[[Any], Found]:
    return lambda event: iter([_fill(kind, event)])


def _admitted(event: events.SignalAdmitted) -> Found:
    yield _fill("signal_admitted", event.signal, at=event.at, held=event.held)


def _decided(event: events.SignalDecided) -> Found:
    yield _fill("signal_decided", event, shard=int(event.originator_id.rpartition("-")[2]))


def _copied(event: events.CopyDecided) -> Found:
    sizes = {name: getattr(event.sizing, name) for name in ("wanted_quote", "final_quote", "quantity")}
    yield _fill("copy_decided", event, orders=len(event.orders) + len(event.waiting), **sizes)
    yield from _requested(event)


def _requested(event: events.CopyDecided | events.OrdersRequested) -> Found:
    for order in event.orders:
        yield _fill("order_requested", order, at=event.at, follower_id=order.follower_id)


def _skipped(event: events.CopySkipped) -> Found:
    yield _fill("copy_skipped", event, followers=1)


def _all_skipped(event: events.CopiesSkipped) -> Found:
    yield _fill("copy_skipped", event, follower_id=None, followers=len(event.followers))


def _ended(event: events.OrderEnded) -> Found:
    yield _fill("order_ended", event, symbol=event.venue_symbol)


def _configured(event: events.FollowerConfigured) -> Found:
    told = event.settings
    yield _fill(
        "follower_configured",
        told,
        at=event.at,
        follower_id=event.originator_id,
        config_version=event.config_version,
        exchange=told.preferred_exchange,
    )


def _followed(event: events.WhaleFollowed) -> Found:
    who = {"follower_id": event.originator_id, "whale_id": event.whale_id}
    yield _fill("follow_set", event.terms, at=event.at, config_version=event.config_version, **who)


def _drifted(event: events.DriftDetected) -> Found:
    yield _fill("drift_detected", event, symbol=event.venue_symbol)


TELLERS: Final[dict[type, Callable[[Any], Found]]] = {
    events.SignalAdmitted: _admitted,
    events.SignalReleased: _plain("signal_released"),
    events.SignalDecided: _decided,
    events.SignalExpired: _plain("signal_expired"),
    events.CopyDecided: _copied,
    events.CopySkipped: _skipped,
    events.CopiesSkipped: _all_skipped,
    events.OrdersRequested: _requested,
    events.OrderEnded: _ended,
    events.EquityRecorded: _plain("equity_reported"),
    events.FollowerConfigured: _configured,
    events.WhaleFollowed: _followed,
    events.WhaleUnfollowed: _plain("follow_ended"),
    events.AccountRecorded: _plain("account_checked"),
    events.DriftDetected: _drifted,
    events.SwitchSet: _plain("switch_set"),
    events.GateSet: _plain("gate_set"),
    events.WhaleGapDetected: _plain("whale_gap"),
    events.WhaleResynced: _plain("whale_resynced"),
}
"""Event to what is told of it; what is missing here (market rules, marks, epochs) is not shown."""
