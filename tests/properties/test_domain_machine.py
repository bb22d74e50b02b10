"""Whatever happens in whatever order, the domain keeps its promises: an account book that shares no code with it is held against it.

The book knows three things only: what the venue traded for each follower, what each follower may hold, and who was asked about a signal.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.domain.events import (
    CopiesSkipped,
    CopyDecided,
    CopySkipped,
    DriftDetected,
    DustRecorded,
    OrderEnded,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
)
from engine.domain.messages import (
    ClosePosition,
    Flatten,
    PlaceOrder,
    PositionsReported,
    SetGate,
    SetSwitch,
    UnfollowWhale,
)
from engine.domain.values import FollowerSettings, Limits, VenuePosition
from tests.given import BTC, BTC_PERP, ETH, Shard, d

ETH_PERP = "ETH/USDT:USDT"
POSITION_CAP, EXPOSURE_CAP = Decimal(180), Decimal(250)
CAPPED = Limits(max_position_quote=POSITION_CAP, max_exposure_quote=EXPOSURE_CAP, max_open_positions=2)
WHALES, SYMBOLS = ("w1", "w2"), (BTC, ETH)
PRICES = st.sampled_from([Decimal(900), Decimal(1000), Decimal("1111.1")])
FOLLOWERS: dict[str, dict[str, Any]] = {
    "fixed": {"trade_size_usdt": d(100)},
    "capped": {"trade_size_usdt": d(90), "settings": FollowerSettings(preferred_exchange="binanceusdm", limits=CAPPED)},
    "multiplied": {"sizing": "multiplier", "multiplier": d("0.05"), "min_size_policy": "round_up"},
    "carrying": {"sizing": "multiplier", "multiplier": d("0.003"), "min_size_policy": "accumulate"},
    "careful": {"trade_size_usdt": d(60), "start_mode": "until_flat", "limits": Limits(cooldown_ms=5)},
    "spot": {"trade_size_usdt": d(50), "settings": FollowerSettings(preferred_exchange="binance")},
    "shadow": {"trade_size_usdt": d(100), "settings": FollowerSettings(preferred_exchange="binanceusdm", mode="shadow")},
    "percent": {"sizing": "percent_equity", "trade_size_percent": d(5)},
}


def signed(side: str, quantity: Decimal) -> Decimal:
    return quantity if side == "buy" else -quantity


class Promises(RuleBasedStateMachine):
    """Whales trade, orders end in every way, operators switch, accounts drift, time passes."""

    @initialize()
    def begin(self) -> None:
        self.shard = Shard()
        self.venue: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.asked: dict[str, set[str]] = {}
        self.answers: dict[str, list[str]] = defaultdict(list)
        self.orders: dict[str, PlaceOrder] = {}
        self.read = 0
        for follower_id, terms in FOLLOWERS.items():
            for whale_id in WHALES:
                self.shard.follower(follower_id, whale_id, **dict(terms))

    def _pending(self) -> list[PlaceOrder]:
        return [order for follower in self.shard.state.followers.values() for order in (follower.orders or {}).values()]

    @rule(whale=st.sampled_from(WHALES), symbol=st.sampled_from(SYMBOLS), percent=st.integers(10, 250), price=PRICES, buy=st.booleans())
    def whale_trades(self, whale: str, symbol: str, percent: int, price: Decimal, buy: bool) -> None:
        before = self.shard.positions.get((whale, symbol), Decimal(0))
        quantity = abs(before) * percent / 100 if before and buy == (before < 0) else Decimal(percent) / 50
        after = before + signed("buy" if buy else "sell", quantity)
        action = _action(before, after)
        asked = {copier.follower_id for copier in self.shard.state.index[whale] if copier.follows[whale].active}
        signal_id = f"s{self.shard.signals + 1}"
        self.asked[signal_id] = asked if action in ("open", "increase") else set()
        order_id = f"o{self.shard.signals // 3}"
        self.shard.signal(
            action, "buy" if buy else "sell", str(quantity), str(price), whale_id=whale, symbol=symbol, whale_order_id=order_id
        )

    @rule()
    def the_last_signal_comes_again(self) -> None:
        signals = [record for record, _ in self.shard.records if type(record.body).__name__ == "SignalReceived"]
        if signals:
            assert self.shard.send(signals[-1].body, source="s") == []

    @precondition(lambda self: self._pending())
    @rule(number=st.integers(0, 50), part=st.sampled_from([0, 0, 35, 100, 100, 100, 100]), price=PRICES)
    def an_order_ends(self, number: int, part: int, price: Decimal) -> None:
        pending = self._pending()
        self._end(pending[number % len(pending)], part, price)

    @rule(price=PRICES)
    def every_order_ends(self, price: Decimal) -> None:
        while pending := self._pending():
            for order in pending:
                self._end(order, 100, price)

    def _end(self, order: PlaceOrder, part: int, price: Decimal) -> None:
        filled = (order.quantity * part / 100).quantize(Decimal("0.001"), "ROUND_DOWN")
        self.venue[order.follower_id, order.symbol] += signed(order.side, filled)
        self.shard.settle(order, filled, str(price), status="filled" if part == 100 else "missed" if not filled else "partial")

    @rule(after_ms=st.sampled_from([1000, 5000, 61_000]))
    def time_passes(self, after_ms: int) -> None:
        self.shard.tick(after_ms)

    @rule(state=st.sampled_from(["running", "running", "close_only", "halt", "halt_exits"]), follower=st.sampled_from(["", *FOLLOWERS]))
    def somebody_switches(self, state: Any, follower: str) -> None:
        switch = SetSwitch(request_id=self.shard.request_id(), scope="follower" if follower else "global", target=follower, state=state)
        self.shard.send(switch, source="c")

    @rule(paused=st.booleans())
    def somebody_pauses(self, paused: bool) -> None:
        self.shard.send(SetGate(request_id=self.shard.request_id(), paused=paused), source="c")

    @rule(follower=st.sampled_from(list(FOLLOWERS)))
    def somebody_closes(self, follower: str) -> None:
        self.shard.send(ClosePosition(request_id=self.shard.request_id(), follower_id=follower))

    @rule()
    def somebody_flattens(self) -> None:
        self.shard.send(Flatten(request_id=self.shard.request_id()), source="c")

    @rule(follower=st.sampled_from(["fixed", "carrying"]), whale=st.sampled_from(WHALES), again=st.booleans())
    def somebody_unfollows(self, follower: str, whale: str, again: bool) -> None:
        if again:
            self.shard.follower(follower, whale, **dict(FOLLOWERS[follower]))
        else:
            self.shard.send(UnfollowWhale(request_id=self.shard.request_id(), follower_id=follower, whale_id=whale))

    @rule()
    def equity_is_reported(self) -> None:
        self.shard.equity(1000, "percent")

    @rule(follower=st.sampled_from(["fixed", "multiplied", "capped"]), shrink=st.sampled_from([0, 50, 100, 100]))
    def positions_are_reported_twice(self, follower: str, shrink: int) -> None:
        if not self.shard.state.followers[follower].orders:
            for symbol in (BTC_PERP, ETH_PERP):
                held = self.venue[follower, symbol] * shrink / 100
                self.venue[follower, symbol] = held.quantize(Decimal("0.001"), "ROUND_DOWN")
        held_now = tuple(VenuePosition(symbol, self.venue[follower, symbol]) for symbol in (BTC_PERP, ETH_PERP))
        for _ in range(2):
            in_flight = len(self.shard.state.followers[follower].orders or {})
            report = PositionsReported(
                epoch=self.shard.epoch,
                follower_id=follower,
                venue="binanceusdm",
                positions=held_now,
                in_flight=in_flight,
                at=self.shard.now + 1,
            )
            self.shard.send(report, source="x")

    @invariant()
    def every_signal_has_one_answer_of_each_follower(self) -> None:
        for event in self.shard.events[self.read :]:
            if isinstance(event, CopyDecided | CopySkipped):
                self.answers[event.signal_id].append(event.originator_id)
            elif isinstance(event, CopiesSkipped):
                self.answers[event.signal_id] += [follower_id for follower_id, _ in event.followers]
            elif isinstance(event, SignalDecided | SignalExpired):
                answered = self.answers[event.signal_id]
                assert len(answered) == len(set(answered))
                assert not isinstance(event, SignalDecided) or event.followers == len(answered)
            elif isinstance(event, SignalAdmitted) and not event.held:
                asked = self.asked.get(event.signal.signal_id, set())
                assert asked <= set(self._answered(event.signal.signal_id))
        self.read = len(self.shard.events)

    def _answered(self, signal_id: str) -> list[str]:
        found = []
        for event in self.shard.events[self.read :]:
            if getattr(event, "signal_id", "") == signal_id:
                found += [follower for follower, _ in event.followers] if isinstance(event, CopiesSkipped) else [event.originator_id]
        return found

    @invariant()
    def shares_sum_to_what_the_venue_holds(self) -> None:
        for follower_id, follower in self.shard.state.followers.items():
            if follower_id == "shadow" or follower.orders:
                continue
            held: dict[str, Decimal] = defaultdict(Decimal)
            for lot in (follower.lots or {}).values():
                held[lot.symbol] += lot.filled if lot.direction == "long" else -lot.filled
            for key, quantity in (follower.foreign or {}).items():
                held[key.split("|")[1]] += quantity
            for symbol in (BTC_PERP, ETH_PERP, "BTC/USDT", "ETH/USDT"):
                if not follower.suspects:
                    assert held[symbol] == self.venue[follower_id, symbol], (follower_id, symbol)

    @invariant()
    def lots_are_sound(self) -> None:
        for follower in self.shard.state.followers.values():
            opens: dict[str, Decimal] = defaultdict(Decimal)
            exits: dict[str, Decimal] = defaultdict(Decimal)
            for order in (follower.orders or {}).values():
                direction = "long" if (order.side == "buy") == (order.kind == "open") else "short"
                bucket = opens if order.kind == "open" else exits
                bucket[f"{order.venue}|{order.symbol}|{direction}|{order.mode}|{order.whale_id}"] += order.quantity
            lots = follower.lots or {}
            assert opens.keys() | exits.keys() <= lots.keys()
            for key, lot in lots.items():
                assert lot.filled >= 0 and lot.pending == opens[key] and lot.reserved == exits[key]
                assert lot.reserved + lot.due <= lot.filled, "an exit would reverse"
                assert lot.filled or lot.pending or lot.reserved
                assert lot.direction == "long" or lot.venue == "binanceusdm", "short on spot"

    @invariant()
    def no_cap_is_exceeded(self) -> None:
        follower = self.shard.state.followers["capped"]
        by_symbol: dict[str, Decimal] = defaultdict(Decimal)
        for lot in (follower.lots or {}).values():
            by_symbol[lot.symbol] += lot.notional + lot.pending_quote
        leaving = {(order.symbol, order.whale_id) for order in (follower.waiting or {}).values()}
        for order in (follower.waiting or {}).values():
            by_symbol[order.symbol] += order.quantity * (order.reference_price or 0)
        if not leaving:
            assert all(quote <= POSITION_CAP for quote in by_symbol.values())
            assert sum(by_symbol.values()) <= EXPOSURE_CAP
            assert len(by_symbol) <= 2

    @invariant()
    def one_direction_an_account(self) -> None:
        for follower in self.shard.state.followers.values():
            sides: dict[str, set[str]] = defaultdict(set)
            for lot in (follower.lots or {}).values():
                sides[f"{lot.symbol}{lot.mode}"].add(lot.direction)
            assert all(len(directions) == 1 for directions in sides.values())

    def teardown(self) -> None:
        if hasattr(self, "shard"):
            self.shard.check()
            _profit_adds_up(self.shard)


def _action(before: Decimal, after: Decimal) -> str:
    if not before:
        return "open"
    if not after:
        return "close"
    if (before > 0) != (after > 0):
        return "flip"
    return "increase" if abs(after) > abs(before) else "reduce"


def _profit_adds_up(shard: Shard) -> None:
    """Where nothing drifted and no dust was written off: profit is what the ends of orders say."""
    told: dict[str, Decimal] = defaultdict(Decimal)
    skipped = {event.originator_id for event in shard.events if isinstance(event, DriftDetected | DustRecorded)} | {"shadow"}
    for event in shard.events:
        if isinstance(event, OrderEnded):
            told[event.originator_id] += event.realized_pnl - event.fee_quote
    for follower_id, follower in shard.state.followers.items():
        if follower_id not in skipped:
            assert abs(follower.pnl - told[follower_id]) < Decimal("0.000001")


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
