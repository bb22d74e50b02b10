"""A log written by hand, for tests of what reads it: claims, rounds and executions go to a real broker in the form of the map.

`Logbook` writes one topic prefix; each shard has one writer here. Events are made by short functions with sensible defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaProducer

from engine.config import Settings
from engine.domain import events
from engine.domain.ids import command_id, shard_originator
from engine.domain.messages import PlaceOrder, SourcePosition
from engine.domain.values import FollowerSettings, FollowTerms, Signal
from engine.log.codec import CLAIM_KEY, ROUND_KEY, encode, encode_event
from engine.log.reader import NO_DIGEST, chain
from engine.topology import EVENTS, EXECUTIONS, shard_of

START_MS = 1_780_000_000_000
SYMBOL, VENUE, VENUE_SYMBOL = "BTC/USDC:USDC", "binanceusdm", "BTC/USDT:USDT"


@dataclass
class Shard:
    """One writer's memory."""

    epoch: int = -1
    inbox: int = 0
    digest: str = NO_DIGEST
    next_id: int = 1
    offset: int = 0


class Logbook:
    """Use as an async context manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shards = {number: Shard() for number in range(settings.partitions)}
        self.executor_epochs: dict[int, int] = {}
        self._producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, linger_ms=2, max_batch_size=200_000)

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._producer.stop()

    async def raw(self, shard: int, key: bytes, value: bytes, topic: str = EVENTS.name) -> int:
        """One record as it is; gives its offset."""
        sent = await self._producer.send_and_wait(self.settings.topic_prefix + topic, value, key=key, partition=shard)
        return int(sent.offset)

    async def claim(self, shard: int) -> None:
        """A new writer."""
        value = encode(events.ShardClaimed(shard=shard, owner="test"))
        self.shards[shard].epoch = await self.raw(shard, CLAIM_KEY, value)

    async def round(self, shard: int, *told: events.AnyEvent, poison: Sequence[bytes] = (), **marker: Any) -> None:
        """One accepted round; keywords replace fields of the marker (a void one keeps the writer's memory as it was)."""
        state = self.shards[shard]
        if state.epoch < 0:
            await self.claim(shard)
        records = [encode_event(event) for event in told] + [(b"poison", value) for value in poison]
        futures = [await self._send(shard, key, value) for key, value in records]
        closing = self._marker(shard, [value for _, value in records], told)
        futures.append(await self._send(shard, ROUND_KEY, encode(closing if not marker else _replaced(closing, marker))))
        for future in futures:
            state.offset = (await future).offset
        if not marker:
            state.inbox, state.digest, state.next_id = closing.inbox_to, closing.digest, closing.first_id + closing.events

    async def _send(self, shard: int, key: bytes, value: bytes) -> Any:
        return await self._producer.send(self.settings.topic(EVENTS), value, key=key, partition=shard)

    def _marker(self, shard: int, values: list[bytes], told: Sequence[events.AnyEvent]) -> events.RoundCommitted:
        state = self.shards[shard]
        return events.RoundCommitted(
            epoch=state.epoch,
            inbox_from=state.inbox,
            inbox_to=state.inbox + 1,
            sources={"s/0": state.inbox + 1},
            events=len(values),
            first_id=state.next_id,
            digest=chain(state.digest, values),
            logic_version=1,
            commands_through=0,
            commands_total=0,
            now=max((event.at for event in told), default=START_MS),
        )

    async def execution(self, shard: int, body: Any) -> int:
        """One record on `trade.executions.v1`."""
        return await self.raw(shard, b"x", encode(body), EXECUTIONS.name)

    def shard(self, follower: str) -> int:
        """Where a follower lives."""
        return shard_of(follower, self.settings.partitions)


def _replaced(marker: events.RoundCommitted, fields: dict[str, Any]) -> events.RoundCommitted:
    return msgspec.structs.replace(marker, **fields)


def signal(signal_id: str = "s-1", **fields: Any) -> Signal:
    """A whale's open."""
    given: dict[str, Any] = {
        "whale_id": "whale-a",
        "symbol": SYMBOL,
        "trade_type": "futures",
        "action": "open",
        "side": "buy",
        "quantity": Decimal("1.5"),
        "price": Decimal("60000"),
        "detected_at": START_MS,
        "published_at": START_MS + 5,
    }
    return Signal(signal_id=signal_id, **given | fields)


def admitted(shard: int, told: Signal, offset: int = 0, **fields: Any) -> events.SignalAdmitted:
    """The shard has seen the signal that lies at this offset."""
    given: dict[str, Any] = {"originator_version": 1, "at": START_MS + 10, "src": SourcePosition("s", 0, offset)}
    return events.SignalAdmitted(originator_id=shard_originator(shard), signal=told, **given | fields)


def decided(shard: int, signal_id: str = "s-1", **fields: Any) -> events.SignalDecided:
    """The shard's followers have decided."""
    given: dict[str, Any] = {"originator_version": 1, "at": START_MS + 11, "followers": 0, "copied": 0, "orders": 0}
    return events.SignalDecided(originator_id=shard_originator(shard), signal_id=signal_id, **given | fields)


def expired(shard: int, signal_id: str = "s-1", **fields: Any) -> events.SignalExpired:
    """It expired there."""
    return events.SignalExpired(
        originator_id=shard_originator(shard), originator_version=1, at=START_MS + 60_000, signal_id=signal_id, **fields
    )


def configured(follower: str, **fields: Any) -> events.FollowerConfigured:
    """Settings of a follower, by keywords."""
    at, version = fields.pop("at", START_MS), fields.pop("config_version", 1)
    return events.FollowerConfigured(
        originator_id=follower,
        originator_version=version,
        at=at,
        settings=FollowerSettings(**fields),
        config_version=version,
        request_id="r",
    )


def followed(follower: str, whale: str = "whale-a", **fields: Any) -> events.WhaleFollowed:
    """Terms of a follow, by keywords."""
    at, version = fields.pop("at", START_MS), fields.pop("config_version", 2)
    terms = FollowTerms(**{"trade_size_usdt": Decimal(100)} | fields)
    return events.WhaleFollowed(
        originator_id=follower, originator_version=version, at=at, whale_id=whale, terms=terms, config_version=version, request_id="r"
    )


def order(follower: str, cause: str = "s-1", **fields: Any) -> PlaceOrder:
    """An open of the follower for the signal."""
    given: dict[str, Any] = {
        "command_id": command_id(cause, follower, fields.get("leg", 0)),
        "venue": VENUE,
        "symbol": VENUE_SYMBOL,
        "side": "buy",
        "quantity": Decimal("0.002"),
        "kind": "open",
        "whale_id": "whale-a",
        "limit_price": Decimal("60300"),
        "reference_price": Decimal("60000"),
        "detected_at": START_MS,
        "published_at": START_MS + 5,
        "received_at": START_MS + 10,
        "decided_at": START_MS + 11,
    }
    return PlaceOrder(follower_id=follower, cause=cause, **given | fields)


def copied(follower: str, *orders: PlaceOrder, signal_id: str = "s-1", **fields: Any) -> events.CopyDecided:
    """A copy with its orders (one open by default)."""
    orders = orders or (order(follower, signal_id),)
    sizing = events.Sizing(
        mode="fixed_quote",
        inputs={"trade_size_usdt": Decimal(120)},
        wanted_quote=Decimal(120),
        final_quote=Decimal(120),
        quantity=orders[0].quantity,
    )
    given: dict[str, Any] = {
        "originator_version": 3,
        "at": START_MS + 11,
        "whale_id": orders[0].whale_id,
        "symbol": SYMBOL,
        "venue": orders[0].venue,
        "venue_symbol": orders[0].symbol,
        "direction": "long",
        "outcome": "copied",
        "config_version": 2,
        "sizing": sizing,
    }
    return events.CopyDecided(originator_id=follower, signal_id=signal_id, orders=orders, **given | fields)


def ended(of: PlaceOrder, **fields: Any) -> events.OrderEnded:
    """The end of an order: filled at the whale's price by default."""
    given: dict[str, Any] = {
        "originator_version": 4,
        "at": START_MS + 40,
        "direction": "long" if (of.side == "buy") == (of.kind == "open") else "short",
        "status": "filled",
        "filled": of.quantity,
        "quantity": of.quantity,
        "average_price": of.reference_price,
        "fee_quote": Decimal("0.06"),
        "exchange_order_id": "x-1",
        "attempts": 1,
        "attempted_at": START_MS + 20,
        "acknowledged_at": START_MS + 30,
        "settled_at": START_MS + 35,
    }
    where = {"venue": of.venue, "venue_symbol": of.symbol, "whale_id": of.whale_id, "kind": of.kind, "cause": of.cause}
    return events.OrderEnded(originator_id=of.follower_id, command_id=of.command_id, **where | given | fields)
