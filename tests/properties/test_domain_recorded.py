"""Real trades of real whales against followers of every kind: after each settled signal every lot equals an oracle.

The oracle is written from the rules in words, keeps fractions instead of lots, and imports nothing of the engine but the symbol table.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from engine.contracts.signal import WhaleSignal
from engine.domain.events import CopiesSkipped, CopyDecided, CopySkipped, SignalDecided, WhaleGapDetected
from engine.domain.messages import RulesReported, SignalReceived
from engine.domain.symbols import lookup
from engine.domain.values import FollowerSettings, Limits, MarketRules, Signal
from ops.detect import signals_from_fills
from tests.given import Shard, d, of

FILE = "hl_leaders_x8_fills.json.gz"
MIN_NOTIONAL = 5
SIZE, SHARE, CAP = 100, Fraction(1, 50), 300
SPOT_SETTINGS = FollowerSettings(preferred_exchange="binance")
PERP_SETTINGS = FollowerSettings(preferred_exchange="binanceusdm", max_leverage=d(3))
CAPPED = FollowerSettings(preferred_exchange="binanceusdm", max_leverage=d(3), limits=Limits(max_position_quote=d(CAP)))
KINDS: dict[str, dict[str, Any]] = {
    "fixed": {"settings": PERP_SETTINGS, "trade_size_usdt": d(SIZE)},
    "patient": {"settings": PERP_SETTINGS, "trade_size_usdt": d(SIZE), "start_mode": "until_flat"},
    "multiplied": {"settings": PERP_SETTINGS, "sizing": "multiplier", "multiplier": d("0.02")},
    "capped": {"settings": CAPPED, "sizing": "multiplier", "multiplier": d("0.02")},
    "spot": {"settings": SPOT_SETTINGS, "trade_size_usdt": d(SIZE)},
}


@dataclass
class Held:
    """One whale's share of one follower. `due` should have left and was too small."""

    quantity: Fraction = Fraction(0)
    due: Fraction = Fraction(0)
    paid: Fraction = Fraction(0)


@dataclass
class Oracle:
    """One follower, by the rules in words."""

    kind: str
    venue: str
    rules: dict[str, MarketRules]
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    spent: set[tuple[str, str | None]] = field(default_factory=set)
    seen_flat: set[tuple[str, str]] = field(default_factory=set)

    def hear(self, signal: Signal) -> None:
        """The follower does what the whale did, as far as it may."""
        listing = lookup(signal.symbol, self.venue)
        before, after = Fraction(signal.position_before or 0), Fraction(signal.position_after or 0)
        key = (signal.whale_id, signal.symbol)
        if before == 0 or before * after < 0:
            self.seen_flat.add(key)
        if listing is None or listing.venue_symbol not in self.rules:
            return
        rules, price = self.rules[listing.venue_symbol], Fraction(signal.price) * Fraction(listing.price_factor)
        if (before and abs(after) < abs(before)) or before * after < 0:
            gone = Fraction(1) if before * after <= 0 else (abs(before) - abs(after)) / abs(before)
            self._leave(key, gone, 1 if before > 0 else -1, rules, price)
        if abs(after) > abs(before) or before * after < 0:
            opened = abs(after) if before * after < 0 else Fraction(signal.quantity)
            self._enter(signal, key, 1 if after > 0 else -1, opened * Fraction(signal.price), rules, price)
        if after == 0:
            self.seen_flat.add(key)

    def _leave(self, key: tuple[str, str], gone: Fraction, side: int, rules: MarketRules, price: Fraction) -> None:
        held = self.held.get(key)
        if held is None or held.quantity * side <= 0:
            return
        quantity, step = abs(held.quantity), Fraction(rules.step)
        wanted = quantity if gone == 1 else gone * (quantity - held.due) + held.due
        sold = wanted // step * step
        smallest = max(step, Fraction(rules.min_quantity))
        if self.venue == "binance":
            smallest = max(smallest, -(-Fraction(rules.min_notional) / price // step) * step)
        if sold >= smallest and sold:
            rest = quantity - sold
            held.paid = held.paid * rest / quantity
            held.due = wanted - sold if wanted == quantity else Fraction(0)
            held.quantity = side * rest
        else:
            held.due = wanted
        if not held.quantity or held.due == abs(held.quantity):
            del self.held[key]

    def _enter(self, signal: Signal, key: tuple[str, str], side: int, notional: Fraction, rules: MarketRules, price: Fraction) -> None:
        if side < 0 and self.venue == "binance":
            return
        if self.kind == "patient" and key not in self.seen_flat:
            return
        if any(other[1] == key[1] and held.quantity * side < 0 for other, held in self.held.items()):
            return
        once = self.kind in ("fixed", "patient", "spot")
        if once and signal.whale_order_id and (signal.whale_id, signal.whale_order_id) in self.spent:
            return
        quote = Fraction(SIZE) if once else notional * SHARE
        if self.kind == "capped":
            quote = min(quote, CAP - sum(held.paid for other, held in self.held.items() if other[1] == key[1]))
        step = Fraction(rules.step)
        quantity = quote / price // step * step
        worst = price if side > 0 else _short_limit(price, Fraction(rules.tick))
        if quantity <= 0 or quantity < Fraction(rules.min_quantity) or quantity * min(price, worst) < Fraction(rules.min_notional):
            return
        held = self.held.setdefault(key, Held())
        held.quantity += side * quantity
        held.paid += quantity * price
        self.spent.add((signal.whale_id, signal.whale_order_id))


def _short_limit(price: Fraction, tick: Fraction) -> Fraction:
    return -(-(price * 99 / 100) // tick) * tick


def _to_signal(told: WhaleSignal, number: int, now: int) -> Signal:
    names = ("whale_id", "source", "symbol", "trade_type", "action", "side", "quantity", "price", "whale_order_id")
    facts = {name: getattr(told, name) for name in (*names, "position_before", "position_after", "priority")}
    return Signal(signal_id=f"{number}-{told.signal_id}"[-64:], detected_at=now, published_at=now, **facts)


def _rules_for(signals: list[WhaleSignal], venue: Any) -> dict[str, MarketRules]:
    """Steps of about a cent, as venues have them; a venue's minimum of 5."""
    found: dict[str, MarketRules] = {}
    for signal in signals:
        listing = lookup(signal.symbol, venue)
        if listing and listing.venue_symbol not in found:
            price = signal.price * listing.price_factor
            step = Decimal(1).scaleb(-price.adjusted() - 2)
            tick = Decimal(1).scaleb(price.adjusted() - 4)
            found[listing.venue_symbol] = MarketRules(
                venue=venue, symbol=listing.venue_symbol, step=step, tick=tick, min_quantity=step, min_notional=d(MIN_NOTIONAL)
            )
    return found


def _play(shard: Shard, signals: list[WhaleSignal], repeats: int = 1) -> dict[str, Oracle]:
    oracles: dict[str, Oracle] = {}
    rules: dict[str, dict[str, MarketRules]] = {}
    for venue in ("binance", "binanceusdm"):
        rules[venue] = _rules_for(signals, venue)
        shard.send(RulesReported(venue=venue, rules=tuple(rules[venue].values()), at=1), source="m")  # type: ignore[arg-type]
    for kind, terms in KINDS.items():
        for whale in sorted({signal.whale_id for signal in signals}):
            shard.follower(kind, whale, **dict(terms))
        venue = terms["settings"].preferred_exchange
        oracles[kind] = Oracle(kind, venue, rules[venue])
    for number, told in enumerate(signals):
        signal = _to_signal(told, number, shard.now)
        for turn in range(repeats):
            events = shard.send(SignalReceived(signal=signal), source="s")
            assert bool(events) == (turn == 0), "a repeat says nothing"
        for kind, oracle in oracles.items():
            shard.settle_all(kind)
            oracle.hear(signal)
            _compare(shard, kind, oracle, told)
    return oracles


def _compare(shard: Shard, kind: str, oracle: Oracle, told: WhaleSignal) -> None:
    lots = {(lot.whale_id, lot.symbol): Fraction(lot.filled) * (1 if lot.direction == "long" else -1) for lot in shard.lots(kind).values()}
    expected = {}
    for (whale, symbol), held in oracle.held.items():
        listing = lookup(symbol, oracle.venue)
        assert listing
        expected[whale, listing.venue_symbol] = held.quantity
    assert lots == expected, (kind, told)


@pytest.fixture(scope="module")
def recorded(test_data: Path) -> list[WhaleSignal]:
    """The recording's signals."""
    return signals_from_fills(test_data / FILE)


def test_every_lot_equals_the_oracle_after_every_signal(recorded: list[WhaleSignal]) -> None:
    shard = Shard()
    oracles = _play(shard, recorded)
    assert len(of(SignalDecided, shard.events)) == len(recorded)
    assert not of(WhaleGapDetected, shard.events), "the recording's chains are whole"
    copies = of(CopyDecided, shard.events)
    answers = len(copies) + len(of(CopySkipped, shard.events)) + sum(len(event.followers) for event in of(CopiesSkipped, shard.events))
    assert answers == len(recorded) * len(KINDS), "one answer of each follower to each signal"
    assert all(event.reason for event in of(CopiesSkipped, shard.events))
    assert len(copies) > 2000 and any(oracle.held for oracle in oracles.values())
    shard.check()


def test_every_signal_three_times_gives_the_same(recorded: list[WhaleSignal]) -> None:
    once, thrice = Shard(), Shard()
    _play(once, recorded[:400])
    _play(thrice, recorded[:400], repeats=3)
    assert [event.sizing for event in of(CopyDecided, once.events)] == [event.sizing for event in of(CopyDecided, thrice.events)]


def test_gaps_are_noticed_and_no_open_follows_one(recorded: list[WhaleSignal]) -> None:
    kept = [signal for signal in recorded if random.Random(signal.signal_id).random() > 0.1]
    shard = Shard()
    rules = _rules_for(recorded, "binanceusdm")
    shard.send(RulesReported(venue="binanceusdm", rules=tuple(rules.values()), at=1), source="m")
    for whale in sorted({signal.whale_id for signal in recorded}):
        shard.follower("fixed", whale, **dict(KINDS["fixed"]))
    broken: dict[tuple[str, str], Decimal] = {}
    gaps = 0
    for number, told in enumerate(kept):
        pair = (told.whale_id, told.symbol)
        expected = broken.get(pair, told.position_before)
        events = shard.send(SignalReceived(signal=_to_signal(told, number, shard.now)), source="s")
        shard.settle_all("fixed")
        assert bool(of(WhaleGapDetected, events)) == (expected != told.position_before)
        gaps += expected != told.position_before
        if expected != told.position_before and told.action in ("open", "increase"):
            assert {event.reason for event in of(CopiesSkipped, events)} == {"close_only"}
        broken[pair] = told.position_after or Decimal(0)
    assert gaps > 50
    shard.check()
