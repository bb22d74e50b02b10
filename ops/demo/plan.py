"""Who follows whom in the demo: `plan_followers` gives each follower a venue, a whale, settings, terms and an account.

Enters: whales, number of followers, seed. Leaves: `FollowerPlan`s; the same input gives the same plan.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from engine.domain.values import VENUES, FollowerSettings, FollowTerms, Limits, MinSizePolicy, Mode, SizingMode, Venue

BALANCE: Final = Decimal(100_000)
DEVIATION: Final = Limits(max_deviation_bps=Decimal(500))


@dataclass(frozen=True)
class FollowerPlan:
    """One follower of the demo with the account that it trades on."""

    follower_id: str
    whale_id: str
    settings: FollowerSettings
    terms: FollowTerms
    api_key: str
    api_secret: str
    balance: Decimal = BALANCE

    @property
    def venue(self) -> Venue:
        """The venue of the follower's account."""
        return self.settings.preferred_exchange


def plan_followers(whales: Sequence[str], count: int, *, seed: int = 1, mixed: bool = False) -> list[FollowerPlan]:
    """Follower i follows whale i mod number of whales; venues change with every round through the whales."""
    return [_plan(index, whales, random.Random(f"{seed}/{index}"), seed, mixed) for index in range(count)]


def _plan(index: int, whales: Sequence[str], rng: random.Random, seed: int, mixed: bool) -> FollowerPlan:
    venue = VENUES[(index // len(whales)) % len(VENUES)]
    follower_id = f"follower-{index:04d}"
    settings, terms = _mixed(rng, venue) if mixed else _plain(index, venue)
    token = blake2b(f"{seed}/{follower_id}".encode(), digest_size=24).hexdigest()
    return FollowerPlan(follower_id, whales[index % len(whales)], settings, terms, f"key{token[:29]}", f"secret{token}")


def _plain(index: int, venue: Venue) -> tuple[FollowerSettings, FollowTerms]:
    settings = FollowerSettings(preferred_exchange=venue, max_leverage=Decimal(5), limits=DEVIATION)
    if index % 2:
        return settings, FollowTerms(
            sizing="percent_equity", trade_size_percent=Decimal("0.2"), start_mode="now", min_size_policy="round_up"
        )
    return settings, FollowTerms(sizing="fixed_quote", trade_size_usdt=Decimal(120), start_mode="now", min_size_policy="round_up")


def _mixed(rng: random.Random, venue: Venue) -> tuple[FollowerSettings, FollowTerms]:
    modes: tuple[Mode, ...] = ("paper", "paper", "paper", "live", "shadow")
    settings = FollowerSettings(
        copy_trading_enabled=rng.random() > 0.05,
        paused=rng.random() < 0.05,
        mode=rng.choice(modes),
        preferred_exchange=venue,
        max_leverage=Decimal(rng.choice((1, 2, 5, 10))),
        limits=_mixed_limits(rng),
    )
    return settings, _mixed_terms(rng)


def _mixed_limits(rng: random.Random) -> Limits:
    def maybe(chance: float, value: int) -> Decimal | None:
        return Decimal(value) if rng.random() < chance else None

    return Limits(
        max_deviation_bps=Decimal(rng.choice((50, 200, 500))),
        max_staleness_ms=30_000 if rng.random() < 0.3 else None,
        max_position_quote=maybe(0.3, 500),
        max_exposure_quote=maybe(0.3, 2_000),
        max_open_positions=rng.choice((2, 5)) if rng.random() < 0.2 else None,
        daily_loss_quote=maybe(0.2, 50),
        max_drawdown_percent=maybe(0.2, 5),
        cooldown_ms=rng.choice((500, 2_000)) if rng.random() < 0.2 else None,
    )


def _mixed_terms(rng: random.Random) -> FollowTerms:
    sizings: tuple[SizingMode, ...] = ("fixed_quote", "percent_equity", "proportional_equity", "multiplier")
    policies: tuple[MinSizePolicy, ...] = ("skip", "round_up", "accumulate")
    return FollowTerms(
        auto_copy_enabled=rng.random() > 0.05,
        sizing=rng.choice(sizings),
        trade_size_usdt=Decimal(rng.choice((20, 100, 400))),
        trade_size_percent=Decimal(rng.choice(("0.1", "0.5", "2"))),
        multiplier=Decimal(rng.choice(("0.001", "0.01", "0.05"))),
        min_size_policy=rng.choice(policies),
        symbols_denied=("BTC/USDC:USDC",) if rng.random() < 0.1 else (),
        copy_exits=rng.random() > 0.1,
        rollout_percent=rng.choice((100, 100, 50)),
        start_mode=rng.choice(("now", "now", "until_flat")),
        limits=Limits(max_position_quote=Decimal(300)) if rng.random() < 0.2 else Limits(),
    )
