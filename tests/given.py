"""Words for given / when / then: a shard with followers, whales' signals, settlements."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from engine.domain.events import AnyEvent
from engine.domain.messages import (
    ConfigureFollower,
    EquityReported,
    ExecutorClaimed,
    FollowWhale,
    InboxBody,
    InboxRecord,
    MarksReported,
    OrderSettled,
    PlaceOrder,
    PositionsReported,
    RulesReported,
    SignalReceived,
    SourcePosition,
    Tick,
)
from engine.domain.replay import Folding, decode_lean
from engine.domain.shard import commands_of, decide, dump_state, evolve, new_state, restore_state, state_digest
from engine.domain.state import FollowerState, Lot, ShardState
from engine.domain.values import FollowerSettings, FollowTerms, Limits, MarketRules, Signal, VenuePosition

START = 1_785_000_000_000
BTC = "BTC/USDC:USDC"
BTC_PERP = "BTC/USDT:USDT"
ETH = "ETH/USDC:USDC"
E = TypeVar("E")
ENCODER = msgspec.json.Encoder()
DECODER: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def d(value: str | int) -> Decimal:
    """A Decimal."""
    return Decimal(value)


def rules(venue: str, symbol: str, **changes: Any) -> MarketRules:
    """Market rules with a step of 0.001, a tick of 0.1 and a minimum of 5 quote."""
    facts: dict[str, Any] = {"step": d("0.001"), "tick": d("0.1"), "min_quantity": d("0.001"), "min_notional": d(5), "max_leverage": d(50)}
    return MarketRules(venue=venue, symbol=symbol, **(facts | changes))  # type: ignore[arg-type]


class Shard:
    """A shard under test: every method appends one inbox record a millisecond apart and keeps all events."""

    def __init__(self, number: int = 0, shards: int = 1) -> None:
        self.state: ShardState = new_state(number, shards)
        self.events: list[AnyEvent] = []
        self.records: list[tuple[InboxRecord, int]] = []
        self.now, self.offsets, self.requests, self.signals = START, 0, 0, 0
        self.positions: dict[tuple[str, str], Decimal] = {}
        self.send(ExecutorClaimed(owner="x", at=START), source="x")
        self.epoch = self.offsets - 1
        self.rules = RulesReported(
            venue="binanceusdm",
            rules=(
                rules("binanceusdm", BTC_PERP),
                rules("binanceusdm", "ETH/USDT:USDT"),
                rules("binance", "BTC/USDT"),
                rules("bybitlinear", BTC_PERP),
            ),
            at=START,
        )
        self.send(self.rules, source="m")

    def send(self, body: InboxBody, source: str = "f", after_ms: int = 1) -> list[AnyEvent]:
        """Append a record and decide on it."""
        self.now += after_ms
        record = InboxRecord(body=body, src=SourcePosition(source, 0, self.offsets))
        self.offsets += 1
        return self.take(record)

    def take(self, record: InboxRecord) -> list[AnyEvent]:
        """Decide on a record as it is."""
        self.records.append((record, self.now))
        events = decide(self.state, record, self.now)
        self.events += events
        return events

    def tick(self, after_ms: int = 1000) -> list[AnyEvent]:
        """Let time pass."""
        self.now += after_ms
        return self.take(InboxRecord(body=Tick()))

    def request_id(self) -> str:
        """A fresh request id."""
        self.requests += 1
        return f"r{self.requests}"

    def follower(self, follower_id: str = "f1", whale_id: str = "w1", **terms: Any) -> FollowerState:
        """A follower on Binance USD-M who copies a whale with 100 USDT from now on."""
        settings = terms.pop("settings", FollowerSettings(preferred_exchange="binanceusdm", max_leverage=d(5)))
        defaults: dict[str, Any] = {"start_mode": "now", "sizing": "fixed_quote", "trade_size_usdt": d(100)}
        self.send(ConfigureFollower(request_id=self.request_id(), follower_id=follower_id, settings=settings))
        self.send(
            FollowWhale(request_id=self.request_id(), follower_id=follower_id, whale_id=whale_id, terms=FollowTerms(**(defaults | terms)))
        )
        return self.state.followers[follower_id]

    def equity(
        self, amount: str | int = 1000, follower_id: str = "f1", venue: str = "binanceusdm", mode: str | None = None
    ) -> list[AnyEvent]:
        """The executor reports equity as of now."""
        whose: dict[str, Any] = {"epoch": self.epoch, "follower_id": follower_id, "venue": venue, "mode": mode}
        return self.send(EquityReported(**whose, equity=d(amount), available=d(amount), at=self.now), source="x")

    def mark(self, price: str | int, symbol: str = BTC_PERP) -> list[AnyEvent]:
        """The executor reports a price."""
        return self.send(MarksReported(venue="binanceusdm", marks={symbol: d(price)}, at=self.now), source="m")

    def signal(self, action: str, side: str, quantity: str | int = 1, price: str | int = 1000, **changes: Any) -> list[AnyEvent]:
        """A whale trades; its chain of positions is kept unless `before` / `after` are given."""
        self.signals += 1
        whale_id, symbol = changes.pop("whale_id", "w1"), changes.pop("symbol", BTC)
        before = changes.pop("before", self.positions.get((whale_id, symbol), d(0)))
        moved = (before or d(0)) + (d(quantity) if side == "buy" else -d(quantity))
        after = changes.pop("after", moved)
        self.positions[whale_id, symbol] = after
        facts: dict[str, Any] = {"signal_id": f"s{self.signals}", "detected_at": self.now, "published_at": self.now} | changes
        signal = Signal(
            whale_id=whale_id,
            symbol=symbol,
            trade_type=facts.pop("trade_type", "futures"),
            action=action,  # type: ignore[arg-type]
            side=side,  # type: ignore[arg-type]
            quantity=d(quantity),
            price=d(price),
            position_before=before,
            position_after=after,
            **facts,
        )
        return self.send(SignalReceived(signal=signal), source="s")

    def settle(
        self, order: PlaceOrder, filled: str | Decimal | None = None, price: str | int | None = None, **facts: Any
    ) -> list[AnyEvent]:
        """An order ends: by default it fills completely at the whale's price."""
        amount = order.quantity if filled is None else Decimal(filled)
        status = facts.pop("status", "filled" if amount == order.quantity else "partial" if amount else "unfilled")
        outcome = OrderSettled(
            epoch=facts.pop("epoch", self.epoch),
            seq=1,
            command_id=order.command_id,
            follower_id=order.follower_id,
            status=status,
            filled=amount,
            average_price=(d(price) if price is not None else order.reference_price) if amount else None,
            settled_at=self.now,
            **facts,
        )
        return self.send(outcome, source="x")

    def settle_all(self, follower_id: str = "f1") -> None:
        """Every pending order fills until none is left."""
        while orders := list((self.state.followers[follower_id].orders or {}).values()):
            for order in orders:
                self.settle(order)

    def fresh(self) -> ShardState:
        """The same shard before its first event."""
        return new_state(self.state.shard, self.state.shards)

    def check(self) -> None:
        """What must hold after every test: replay equals live, a snapshot loses nothing, and deciding again gives the same bytes."""
        replayed, lean = self.fresh(), self.fresh()
        folding = Folding(lean, decode_lean)
        for event in self.events:
            value = ENCODER.encode(event)
            evolve(replayed, DECODER.decode(value))
            folding.fold([(0, event.originator_id.encode(), value, 0)])
        folding.finish()
        assert replayed.command_seq == self.state.command_seq
        assert replayed.outbox == self.state.outbox
        sent = [command for event in self.events for command in commands_of(event)]
        assert [command.body for command in self.state.outbox] == sent
        names = [order.command_id for order in sent if isinstance(order, PlaceOrder)]
        assert len(names) == len(set(names)), "two orders with one id"
        for state in (replayed, lean):
            state.now, state.sources = self.state.now, dict(self.state.sources)
        assert state_digest(lean) == state_digest(self.state), differences(lean, self.state)
        assert state_digest(replayed) == state_digest(self.state), differences(replayed, self.state)
        restored = restore_state(dump_state(self.state))
        assert state_digest(restored) == state_digest(self.state), differences(restored, self.state)
        again = self.fresh()
        decided = [ENCODER.encode(event) for record, now in self.records for event in decide(again, record, now)]
        assert decided == [ENCODER.encode(event) for event in self.events]

    def lot(self, follower_id: str = "f1") -> Lot:
        """The follower's only lot."""
        (lot,) = (self.state.followers[follower_id].lots or {}).values()
        return lot

    def lots(self, follower_id: str = "f1") -> dict[str, Lot]:
        """The follower's lots."""
        return self.state.followers[follower_id].lots or {}


def opened(shard: Shard, side: str = "buy", **terms: Any) -> None:
    """A follower with a settled lot of 0.1, its whale with a position of 1."""
    shard.follower(**terms)
    shard.signal("open", side)
    shard.settle_all()


def report(
    shard: Shard, in_flight: int = 0, venue: Any = "binanceusdm", at: int | None = None, mode: Any = None, **positions: str
) -> list[AnyEvent]:
    """The executor reports positions: BTC and ETH perpetuals, BTC on spot."""
    names = {"btc": BTC_PERP, "eth": "ETH/USDT:USDT", "spot": "BTC/USDT"}
    held = tuple(VenuePosition(names[name], d(quantity)) for name, quantity in positions.items())
    said_at = shard.now + 1 if at is None else at
    body = PositionsReported(epoch=shard.epoch, follower_id="f1", venue=venue, positions=held, in_flight=in_flight, at=said_at, mode=mode)
    return shard.send(body, source="x")


def of(kind: type[E], events: list[AnyEvent]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def only(kind: type[E], events: list[AnyEvent]) -> E:
    """The one event of a kind."""
    (event,) = of(kind, events)
    return event


def limits(**changes: Any) -> Limits:
    """Limits."""
    return Limits(**changes)


def differences(one: ShardState, other: ShardState) -> list[str]:
    """Where two states differ, for a failing test to say."""
    found: list[str] = []
    for name in one.__struct_fields__:
        if name not in ("index", "pool", "outbox", "sources", "now"):
            _walk(f".{name}", getattr(one, name), getattr(other, name), found)
    return found


def _walk(path: str, left: Any, right: Any, found: list[str]) -> None:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in left.keys() | right.keys():
            _walk(f"{path}.{key}", left.get(key), right.get(key), found)
    elif isinstance(left, msgspec.Struct) and type(left) is type(right):
        for name in left.__struct_fields__:
            _walk(f"{path}.{name}", getattr(left, name), getattr(right, name), found)
    elif repr(left) != repr(right):
        found.append(f"{path}: {left!r} != {right!r}")
