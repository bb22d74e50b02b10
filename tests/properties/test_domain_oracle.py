"""The whole recording, followers of every kind, and venues that fill late, in part, or not at all: the oracle agrees with the domain.

Settlements come in any order between the signals, so that exits meet opens in every state.
"""

from __future__ import annotations

import json
import random
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.contracts.signal import WhaleSignal
from engine.domain.events import CopyDecided, OrdersRequested, WhaleGapDetected
from engine.domain.messages import ConfigureFollower, FollowWhale, MarksReported, OrderSettled, PlaceOrder, RulesReported, SignalReceived
from engine.domain.shard import state_digest
from engine.domain.symbols import lookup
from engine.domain.values import SPOT_VENUES, VENUES, MarketRules, Signal, Venue
from ops.demo.plan import FollowerPlan, plan_followers
from ops.detect import signals_from_fills
from tests.given import Shard, d, of
from tests.oracle.timeline import Oracle
from tests.recording import FILE, excerpt
from tests.system import as_data

FOLLOWERS = 40
WHALES = ("acc10", "acc2", "acc3", "acc4", "acc5", "acc6", "acc7", "acc9")


class Run:
    """A shard with mixed followers that hears a recording; venues answer at random."""

    def __init__(self, seed: int, signals: list[WhaleSignal]) -> None:
        self.rng, self.shard, self.signals = random.Random(seed), Shard(), signals
        self.plans = plan_followers(sorted({signal.whale_id for signal in signals}), FOLLOWERS, seed=seed, mixed=True)
        self.prices: dict[tuple[Venue, str], Decimal] = {}
        for venue in VENUES:
            self.shard.send(RulesReported(venue=venue, rules=tuple(rules_of(signals, venue)), at=1), source="m")
        for plan in self.plans:
            self._enter(plan)

    def _enter(self, plan: FollowerPlan) -> None:
        request, follower = self.shard.request_id, plan.follower_id
        self.shard.send(ConfigureFollower(request_id=request(), follower_id=follower, settings=plan.settings))
        self.shard.send(FollowWhale(request_id=request(), follower_id=follower, whale_id=plan.whale_id, terms=plan.terms))

    def play(self, repeats: int = 1, reliable: bool = False) -> Run:
        """Every signal, with settlements, reports and time between them; then everything ends."""
        for number, told in enumerate(self.signals):
            if number % 50 == 0:
                self._report()
            signal = to_signal(told, number, self.shard.now)
            for _ in range(repeats):
                self.shard.send(SignalReceived(signal=signal), source="s", after_ms=0)
            self.shard.now += self.rng.choice((1, 20, 400))
            self._move_price(told)
            self._settle_some(1.0 if reliable else self.rng.choice((0.0, 0.3, 1.0)), reliable)
            if self.rng.random() < 0.2:
                self.shard.tick(1)
        while self._pending() or self.shard.state.alarms:
            self._settle_some(1.0, reliable=True)
            self.shard.tick(61_000)
        return self

    def _report(self) -> None:
        for plan in self.plans:
            self.shard.equity(100_000, plan.follower_id, plan.venue)

    def _move_price(self, told: WhaleSignal) -> None:
        for venue in VENUES:
            if listing := lookup(told.symbol, venue):
                price = told.price * listing.price_factor * Decimal(self.rng.randint(9970, 10030)) / 10_000
                self.prices[venue, listing.venue_symbol] = price
                marks = {listing.venue_symbol: price}
                if self.rng.random() < 0.3:
                    self.shard.send(MarksReported(venue=venue, marks=marks, at=self.shard.now), source="m", after_ms=0)

    def _pending(self) -> list[PlaceOrder]:
        followers = self.shard.state.followers
        return [order for name in sorted(followers) for order in (followers[name].orders or {}).values()]

    def _settle_some(self, share: float, reliable: bool) -> None:
        for order in self._pending():
            if self.rng.random() < share:
                self._settle(order, 1.0 if reliable else self.rng.choice((1.0, 1.0, 1.0, 0.5, 0.0)))

    def _settle(self, order: PlaceOrder, part: float) -> None:
        spot, price = order.venue in SPOT_VENUES, self.prices[order.venue, order.symbol]
        step = self.shard.state.rules[f"{order.venue}|{order.symbol}"].step
        filled = order.quantity if part == 1.0 else order.quantity * Decimal(str(part)) // step * step
        fee = (filled / 1000).quantize(Decimal("1e-8"), ROUND_DOWN)
        fees = {"fee_base": fee} if spot and order.side == "buy" else {"fee_quote": (filled * price / 1000).quantize(Decimal("1e-8"))}
        self.shard.settle(order, filled, str(price), **(fees if filled else {}))

    def differences(self) -> list[str]:
        """What the oracle says was wrong."""
        ends = {record.body.command_id: plain(record.body) for record, _ in self.shard.records if isinstance(record.body, OrderSettled)}
        oracle = Oracle(as_data(self.plans), ends)
        for event in self.shard.events:
            oracle.hear(plain(event))
        return oracle.wrong + oracle.left_over()


def plain(value: Any) -> dict[str, Any]:
    """As JSON."""
    data: dict[str, Any] = json.loads(msgspec.json.encode(value))
    return data


def to_signal(told: WhaleSignal, number: int, now: int) -> Signal:
    """The signal as the sequencer would hand it on now."""
    names = ("whale_id", "source", "symbol", "trade_type", "action", "side", "quantity", "price", "whale_order_id", "priority")
    facts = {name: getattr(told, name) for name in (*names, "position_before", "position_after")}
    return Signal(signal_id=f"{number}-{told.signal_id}"[-64:], detected_at=now, published_at=now, **facts)


def rules_of(signals: list[WhaleSignal], venue: Venue) -> list[MarketRules]:
    """Steps of about a dime, a least value of 5."""
    found: dict[str, MarketRules] = {}
    for signal in signals:
        if listing := lookup(signal.symbol, venue):
            price = signal.price * listing.price_factor
            step, tick = Decimal(1).scaleb(-price.adjusted() - 1), Decimal(1).scaleb(price.adjusted() - 4)
            facts: dict[str, Any] = {"step": step, "tick": tick, "min_quantity": step, "min_notional": d(5), "max_leverage": d(20)}
            found.setdefault(listing.venue_symbol, MarketRules(venue=venue, symbol=listing.venue_symbol, **facts))
    return list(found.values())


@pytest.fixture(scope="module")
def recorded(test_data: Path) -> list[WhaleSignal]:
    """The recording's signals."""
    return signals_from_fills(test_data / FILE)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_oracle_agrees_whatever_the_venues_do(recorded: list[WhaleSignal], seed: int) -> None:
    run = Run(seed, recorded).play()
    assert run.differences() == []
    asked = of(OrdersRequested, run.shard.events)
    assert len(of(CopyDecided, run.shard.events)) > 400 and len(asked) > 50, "retries and what was due"


def test_the_file_four_times_is_the_file_once(recorded: list[WhaleSignal], test_data: Path, tmp_path: Path) -> None:
    four = excerpt(test_data, tmp_path / "four.gz", {name: name for name in WHALES}, 1_000_000, repeat=4)
    assert signals_from_fills(four) == recorded
    once, again = Run(4, recorded).play(reliable=True), Run(4, recorded).play(repeats=4, reliable=True)
    for run in (once, again):
        run.shard.state.sources = {}
    assert state_digest(again.shard.state) == state_digest(once.shard.state)
    assert [plain(event) | {"src": 0} for event in again.shard.events] == [plain(event) | {"src": 0} for event in once.shard.events]


def test_gaps_of_the_file_are_noticed_and_only_exits_pass(test_data: Path, tmp_path: Path) -> None:
    names = {name: name for name in WHALES}
    file = excerpt(
        test_data, tmp_path / "gaps.gz", names, 1_000_000, keep=lambda fill: random.Random(f"{fill['oid']}/{fill['time']}").random() > 0.1
    )
    run = Run(5, signals_from_fills(file)).play()
    assert len(of(WhaleGapDetected, run.shard.events)) > 50
    assert run.differences() == []
