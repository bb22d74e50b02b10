"""What the outside world does in a seed: followers, whales' signals (some twice, some unreadable), switches, gates, releases, closes.

Everything is appended by somebody else's producer, at its own time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import msgspec

from engine.contracts.envelope import write_event
from engine.contracts.signal import SIGNAL_TYPE
from engine.domain.messages import (
    ClosePosition,
    ConfigureFollower,
    Flatten,
    FollowWhale,
    ReleaseSignals,
    SetGate,
    SetSwitch,
    UnfollowWhale,
)
from engine.domain.values import VENUES, FollowerSettings, FollowTerms, Limits
from engine.topology import CONTROL, FOLLOWER_COMMANDS, SIGNALS, shard_of
from tests.chaos.sim.world import SHARDS, SIGNAL_PARTITIONS, World

WHALES = ("w1", "w2")
SYMBOLS = {"BTC/USDC:USDC": Decimal(100), "ETH/USDC:USDC": Decimal(40)}
SIZINGS: tuple[dict[str, Any], ...] = (
    {"sizing": "fixed_quote", "trade_size_usdt": Decimal(60)},
    {"sizing": "fixed_quote", "trade_size_usdt": Decimal(333)},
    {"sizing": "multiplier", "multiplier": Decimal("0.1")},
    {"sizing": "percent_equity", "trade_size_percent": Decimal("0.1")},
)
LIMITS = (Limits(), Limits(), Limits(max_position_quote=Decimal(250)), Limits(cooldown_ms=1500, max_open_positions=1))
FOR_THE_TRAIL = b'{"t":"RevokeKey","request_id":"a1","actor":"ada","key_id":"4c5a153b4f3c"}'
"""Stands last on the control topic: no shard ever hears of it."""
_encode = msgspec.json.Encoder().encode
_json = msgspec.json.Encoder(decimal_format="string").encode


class Workload:
    """One seed's input. `signals`: ids of readable signals; `refused`: how many records nobody could read."""

    def __init__(self, world: World) -> None:
        self.world, self.random = world, Random(world.seed ^ 0x5EED)
        self.signals: list[str] = []
        self.unreadable = 0
        self.requests = 0
        self.positions: dict[tuple[str, str], Decimal] = {}
        self.followers = [f"f{number}" for number in range(self.random.randint(3, 6))]

    def schedule(self, horizon_s: float) -> None:
        """Put everything on the world's timetable."""
        for follower in self.followers:
            self._at(self.random.uniform(0.0, 0.3), self._configure, follower)
            for whale in WHALES:
                if self.random.random() < 0.8:
                    self._at(self.random.uniform(0.3, 0.8), self._follow, follower, whale)
        for _ in range(self.random.randint(5, 15)):
            self._at(self.random.uniform(1.0, horizon_s), self._signal)
        sundries = (self._unfollow, self._reconfigure, self._close, self._switch, self._gate, self._release, self._garbage, self._flatten)
        for _ in range(self.random.randint(0, 6)):
            self._at(self.random.uniform(1.0, horizon_s), self.random.choice(sundries))

    def _at(self, delay: float, act: Callable[..., None], *args: Any) -> None:
        self.world.loop.outside(delay, act, *args)

    def _request(self) -> str:
        self.requests += 1
        return f"r{self.requests}"

    def _command(self, command: Any) -> None:
        key = command.follower_id.encode()
        pairs = [(key, _encode(command))] * (2 if self.random.random() < 0.1 else 1)
        self.world.broker.append(FOLLOWER_COMMANDS.name, shard_of(command.follower_id, SHARDS), pairs)

    def _control(self, record: Any) -> None:
        self.world.broker.append(CONTROL.name, 0, [(None, _encode(record))])

    def _configure(self, follower: str) -> None:
        venue = self.random.choice(VENUES)
        self.world.accounts.append((follower, venue))
        self.settings = FollowerSettings(
            preferred_exchange=venue, max_leverage=Decimal(self.random.choice((1, 3))), limits=self.random.choice(LIMITS)
        )
        self._command(ConfigureFollower(request_id=self._request(), follower_id=follower, settings=self.settings))

    def _follow(self, follower: str, whale: str) -> None:
        terms = FollowTerms(
            start_mode=self.random.choice(("now", "until_flat")),
            min_size_policy=self.random.choice(("skip", "round_up", "accumulate")),
            copy_exits=self.random.random() < 0.95,
            **self.random.choice(SIZINGS),
        )
        self._command(FollowWhale(request_id=self._request(), follower_id=follower, whale_id=whale, terms=terms))

    def _reconfigure(self) -> None:
        self._follow(self.random.choice(self.followers), self.random.choice(WHALES))

    def _unfollow(self) -> None:
        follower, whale = self.random.choice(self.followers), self.random.choice(WHALES)
        self._command(UnfollowWhale(request_id=self._request(), follower_id=follower, whale_id=whale))

    def _close(self) -> None:
        self._command(ClosePosition(request_id=self._request(), follower_id=self.random.choice(self.followers)))

    def _flatten(self) -> None:
        self._control(Flatten(request_id=self._request()))

    def _switch(self) -> None:
        scope, target = self.random.choice((("global", ""), ("whale", "w1"), ("follower", "f1"), ("exchange", "binance")))
        state = self.random.choice(("halt", "close_only", "halt_exits"))
        self._control(SetSwitch(request_id=self._request(), scope=scope, target=target, state=state))
        self._at(self.random.uniform(0.5, 4.0), self._lift, scope, target)

    def _lift(self, scope: Any, target: str) -> None:
        self._control(SetSwitch(request_id=self._request(), scope=scope, target=target, state="running"))

    def _gate(self) -> None:
        paused = self.random.random() < 0.5
        self._control(SetGate(request_id=self._request(), min_priority=self.random.choice(("low", "medium", "high")), paused=paused))
        self._at(self.random.uniform(0.5, 5.0), self._open_gate)

    def _open_gate(self) -> None:
        self._control(SetGate(request_id=self._request()))

    def _release(self) -> None:
        self._control(ReleaseSignals(request_id=self._request(), max_signals=self.random.randint(1, 3)))

    def _garbage(self) -> None:
        self.unreadable += 1
        self.world.broker.append(SIGNALS.name, self.random.randrange(SIGNAL_PARTITIONS), [(b"w1", b'{"signal_id": 7}')])

    def finish(self) -> None:
        """Nothing is held back any more."""
        for scope, target in (("global", ""), ("whale", "w1"), ("follower", "f1"), ("exchange", "binance")):
            self._lift(scope, target)
        self._open_gate()
        self.world.broker.append(CONTROL.name, 0, [(None, FOR_THE_TRAIL)])

    def _signal(self) -> None:
        whale, symbol = self.random.choice(WHALES), self.random.choice(list(SYMBOLS))
        before = self.positions.get((whale, symbol), Decimal(0))
        action, after = self._move(before)
        if self.random.random() < 0.03:
            # The detector has missed a trade.
            before += Decimal(1) if before >= 0 else Decimal(-1)
            after = before * 2 if action in ("open", "increase") else after
            action = "increase" if action == "open" else action
        self.positions[whale, symbol] = after
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.world.loop.now_ms())
        signal_id = f"s{len(self.signals) + 1}"
        data = {
            "signal_id": signal_id,
            "whale_id": whale,
            "symbol": symbol,
            "trade_type": "futures",
            "action": action,
            "side": "buy" if after > before else "sell",
            "quantity": abs(after - before),
            "price": SYMBOLS[symbol] * (1 + Decimal(self.random.randint(-30, 30)) / 10_000),
            "position_before": before,
            "position_after": after,
            "whale_order_id": f"o{len(self.signals) // 2}" if self.random.random() < 0.3 else None,
            "priority": self.random.choice(("high", "medium", "low")),
            "detected_at": now.isoformat(),
        }
        headers, value = write_event(SIGNAL_TYPE, "/detector", signal_id, now, _json({k: v for k, v in data.items() if v is not None}))
        self.signals.append(signal_id)
        pairs = [(whale.encode(), value)] * (2 if self.random.random() < 0.1 else 1)
        self.world.broker.append(SIGNALS.name, shard_of(whale, SIGNAL_PARTITIONS), pairs, headers)

    def _move(self, before: Decimal) -> tuple[str, Decimal]:
        """What the whale does next, and its position then."""
        sign = 1 if before > 0 else -1
        if not before:
            return "open", Decimal(self.random.choice((3, 5, 8, -4)))
        action = self.random.choice(("increase", "reduce", "reduce", "close", "flip"))
        if action == "increase":
            return action, before + sign * Decimal(self.random.choice((1, 4)))
        if action == "reduce":
            return action, before * self.random.choice((1, 2, 3)) / 4
        if action == "close":
            return action, Decimal(0)
        return action, -sign * Decimal(self.random.choice((2, 5)))
