"""A log as the engine writes it, made quickly: for benches of what reads it.

Enters: settings, how many followers, how often accounts are reported. Leaves: accepted rounds on `follower.events.v1`. There is a signal
a minute; of its followers 60 % copy (a decision with its order, a round later the order's end and the account's equity) and 40 % skip for
one of two reasons, as groups. Between two signals every account is reported so many times more: executors do it every 20 s.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any, Final

from engine.config import Settings
from engine.domain import events
from engine.domain.ids import command_id, shard_originator
from engine.domain.messages import PlaceOrder, SourcePosition
from engine.domain.values import FollowerSettings, FollowTerms, Signal
from engine.log.codec import encode_event
from engine.log.reader import NO_DIGEST, chain
from engine.log.writer import ShardWriter, build_producer
from engine.topology import shard_of

START_MS: Final = 1_790_000_000_000
SPACING_MS: Final = 60_000
REPORTS: Final = 3
"""Reports of an account between two signals, as executors do it by default."""
VENUE: Final = "binanceusdm"
PRICE: Final = Decimal("60000.5")
COPIERS: Final = Decimal("0.6")
WHALES: Final = 10


@dataclass
class Shard:
    """One writer and what its markers count."""

    writer: ShardWriter
    followers: list[str]
    inbox: int = 0
    digest: str = NO_DIGEST
    next_id: int = 1
    open: list[PlaceOrder] | None = None


class EventLog:
    """Writes rounds, signal by signal, to all shards. `written` counts events (by type: `kinds`), `signals`, `decisions` and
    `orders` what they are about."""

    def __init__(self, settings: Settings, followers: int, reports: int = REPORTS) -> None:
        self._settings, self._reports = settings, reports
        self._producer = build_producer(settings, "bench")
        self._numbers = count()
        names = [f"follower-{number}" for number in range(followers)]
        by_shard: dict[int, list[str]] = {number: [] for number in range(settings.partitions)}
        for name in names:
            by_shard[shard_of(name, settings.partitions)].append(name)
        self._shards = [Shard(ShardWriter(self._producer, settings, number), found) for number, found in by_shard.items()]
        self.signals = self.decisions = self.orders = 0
        self.kinds: Counter[str] = Counter()

    @property
    def written(self) -> int:
        """Events so far."""
        return self.kinds.total()

    async def begin(self) -> None:
        """Claims, then followers and their follows."""
        await self._producer.start()  # type: ignore[no-untyped-call]
        for shard in self._shards:
            await shard.writer.claim("bench")
            await self._round(shard, [event for name in shard.followers for event in _settings_of(name)], START_MS)

    async def reopen(self) -> None:
        """Go on after `end`."""
        self._producer = build_producer(self._settings, "bench")
        await self._producer.start()  # type: ignore[no-untyped-call]
        for shard in self._shards:
            shard.writer = ShardWriter(self._producer, self._settings, shard.writer.shard)
            await shard.writer.claim("bench")

    async def end(self) -> None:
        """Let the last orders end, then close."""
        now = START_MS + next(self._numbers) * SPACING_MS
        for shard in self._shards:
            await self._round(shard, _endings(shard, now), now)
        await self._producer.stop()  # type: ignore[no-untyped-call]

    async def signal(self, most: int | None = None) -> None:
        """One signal through every shard: decisions of it (of `most` followers a shard), ends of the orders of the one before, and what
        executors report until the next one."""
        number = next(self._numbers)
        now = START_MS + number * SPACING_MS
        told = _signal(number, now)
        for shard in self._shards:
            followers = shard.followers[:most]
            await self._round(shard, [*_endings(shard, now), *_decisions(shard, followers, told, number, now)], now)
            self.decisions += len(followers)
            self.orders += len(shard.open or [])
            for turn in range(self._reports):
                at = now + (turn + 1) * SPACING_MS // (self._reports + 1)
                await self._round(shard, [_equity(name, at) for name in followers], at)
        self.signals += 1

    def ends(self) -> dict[int, int]:
        """Where each partition stands: behind its last marker."""
        return {shard.writer.shard: shard.writer.next_offset for shard in self._shards}

    async def _round(self, shard: Shard, told: list[events.AnyEvent], now: int) -> None:
        keyed = [encode_event(event) for event in told]
        digest = chain(shard.digest, [value for _, value in keyed])
        marker = events.RoundCommitted(
            epoch=shard.writer.epoch,
            inbox_from=shard.inbox,
            inbox_to=shard.inbox + 1,
            sources={"s/0": shard.inbox},
            events=len(keyed),
            first_id=shard.next_id,
            digest=digest,
            logic_version=1,
            commands_through=0,
            commands_total=0,
            now=now,
        )
        await shard.writer.write_round(keyed, marker)
        shard.inbox, shard.digest, shard.next_id = shard.inbox + 1, digest, shard.next_id + len(keyed)
        self.kinds.update(type(event).__name__ for event in told)


def _settings_of(name: str) -> list[events.AnyEvent]:
    whale = f"whale-{int(name.rpartition('-')[2]) % WHALES}"
    settings = FollowerSettings(preferred_exchange=VENUE, max_leverage=Decimal(3))
    terms = FollowTerms(trade_size_usdt=Decimal(100))
    common: dict[str, Any] = {"originator_id": name, "at": START_MS, "request_id": name}
    return [
        events.FollowerConfigured(originator_version=1, settings=settings, config_version=1, **common),
        events.WhaleFollowed(originator_version=2, whale_id=whale, terms=terms, config_version=2, **common),
    ]


def _signal(number: int, now: int) -> Signal:
    return Signal(
        signal_id=f"bench-{number}",
        whale_id=f"whale-{number % WHALES}",
        symbol="BTC/USDC:USDC",
        trade_type="futures",
        action="open",
        side="buy",
        quantity=Decimal("1.25"),
        price=PRICE,
        detected_at=now - 30,
        published_at=now - 20,
    )


def _decisions(shard: Shard, followers: list[str], signal: Signal, number: int, now: int) -> list[events.AnyEvent]:
    """What a shard's followers say to a signal, each of them once."""
    copiers = int(len(followers) * COPIERS)
    turn = number % len(followers) if followers else 0
    order = followers[turn:] + followers[:turn]
    shard.open = [_order(name, signal, now) for name in order[:copiers]]
    origin = shard_originator(shard.writer.shard)
    told: list[events.AnyEvent] = [
        events.SignalAdmitted(
            originator_id=origin, originator_version=2 * number + 1, at=now, signal=signal, src=SourcePosition("s", 0, number)
        )
    ]
    told += [_copy(each, signal, now) for each in shard.open]
    rest = order[copiers:]
    half = len(rest) // 2
    told += [
        _skips(origin, signal, reason, part, now) for reason, part in (("cooldown", rest[:half]), ("max_exposure", rest[half:])) if part
    ]
    told.append(
        events.SignalDecided(
            originator_id=origin,
            originator_version=2 * number + 2,
            at=now,
            signal_id=signal.signal_id,
            followers=len(followers),
            copied=copiers,
            orders=copiers,
        )
    )
    return told


def _order(name: str, signal: Signal, now: int) -> PlaceOrder:
    return PlaceOrder(
        command_id=command_id(signal.signal_id, name),
        follower_id=name,
        venue=VENUE,
        symbol="BTC/USDT:USDT",
        side="buy",
        quantity=Decimal("0.001"),
        kind="open",
        whale_id=signal.whale_id,
        cause=signal.signal_id,
        limit_price=Decimal("60300"),
        reference_price=PRICE,
        expires_at=now + 60_000,
        detected_at=signal.detected_at,
        published_at=signal.published_at,
        received_at=now,
        decided_at=now,
    )


def _copy(order: PlaceOrder, signal: Signal, now: int) -> events.CopyDecided:
    sizing = events.Sizing(
        mode="fixed_quote",
        inputs={"trade_size_usdt": Decimal(100)},
        wanted_quote=Decimal(100),
        final_quote=Decimal(60),
        quantity=order.quantity,
        cuts=(events.Cut("step", Decimal(100), Decimal(60)),),
    )
    return events.CopyDecided(
        originator_id=order.follower_id,
        originator_version=3,
        at=now,
        signal_id=signal.signal_id,
        whale_id=signal.whale_id,
        symbol=signal.symbol,
        venue=order.venue,
        venue_symbol=order.symbol,
        direction="long",
        outcome="reduced",
        config_version=2,
        sizing=sizing,
        orders=(order,),
    )


def _skips(origin: str, signal: Signal, reason: str, followers: list[str], now: int) -> events.CopiesSkipped:
    names = tuple((name, 2) for name in followers)
    return events.CopiesSkipped(
        originator_id=origin,
        originator_version=1,
        at=now,
        signal_id=signal.signal_id,
        whale_id=signal.whale_id,
        symbol=signal.symbol,
        reason=reason,
        limit="100",
        value="120.5",
        followers=names,
    )


def _endings(shard: Shard, now: int) -> list[events.AnyEvent]:
    told: list[events.AnyEvent] = []
    for order in shard.open or []:
        told.append(_ended(order, now))
        told.append(_equity(order.follower_id, now))
    shard.open = None
    return told


def _equity(name: str, now: int) -> events.EquityRecorded:
    return events.EquityRecorded(
        originator_id=name,
        originator_version=5,
        at=now,
        venue=VENUE,
        equity=Decimal("9999.51"),
        available=Decimal("9900.12"),
        reported_at=now - 1,
    )


def _ended(order: PlaceOrder, now: int) -> events.OrderEnded:
    return events.OrderEnded(
        originator_id=order.follower_id,
        originator_version=4,
        at=now,
        command_id=order.command_id,
        cause=order.cause,
        whale_id=order.whale_id,
        venue=order.venue,
        venue_symbol=order.symbol,
        direction="long",
        kind="open",
        status="filled",
        exchange_order_id="123456789",
        filled=order.quantity,
        quantity=order.quantity,
        average_price=PRICE + 1,
        fee_quote=Decimal("0.0240006"),
        slippage_bps=Decimal("0.17"),
        attempts=1,
        attempted_at=now - 8,
        acknowledged_at=now - 4,
        settled_at=now - 3,
    )
