"""A naive model of one shard: it reads what happens, and predicts every answer, order and lot. Standard library only.

Enters: signals, commands, controls, reports and the clock, each as plain values with the time at which it came. Leaves: `told`, what
this one record must lead to, and followers, whales and the queue as they must be afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.properties.naive.answers import respond
from tests.properties.naive.ends import close, drift, look_at, settle
from tests.properties.naive.lots import ALL, NONE, STATES, Follow, Follower, Rules, World
from tests.properties.naive.opens import OPEN_LIFE_MS, Asked

REMEMBER_MS = 48 * 3_600_000
RANK = {"high": 0, "medium": 1, "low": 2}
EXITS = ("reduce", "close", "flip")


@dataclass
class Held:
    """A signal that waits. `kept` is what the whale's later exits left of it."""

    signal: Any
    number: int
    kept: Fraction = ALL

    @property
    def pair(self) -> tuple[str, str]:
        """Whose signal on what."""
        return self.signal.whale_id, self.signal.symbol


@dataclass
class Whale:
    """A whale on one symbol."""

    position: Fraction | None = None
    gap: bool = False
    flat_at: int = 0


@dataclass
class Told:
    """What one record led to: admissions, answers by signal and follower, ends of signals."""

    admitted: list[tuple[str, bool]] = field(default_factory=list)
    answers: dict[tuple[str, str], str] = field(default_factory=dict)
    ends: list[tuple[str, str, int, int, int]] = field(default_factory=list)


class Naive:
    """The shard. `symbols` says what a whale's symbol is called at each venue."""

    def __init__(self, symbols: dict[str, dict[str, str]], rules: dict[tuple[str, str], Rules]) -> None:
        self.symbols, self.world = symbols, World(rules=rules)
        self.followers: dict[str, Follower] = {}
        self.whales: dict[tuple[str, str], Whale] = {}
        self.seen: dict[tuple[str, str, str], int] = {}
        self.held: list[Held] = []
        self.lowest, self.paused = "low", False
        self.suspects: dict[str, dict[str, tuple[tuple[str, Fraction], ...]]] = {}
        self.told = Told()

    def at(self, now: int) -> Naive:
        """A record comes."""
        world = self.world
        world.now, world.moment, self.told = max(world.now, now), world.moment + 1, Told()
        world.asked, world.cancelled, world.dropped = [], [], []
        return self

    # --- what people say ---------------------------------------------------------------------------------------------

    def configure(self, name: str, settings: Any) -> None:
        """New settings; another account has another equity."""
        who = self.followers.setdefault(name, Follower(name, settings))
        old, who.settings = who.settings, settings
        if (old.preferred_exchange, old.mode) != (settings.preferred_exchange, settings.mode):
            who.equity, who.capital, who.equity_at, who.refused = None, None, 0, False
            self.suspects.pop(name, None)

    def follow(self, name: str, whale: str, terms: Any) -> None:
        """A running follow keeps its beginning."""
        who = self.followers[name]
        follow = who.follows.setdefault(whale, Follow(terms, self.world.moment))
        if not follow.active:
            follow.active, follow.since = True, self.world.moment
        follow.terms = terms

    def unfollow(self, name: str, whale: str) -> None:
        """Exits go on."""
        if follow := self.followers[name].follows.get(whale):
            follow.active = False
            follow.carried.clear()

    def switch(self, scope: str, target: str, state: str) -> None:
        """Of one scope."""
        self.world.switches[scope, target] = STATES.index(state)

    def gate(self, lowest: str, paused: bool) -> None:
        """What passes now is decided now."""
        self.lowest, self.paused = lowest, paused
        self._let_go(self._passing())

    def release(self, names: Iterable[str]) -> None:
        """Named signals pass, but none before an earlier one of its whale and symbol."""
        chosen, stays = [], set()
        for held in self._in_order(self.held):
            if held.signal.signal_id in names and held.pair not in stays:
                chosen.append(held)
            else:
                stays.add(held.pair)
        self._let_go(chosen)
        self._let_go(self._passing())

    def resync(self, whale: str, symbol: str, position: Fraction) -> None:
        """An operator says what the whale holds."""
        pair = self.whales.setdefault((whale, symbol), Whale())
        pair.position, pair.gap = position, False
        if not position:
            pair.flat_at = self.world.moment

    def close(self, names: Iterable[str], request_id: str, symbol: str = "", venue: str = "", whale: str = "") -> None:
        """By hand, or a flatten."""
        for name in names:
            close(self.world, self.followers[name], request_id, symbol, venue, whale)

    # --- what venues say ---------------------------------------------------------------------------------------------

    def settle(self, ident: str, filled: Fraction, price: Fraction, fees: tuple[Fraction, Fraction], at: int) -> None:
        """The end of an order; a second end says nothing."""
        if order := self.world.orders.get(ident):
            self.suspects.pop(order.follower, None)
            settle(self.world, self.followers[order.follower], ident, filled, price, fees, at)

    def equity(self, name: str, venue: str, equity: Fraction, at: int) -> None:
        """While nothing is open, what our own result does not explain is a transfer."""
        who = self.followers[name]
        if venue != who.settings.preferred_exchange or at < who.equity_at:
            return
        who.equity, who.equity_at, at_work = equity, min(at, self.world.now), bool(who.lots)
        if who.capital is None:
            who.capital, who.peak = equity - who.result.total, equity
        elif not at_work and who.equity_at > who.outcome_at:
            moved = equity - who.capital - who.result.total
            who.capital, who.peak = who.capital + moved, who.peak + moved
        who.peak = max(who.peak, who.capital + who.result.total)

    def account(self, name: str, allowed: bool) -> None:
        """Whether it may trade live."""
        self.followers[name].refused = not allowed

    def mark(self, venue: str, symbol: str, price: Fraction, at: int) -> None:
        """A price."""
        self.world.marks[venue, symbol] = price, min(at, self.world.now)

    def positions(self, name: str, venue: str, held: dict[str, Fraction], at: int) -> None:
        """A difference counts when it is the same in two reports with nothing under way."""
        who, mode = self.followers[name], self.followers[name].settings.mode
        if mode == "shadow" or at <= who.outcome_at or any(lot.opens or lot.exits for lot in who.lots.values()):
            return
        ours: dict[str, Fraction] = dict.fromkeys(held, NONE)
        for key, lot in who.lots.items():
            if (key.venue, key.mode) == (venue, mode):
                ours[key.symbol] = ours.get(key.symbol, NONE) + (lot.filled if key.long else -lot.filled)
        for (of_venue, symbol, of_mode), quantity in who.foreign.items():
            if (of_venue, of_mode) == (venue, mode):
                ours[symbol] = ours.get(symbol, NONE) + quantity
        differing = {(symbol, held.get(symbol, NONE)) for symbol, mine in ours.items() if mine != held.get(symbol, NONE)}
        again = sorted(differing & set(self.suspects.get(name, {}).get(venue, ())))
        for symbol, quantity in again:
            drift(self.world, who, venue, symbol, quantity)
        if again:
            self.suspects.pop(name)
        elif differing:
            self.suspects.setdefault(name, {})[venue] = tuple(differing)

    def tick(self) -> None:
        """Time passes: overdue signals end, free ones go, exits are asked for again."""
        for held in [held for held in self.held if self._expires_at(held.signal) < self.world.now]:
            self._decide(held)
        self._let_go(self._passing())
        for who in self.followers.values():
            look_at(self.world, who)

    # --- what whales do ----------------------------------------------------------------------------------------------

    def signal(self, signal: Any) -> None:
        """A whale traded: noticed once, held or decided."""
        name, now = (signal.source, signal.whale_id, signal.signal_id), self.world.now
        if name in self.seen or any(held.signal.signal_id == signal.signal_id for held in self.held):
            return
        self.seen[name] = now
        self.seen = {key: at for key, at in self.seen.items() if at >= now - REMEMBER_MS}
        arrived = Held(signal, self.world.moment)
        behind = signal.action not in EXITS and any(held.pair == arrived.pair for held in self.held)
        waits = behind or (signal.action not in EXITS and self._gate_closed(signal))
        self.told.admitted.append((signal.signal_id, waits))
        fraction = self._follow_chain(self.whales.setdefault(arrived.pair, Whale()), signal)
        before = [held for held in self.held if held.pair == arrived.pair]
        for held in before:
            held.kept *= ALL - (fraction if signal.action == "reduce" else NONE)
            if signal.action in ("close", "flip"):
                self._decide(held, "whale_closed")
        if waits:
            self.held.append(arrived)
        else:
            self._decide(arrived)

    def _gate_closed(self, signal: Any) -> bool:
        return self.paused or RANK[signal.priority] > RANK[self.lowest]

    def _follow_chain(self, pair: Whale, signal: Any) -> Fraction:
        """Where the whale stands now; the part of its position that it gave up."""
        known, before = pair.position, None if signal.position_before is None else Fraction(signal.position_before)
        if known is not None and before is not None and known != before:
            pair.gap = True
        start = (NONE if signal.action == "open" else known) if before is None else before
        if (start == NONE and (before is not None or signal.action == "open")) or signal.action == "flip":
            pair.flat_at = self.world.moment
        moved = Fraction(signal.quantity) * (1 if signal.side == "buy" else -1)
        pair.position = NONE if signal.action == "close" else None if start is None else start + moved
        if signal.position_after is not None:
            pair.position = Fraction(signal.position_after)
        if pair.position == NONE:
            pair.flat_at, pair.gap = self.world.moment, False
        return self._given_up(signal)

    def _given_up(self, signal: Any) -> Fraction:
        if signal.action != "reduce":
            return ALL
        return 1 - abs(Fraction(signal.position_after)) / abs(Fraction(signal.position_before))

    # --- the queue ---------------------------------------------------------------------------------------------------

    def _expires_at(self, signal: Any) -> int:
        return int(signal.detected_at + OPEN_LIFE_MS if signal.expires_at is None else signal.expires_at)

    def _in_order(self, waiting: Iterable[Held]) -> list[Held]:
        left, ordered = sorted(waiting, key=lambda held: held.number), []
        while left:
            firsts = {held.pair: held for held in reversed(left)}
            ordered.append(min(firsts.values(), key=lambda held: (RANK[held.signal.priority], held.signal.detected_at, held.number)))
            left.remove(ordered[-1])
        return ordered

    def _passing(self) -> list[Held]:
        stays = {held.pair: held.number for held in reversed(self.held) if self._gate_closed(held.signal)}
        return self._in_order(held for held in self.held if held.number < stays.get(held.pair, held.number + 1))

    def next_held(self, most: int, lowest: str) -> list[str]:
        """What `process batch` would let go: the best ones, none before an earlier one of its whale and symbol."""
        chosen, stays = [], set()
        for held in self._in_order(self.held):
            if RANK[held.signal.priority] > RANK[lowest]:
                stays.add(held.pair)
            if held.pair not in stays:
                chosen.append(held.signal.signal_id)
        return chosen[:most]

    def _let_go(self, chosen: list[Held]) -> None:
        for held in chosen:
            self._decide(held)

    def _decide(self, held: Held, reason: str = "") -> None:
        if held in self.held:
            self.held.remove(held)
        signal, answers = held.signal, {}
        for who in self.followers.values():
            if follow := who.follows.get(signal.whale_id):
                answer = ((reason, 0) if follow.active else None) if reason else self._answer(who, held)
                if answer:
                    answers[who.name] = answer
        self.told.answers |= {(signal.signal_id, name): outcome for name, (outcome, _) in answers.items()}
        copied = sum(outcome.split()[0] in ("copied", "reduced") for outcome, _ in answers.values())
        if not copied and signal.action not in ("reduce", "close") and self.world.now > self._expires_at(signal):
            self.told.ends.append((signal.signal_id, "expired", 0, 0, 0))
        else:
            self.told.ends.append((signal.signal_id, "decided", len(answers), copied, sum(orders for _, orders in answers.values())))

    def _answer(self, who: Follower, held: Held) -> tuple[str, int] | None:
        signal, pair = held.signal, self.whales[held.pair]
        gate_closed, symbols = self._gate_closed(signal), self.symbols.get(signal.symbol, {})
        asked = Asked(self.world, who, signal, symbols, pair.flat_at, pair.gap, gate_closed, held.kept)
        return respond(asked, self._given_up(signal))
