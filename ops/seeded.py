"""A market made up from a seed: three whales, one of them spot, with coherent positions and prices from a seeded walk.

Enters: a seed and a count. Leaves: the same signals every time. The demo plays them when it is given no recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from engine.contracts.signal import WhaleSignal
from engine.contracts.types import EPOCH
from ops.detect import action_of

BEGIN: Final = EPOCH + timedelta(days=20_454)
MARKETS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "atlas": (("BTC/USDT:USDT", "64000"), ("ETH/USDT:USDT", "3100"), ("SOL/USDT:USDT", "150")),
    "borealis": (("XRP/USDC:USDC", "0.6"), ("KBONK/USDC:USDC", "0.025"), ("LINK/USDC:USDC", "14"), ("DOGE/USDC:USDC", "0.12")),
    "cetus": (("BTC/USDT", "64000"), ("ETH/USDT", "3100"), ("SOL/USDT", "150")),
}
"""Whale to its markets and first prices; `cetus` trades spot."""
STEP: Final = 0.002
NEW_ORDER: Final = 0.7
"""How often an increase is an order of its own; else it goes on with the order before."""
NOTIONAL: Final = (4_000, 40_000)


@dataclass
class _Market:
    symbol: str
    price: Decimal
    position: Decimal = Decimal(0)
    orders: int = field(default=0)

    @property
    def spot(self) -> bool:
        return ":" not in self.symbol


def seeded_signals(seed: int, count: int) -> Iterator[WhaleSignal]:
    """`count` signals of the three whales; `detected_at` and `whale_time` are times of the made-up market."""
    random, time = Random(seed), BEGIN
    whales = {whale: [_Market(symbol, Decimal(price)) for symbol, price in markets] for whale, markets in MARKETS.items()}
    for number in range(count):
        time += timedelta(milliseconds=random.randint(50, 1500))
        whale = random.choice(sorted(whales))
        market = random.choice(whales[whale])
        market.price = _rounded(market.price * Decimal(1 + random.uniform(-STEP, STEP)))
        target = _next_position(market, random)
        if action_of(market.position, target) != "increase" or random.random() < NEW_ORDER:
            market.orders += 1
        yield _signal(f"{whale}-{seed}-{number}", whale, market, target, time)
        market.position = target


def _next_position(market: _Market, random: Random) -> Decimal:
    """Where the whale goes from here; a flat one opens, most others grow, shrink or close, some turn round."""
    size = _rounded(Decimal(random.randint(*NOTIONAL)) / market.price)
    now = market.position
    if now == 0:
        return size if market.spot or random.random() < 0.6 else -size
    choice = random.random()
    if choice < 0.35:
        return now + size.copy_sign(now)
    if choice < 0.65:
        return now - _rounded(now * Decimal(random.choice(("0.25", "0.5", "0.8"))))
    if choice < 0.85 or market.spot:
        return Decimal(0)
    return -size.copy_sign(now)


def _signal(signal_id: str, whale: str, market: _Market, target: Decimal, time: datetime) -> WhaleSignal:
    return WhaleSignal(
        signal_id=signal_id,
        whale_id=whale,
        symbol=market.symbol,
        trade_type="spot" if market.spot else "futures",
        action=action_of(market.position, target),
        side="buy" if target > market.position else "sell",
        whale_order_id=f"{market.symbol}-{market.orders}",
        quantity=abs(target - market.position),
        price=market.price,
        position_before=market.position,
        position_after=target,
        leverage=None if market.spot else Decimal(5),
        detected_at=time,
        whale_time=time,
    )


def _rounded(amount: Decimal) -> Decimal:
    """Five significant digits, without an exponent."""
    return Decimal(format(Decimal(f"{amount:.5g}"), "f"))
