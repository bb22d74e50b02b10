"""Followers and signals for benches of the engine: settings of every kind, so that a signal meets real refusals, caps and sizes.

Enters: how many. Leaves: inbox records as the sequencer would write them. Of twenty followers three refuse by their settings, one has a
size below the minimum, one is half rolled out, three are cut by caps, and the others copy with four ways of sizing.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from engine.domain.messages import (
    ConfigureFollower,
    EquityReported,
    ExecutorClaimed,
    FollowWhale,
    InboxRecord,
    MarksReported,
    RulesReported,
    SignalReceived,
    SourcePosition,
)
from engine.domain.symbols import lookup
from engine.domain.values import FollowerSettings, FollowTerms, Limits, MarketRules, Mode, Signal, Venue
from engine.topology import shard_of

COINS: Final = ("BTC", "ETH", "SOL", "XRP", "DOGE", "AVAX", "LINK", "LTC")
PRICES: Final = dict(zip(COINS, (60000, 3000, 150, 1, 1, 30, 15, 80), strict=True))
VENUE: Final[Venue] = "binanceusdm"
WHALE: Final = "whale-1"
EPOCH: Final = 0
SIZES: Final[tuple[dict[str, Any], ...]] = (
    {"sizing": "fixed_quote", "trade_size_usdt": Decimal(100)},
    {"sizing": "percent_equity", "trade_size_percent": Decimal("1.5")},
    {"sizing": "multiplier", "multiplier": Decimal("0.02")},
    {"sizing": "proportional_equity"},
)


class Inbox:
    """Counts source positions, so that nothing looks like a repeat."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self._next: dict[str, int] = {}

    def record(self, body: Any, source: str, partition: int = 0) -> InboxRecord:
        """The next record of a source."""
        key = f"{source}/{partition}"
        offset = self._next.get(key, 0)
        self._next[key] = offset + 1
        return InboxRecord(body=body, src=SourcePosition(source, partition, offset))

    def followers(self, count: int, now: int, mode: Mode = "paper") -> Iterator[tuple[int, InboxRecord]]:
        """Market rules, then each follower with its follow and equity: (shard, record)."""
        for shard in range(self.shards):
            yield shard, self.record(ExecutorClaimed(owner="bench", at=now), "x", shard)
        for body in (RulesReported(venue=VENUE, rules=_rules(), at=now), MarksReported(venue=VENUE, marks=_marks(), at=now)):
            told = self.record(body, "m")
            yield from ((shard, told) for shard in range(self.shards))
        for number in range(count):
            name = f"follower-{number}"
            shard = shard_of(name, self.shards)
            settings, terms = _settings(number, mode), _terms(number)
            configure = ConfigureFollower(request_id=f"c{number}", follower_id=name, settings=settings)
            follow = FollowWhale(request_id=f"f{number}", follower_id=name, whale_id=WHALE, terms=terms)
            yield shard, self.record(configure, "f", shard)
            yield shard, self.record(follow, "f", shard)
            yield shard, self.record(equity(name, now), "x", shard)

    def signals(self, count: int, now: int, first: int = 0, flat_at: int = 0) -> Iterator[InboxRecord]:
        """Opens of one whale over all coins; each goes to every shard. Before signal `flat_at` the whale held nothing."""
        for number in range(first, first + count):
            coin, turn = COINS[number % len(COINS)], (number - flat_at) // len(COINS)
            size = Decimal(60_000) / PRICES[coin]
            signal = Signal(
                signal_id=f"signal-{number}",
                whale_id=WHALE,
                symbol=f"{coin}/USDC:USDC",
                trade_type="futures",
                action="increase" if turn else "open",
                side="buy",
                quantity=size,
                price=Decimal(PRICES[coin]),
                whale_order_id=f"order-{number}",
                position_before=size * turn,
                position_after=size * (turn + 1),
                whale_equity=Decimal(5_000_000),
                leverage=Decimal(3),
                detected_at=now,
                published_at=now,
            )
            yield self.record(SignalReceived(signal=signal), "s")


def equity(follower_id: str, now: int) -> EquityReported:
    """What the executor reports of an account."""
    return EquityReported(
        epoch=EPOCH, follower_id=follower_id, venue=VENUE, equity=Decimal("10012.34"), available=Decimal("9876.54"), at=now
    )


def _settings(number: int, mode: Mode) -> FollowerSettings:
    kind = number % 20
    caps = {5: Limits(max_open_positions=3), 6: Limits(max_exposure_quote=Decimal(250)), 7: Limits(max_position_quote=Decimal(60))}
    return FollowerSettings(
        copy_trading_enabled=kind != 0,
        paused=kind == 1,
        mode=mode,
        preferred_exchange=VENUE,
        max_leverage=Decimal(5),
        limits=caps.get(kind, Limits(max_staleness_ms=120_000)),
    )


def _terms(number: int) -> FollowTerms:
    kind = number % 20
    size = {"sizing": "fixed_quote", "trade_size_usdt": Decimal(1)} if kind == 8 else SIZES[number % len(SIZES)]
    return FollowTerms(
        start_mode="now",
        symbols_denied=("BTC/USDC:USDC", "ETH/USDC:USDC") if kind == 2 else (),
        rollout_percent=50 if kind == 9 else 100,
        **size,
    )


def _markets() -> list[tuple[str, int]]:
    found = [(lookup(f"{coin}/USDC:USDC", VENUE), price) for coin, price in PRICES.items()]
    return [(listing.venue_symbol, price) for listing, price in found if listing]


def _rules() -> tuple[MarketRules, ...]:
    facts: dict[str, Any] = {"min_notional": Decimal(5), "max_leverage": Decimal(50), "tick": Decimal("0.0001")}
    return tuple(MarketRules(venue=VENUE, symbol=symbol, step=Decimal("0.00001"), **facts) for symbol, _ in _markets())


def _marks() -> dict[str, Decimal]:
    return {symbol: Decimal(price) for symbol, price in _markets()}
