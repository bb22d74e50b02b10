"""The domain against a naive model, step by step: the same answers, orders, cancels and lots, whatever happens in whatever order.

It bites. Each of these was broken by hand in the domain, alone, and found by the examples below: an exit takes its fraction of what is
due as well; it forgets opens in flight; a partial exit cancels opens; dust ends too early; failing exits are asked for without growing
pauses; a flip opens before the old lot is gone, or its open never expires; caps count nothing pending; the least quantity is rounded down;
the last leg is lost; a carried size is spent twice, or outlives its follow; the cooldown lasts a millisecond longer; equity and marks never
age; losses are not marked; the foreign share is ignored; a drift is not cut to the step; gates hold exits; priority is ignored; held opens
do not shrink; a gap never heals; signals or source positions count twice; only the global switch counts; unfollowing strands lots; a
restored snapshot forgets its followers.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.domain.events import (
    AnyEvent,
    CopyDecided,
    OrdersRequested,
)
from engine.domain.messages import (
    AccountChecked,
    ClosePosition,
    ConfigureFollower,
    EquityReported,
    ExecutorClaimed,
    Flatten,
    FollowWhale,
    MarksReported,
    PlaceOrder,
    PositionsReported,
    ReleaseSignals,
    ResyncWhale,
    RulesReported,
    SetGate,
    SetSwitch,
    SignalReceived,
    UnfollowWhale,
)
from engine.domain.signal_queue import next_signals
from engine.domain.values import Signal, VenuePosition
from tests.given import BTC, ETH, START, Shard
from tests.properties.naive.shard import Naive
from tests.properties.naive_compare import compare_events, compare_state, replayed, restored
from tests.properties.naive_world import MARKETS, NAMES, SETTINGS, SIGNALS, SYMBOLS, TERMS, WHALES, end_of, plain, position_after, trade

D = Decimal
DAY_MS = 86_400_000

PRICES = st.sampled_from([D(1000), D(1000), D(900), D("1111.1"), D("1000.5")])
HOWS = st.sampled_from(("plain", "plain", *SETTINGS))
ON_TERMS = st.sampled_from(("fixed", "fixed", *TERMS))
TELLING = st.sampled_from((*["plain"] * 8, "order", *SIGNALS))
PRIORITIES, WAITING = st.sampled_from(("low", "low", "medium", "high")), ("plain", "high", "low", "5 s old", "ETH", "ETH order")
MOVES = st.sampled_from(("grow", "grow", "grow", "little", "third", "half", "most", "close", "flip", "flip"))


class AgainstTheNaiveModel(RuleBasedStateMachine):
    """Every rule tells both, then compares."""

    @initialize(picks=st.lists(st.tuples(HOWS, ON_TERMS), min_size=4, max_size=4))
    def begin(self, picks: list[tuple[str, str]]) -> None:
        self.shard = Shard()
        self.shard.send(RulesReported(venue="binanceusdm", rules=MARKETS, at=START), source="m")
        self.naive = Naive(SYMBOLS, {(of.venue, of.symbol): plain(of) for of in MARKETS})
        self.orders: dict[str, PlaceOrder] = {}
        self.whales: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.past: list[Signal] = []
        self.ids: set[str] = set()
        for name, (how, terms) in zip(NAMES, picks, strict=True):
            self._configure(name, how)
            for whale in WHALES:
                self._follow(name, whale, terms)
            self._report_equity(name, D(1000))

    def _send(self, body: Any, source: str = "f") -> list[AnyEvent]:
        events = self.shard.send(body, source)
        self.model = self.naive.at(self.shard.now)
        return events

    def _compare(self, events: list[AnyEvent]) -> None:
        """What this record led to."""
        asked = [order for event in events if isinstance(event, CopyDecided | OrdersRequested) for order in event.orders]
        compare_events(events, self.naive)
        assert self.ids.isdisjoint(order.command_id for order in asked), "an id twice"
        self.ids |= {order.command_id for order in asked}
        self.orders |= {order.command_id: order for order in asked if order.mode != "shadow"}

    # --- whales ------------------------------------------------------------------------------------------------------

    @rule(whale=st.sampled_from(WHALES), move=MOVES, long=st.booleans(), price=PRICES, telling=TELLING)
    def whale_trades(self, whale: str, move: str, long: bool, price: Decimal, telling: str) -> None:
        pair = whale, SIGNALS[telling].get("symbol", BTC)
        before = self.whales[pair] + SIGNALS[telling].get("unseen", 0)
        self.whales[pair] = position_after(before, move, long)
        signal = trade(len(self.past) + 1, pair, (before, self.whales[pair]), price, telling, self.shard.now)
        self.past.append(signal)
        self._hear(signal)

    @rule(whale=st.sampled_from(WHALES), moves=st.lists(MOVES, min_size=2, max_size=3), long=st.booleans())
    def whale_trades_on(self, whale: str, moves: list[str], long: bool) -> None:
        """Faster than orders end."""
        for move in moves:
            self.whale_trades(whale, move, long, D(1000), "plain")

    @rule(trades=st.lists(st.tuples(st.sampled_from(WHALES), st.sampled_from(WAITING)), min_size=2, max_size=4), lowest=PRIORITIES)
    def whales_trade_behind_the_gate(self, trades: list[tuple[str, str]], lowest: str) -> None:
        """Then what may pass does so in one breath."""
        self.somebody_sets_the_gate("low", True)
        for whale, telling in trades:
            self.whale_trades(whale, "grow", True, D(1000), telling)
        self.somebody_sets_the_gate(lowest, False)

    @precondition(lambda self: self.past)
    @rule(back=st.integers(0, 3))
    def a_signal_comes_again(self, back: int) -> None:
        """Not a day later: the sequencer refuses those."""
        signal = self.past[-1 - back % len(self.past)]
        if self.shard.now - signal.detected_at < DAY_MS:
            self._hear(signal)

    def _hear(self, signal: Signal) -> None:
        events = self._send(SignalReceived(signal=signal), "s")
        self.model.signal(signal)
        self._compare(events)

    # --- orders and time ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.orders)
    @rule(parts=st.lists(st.sampled_from((0, 1, 2, 2, 2, 3)), min_size=1, max_size=4))
    def oldest_orders_end(self, parts: list[int]) -> None:
        for part in parts:
            if self.orders:
                self.order_ends(0, part, D(1000))

    @precondition(lambda self: self.orders)
    @rule(which=st.integers(0, 1000), part=st.sampled_from((0, 1, 2, 2, 3)), price=PRICES)
    def order_ends(self, which: int, part: int, price: Decimal) -> None:
        """Not at all, by half, completely, completely with fees."""
        order = self.orders.pop(list(self.orders)[which % len(self.orders)])
        self._settle(order, part, price)

    def _settle(self, order: PlaceOrder, part: int, price: Decimal) -> None:
        outcome = end_of(order, part, price, self.shard.epoch, self.shard.now)
        fees = Fraction(outcome.fee_base), Fraction(outcome.fee_quote)
        assert self.shard.send(msgspec.structs.replace(outcome, epoch=self.shard.epoch - 1), "x") == [], "another executor's epoch"
        events = self._send(outcome, "x")
        self.model.settle(order.command_id, Fraction(outcome.filled), Fraction(price), fees, outcome.settled_at)
        self._compare(events)
        assert self._send(outcome, "x") == [], "an order ends once"

    @rule(after_ms=st.sampled_from((1000, 1000, 5000, 61_000, 50 * 3_600_000)))
    def time_passes(self, after_ms: int) -> None:
        events = self.shard.tick(after_ms)
        self.naive.at(self.shard.now).tick()
        self._compare(events)

    # --- what happens seldom -----------------------------------------------------------------------------------------

    @rule(
        what=st.sampled_from(
            ("configure", "follow", "follow", "unfollow", "close", "flatten", "resync", "account", "executor", "snapshot", "crash")
        ),
        name=st.sampled_from(NAMES),
        whale=st.sampled_from(WHALES),
        how=HOWS,
        terms=ON_TERMS,
    )
    def somebody_does(self, what: str, name: str, whale: str, how: str, terms: str) -> None:
        """What happens seldom shares one rule, so that whales and orders have most of the steps."""
        match what:
            case "configure":
                self._configure(name, how)
            case "follow":
                self._follow(name, whale, terms)
            case "unfollow":
                self._tell(UnfollowWhale(request_id=self.shard.request_id(), follower_id=name, whale_id=whale))
                self.naive.unfollow(name, whale)
            case "close":
                close = ClosePosition(request_id=self.shard.request_id(), follower_id=name, whale_id=whale)
                events = self._tell(close)
                self.naive.close([name], close.request_id, whale=whale)
                self._compare(events)
            case "flatten":
                flatten = Flatten(request_id=self.shard.request_id(), scope="exchange", target=SETTINGS[how].preferred_exchange)
                events = self._tell(flatten)
                self.naive.close(NAMES, flatten.request_id, venue=SETTINGS[how].preferred_exchange)
                self._compare(events)
            case "resync":
                position = self.whales[whale, BTC]
                self._tell(ResyncWhale(request_id=self.shard.request_id(), whale_id=whale, symbol=BTC, position=position))
                self.naive.resync(whale, BTC, Fraction(position))
            case "account":
                allowed = whale == "w2"
                self._send(AccountChecked(epoch=self.shard.epoch, follower_id=name, venue="binanceusdm", allowed=allowed, at=0), "x")
                self.naive.account(name, allowed)
            case "executor":
                self._send(ExecutorClaimed(owner="y", at=self.shard.now), "x")
                self.shard.epoch = self.shard.offsets - 1
            case "snapshot":
                self.shard.state = restored(self.shard)
            case _:
                self.shard.state = replayed(self.shard)

    def _tell(self, body: Any) -> list[AnyEvent]:
        """A request counts once."""
        events = self._send(body)
        assert self.shard.send(body) == [] or not events, "a request twice"
        return events

    def _configure(self, name: str, how: str) -> None:
        self._tell(ConfigureFollower(request_id=self.shard.request_id(), follower_id=name, settings=SETTINGS[how]))
        self.naive.configure(name, SETTINGS[how])

    def _follow(self, name: str, whale: str, terms: str) -> None:
        self._tell(FollowWhale(request_id=self.shard.request_id(), follower_id=name, whale_id=whale, terms=TERMS[terms]))
        self.naive.follow(name, whale, TERMS[terms])

    @rule(
        scope=st.sampled_from((("global", ""), ("exchange", "binanceusdm"), ("whale", "w1"), ("follower", "f1"), ("follower", "f2"))),
        state=st.sampled_from(("running", "running", "close_only", "halt", "halt_exits")),
    )
    def somebody_switches(self, scope: tuple[Any, str], state: Any) -> None:
        self._tell(SetSwitch(request_id=self.shard.request_id(), scope=scope[0], target=scope[1], state=state))
        self.naive.switch(*scope, state)

    @rule(lowest=PRIORITIES, paused=st.sampled_from((False, False, True)))
    def somebody_sets_the_gate(self, lowest: Any, paused: bool) -> None:
        events = self._tell(SetGate(request_id=self.shard.request_id(), min_priority=lowest, paused=paused))
        self.naive.gate(lowest, paused)
        self._compare(events)

    @precondition(lambda self: self.naive.held)
    @rule(most=st.integers(1, 3), lowest=PRIORITIES, named=st.booleans())
    def somebody_releases(self, most: int, lowest: Any, named: bool) -> None:
        """By name, or what the sequencer finds to be next."""
        ids = [held.signal.signal_id for held in self.naive.held][-most:] if named else self.naive.next_held(most, lowest)
        request = ReleaseSignals(request_id=self.shard.request_id(), max_signals=most, min_priority=lowest)
        assert named or [held.signal.signal_id for held in next_signals(self.shard.state, request)] == ids
        events = self._send(msgspec.structs.replace(request, signal_ids=tuple(ids)))
        if ids:
            self.naive.release(ids)
        self._compare(events)

    @rule(name=st.sampled_from(NAMES), lost=st.sampled_from((0, 0, 2, 7)), price=PRICES, symbol=st.sampled_from((BTC, BTC, ETH)))
    def the_venue_reports(self, name: str, lost: int, price: Decimal, symbol: str) -> None:
        """Equity and a price."""
        self._report_equity(name, D(1000) - lost)
        place = SYMBOLS[symbol]["binanceusdm"]
        self._send(MarksReported(venue="binanceusdm", marks={place: price}, at=self.shard.now - 1), "m")
        self.naive.mark("binanceusdm", place, Fraction(price), self.shard.now - 1)
        assert self.shard.take(self.shard.records[-1][0]) == [], "a source position twice"

    def _report_equity(self, name: str, equity: Decimal) -> None:
        now, venue = self.shard.now, self.shard.state.followers[name].settings.preferred_exchange
        self._send(EquityReported(epoch=self.shard.epoch, follower_id=name, venue=venue, equity=equity, available=equity, at=now), "x")
        self.naive.equity(name, venue, Fraction(equity), now)

    @rule(name=st.sampled_from(NAMES), sold=st.sampled_from((0, -1, 1, 2, 4, 8)), twice=st.sampled_from((True, True, False)))
    def positions_are_reported(self, name: str, sold: int, twice: bool) -> None:
        """Somebody may have traded by hand: nothing, bought some, sold some, half, all, or beyond."""
        held: dict[str, Decimal] = defaultdict(Decimal)
        for lot in self.naive.followers[name].lots.values():
            if lot.key.venue == "binanceusdm" and lot.key.mode == "paper":
                held[lot.key.symbol] += D(int(lot.filled * 1000)) / 1000 * (1 if lot.key.long else -1)
        left = {symbol: quantity - quantity * sold / 4 // D("0.001") * D("0.001") for symbol, quantity in held.items()}
        for _ in range(1 + twice):
            at, positions = self.shard.now, tuple(VenuePosition(symbol, quantity) for symbol, quantity in left.items())
            report = PositionsReported(
                epoch=self.shard.epoch, follower_id=name, venue="binanceusdm", positions=positions, in_flight=0, at=at
            )
            self._send(report, "x")
            self.naive.positions(name, "binanceusdm", {symbol: Fraction(quantity) for symbol, quantity in left.items()}, at)

    @invariant()
    def both_know_the_same(self) -> None:
        if hasattr(self, "shard"):
            compare_state(self.shard.state, self.naive)

    def teardown(self) -> None:
        if hasattr(self, "shard"):
            self.shard.check()


TestAgainstTheNaiveModel = AgainstTheNaiveModel.TestCase
TestAgainstTheNaiveModel.settings = settings(
    max_examples=400, stateful_step_count=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
