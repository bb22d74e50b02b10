"""The oracle's way through what happened: `Oracle.hear` takes one event after the other and notes what should have been otherwise."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from tests.oracle.book import NOTHING, Key, Lot, Ordered
from tests.oracle.facts import Listener
from tests.oracle.leaving import Leave, called_off, concerned, is_dust, lay_out, leave_too, share_given_up, worth
from tests.oracle.opening import Asked, Follow, Follower, Verdict, judge
from tests.oracle.venue import market_of

Json = dict[str, Any]
Answer = tuple[str, Fraction, Fraction]
"""A reason or nothing, the quantity that leaves, the quantity that is opened."""
EXITS = ("reduce", "close", "flip")


class Oracle(Listener):
    """One shard. `ends` are the venues' words about orders by command id, `plans` the followers' settings and terms by whale."""

    def __init__(self, plans: dict[str, Json], ends: dict[str, Json]) -> None:
        super().__init__(plans)
        self._ends = ends
        self.answered: Counter[tuple[str, str]] = Counter()
        self.expected: dict[tuple[str, str], Answer] = {}
        self._positions: dict[tuple[str, str], tuple[Fraction, bool]] = {}
        self._flat: dict[tuple[str, str], int] = {}
        self._signals: dict[str, Json] = {}
        self._must_ask: dict[str, Leave] = {}
        self._asked: Leave | None = None
        self._gaps: set[str] = set()

    def hear(self, event: Json) -> None:
        """The next event of the shard."""
        self._asked = self._must_ask.pop(event["o"], None)
        if self._asked and event["t"] != "OrdersRequested.v1":
            self._blame(event, f"{float(self._asked.ordered)} of {self._asked.key} should have been asked for")
        super().hear(event)

    def holdings(self, name: str) -> dict[Key, Fraction]:
        """What a follower must hold."""
        return {key: lot.held for key, lot in self.followers[name].book.lots.items() if lot.held}

    def left_over(self) -> list[str]:
        """What must not be left at the end, when every order has ended."""
        found = [f"{name} had no answer to {signal_id}" for signal_id, name in self.expected if not self.answered[signal_id, name]]
        for follower in self.followers.values():
            book = follower.book
            found += [f"{follower.name}: {number} has not ended" for number in (*book.opens, *book.exits, *book.waiting)]
            found += [f"{follower.name}: {key} is still held" for key in book.lots if self._must_be_gone(follower, key)]
        return found

    def _must_be_gone(self, follower: Follower, key: Key) -> bool:
        """The whale left what the lot copies, and the follower copies exits."""
        return follower.follows[key.whale].terms.get("copy_exits", True) and not any(
            position * key.sign > 0
            for (whale, symbol), (position, _) in self._positions.items()
            if whale == key.whale and market_of(symbol, key.venue)[:2] == key[:2]
        )

    # --- signals ------------------------------------------------------------------------------------------------------

    def _on_WhaleGapDetected(self, event: Json) -> None:
        self._gaps.add(event["signal_id"])

    def _on_SignalAdmitted(self, event: Json) -> None:
        signal = event["signal"]
        if event.get("held") or signal["signal_id"] in self._signals:
            self._blame(event, "is held or comes again")
        self._signals[signal["signal_id"]] = signal
        pair = (signal["whale_id"], signal["symbol"])
        before, after = Fraction(signal["position_before"]), Fraction(signal["position_after"])
        known, gap = self._positions.get(pair, (before, False))
        if (known != before) != (signal["signal_id"] in self._gaps):
            self._blame(event, f"the whale had {float(known)}, now it begins at {float(before)}")
        gap = (gap or known != before) and after != 0
        self._positions[pair] = (after, gap)
        if not before or not after or signal["action"] == "flip":
            self._flat[pair] = self._heard
        for follower in self.followers.values():
            if pair[0] in follower.follows:
                self.expected[signal["signal_id"], follower.name] = self._expect(follower, signal, event["at"], gap)

    def _expect(self, follower: Follower, signal: Json, now: int, gap: bool) -> Answer:
        leaving = concerned(follower.book, signal) if signal["action"] in EXITS else []
        copies_exits = follower.follows[signal["whale_id"]].terms.get("copy_exits", True)
        flip = signal["action"] == "flip"
        if signal["action"] in EXITS and not copies_exits and not flip:
            return "exits_not_copied", NOTHING, NOTHING
        if signal["action"] in EXITS and not leaving and not flip:
            return "nothing_to_close", NOTHING, NOTHING
        left = self._lay_out(follower, signal, leaving[0]) if leaving and copies_exits else None
        ordered = left.ordered if left else NOTHING
        if left and not flip:
            return "below_minimum" if self._only_due(follower, left) else "", ordered, NOTHING
        verdict = self._judge(follower, signal, now, gap, leaving=left is not None)
        return "" if left else verdict.reason, ordered, verdict.quantity

    def _judge(self, follower: Follower, signal: Json, now: int, gap: bool, leaving: bool = False) -> Verdict:
        flat_at = self._flat.get((signal["whale_id"], signal["symbol"]), 0)
        return judge(Asked(signal, now, self.venues, follower, flat_at, gap), leaving)

    def _lay_out(self, follower: Follower, signal: Json, key: Key) -> Leave:
        price = Fraction(signal["price"]) / market_of(signal["symbol"], key.venue).units
        return lay_out(follower.book, self.venues, key, share_given_up(signal), price)

    def _only_due(self, follower: Follower, left: Leave) -> bool:
        book = follower.book
        return not left.ordered and not book.pending(left.key) and (left.wanted > 0 or not book.leaving(left.key))

    def _on_SignalDecided(self, event: Json) -> None:
        whale = self._signals[event["signal_id"]]["whale_id"]
        for follower in self.followers.values():
            count = self.answered[event["signal_id"], follower.name]
            if count != (whale in follower.follows):
                self._blame(event, f"{follower.name} answered {count} times")

    _on_SignalExpired = _on_SignalDecided

    # --- answers ------------------------------------------------------------------------------------------------------

    def _hold_against(self, event: Json, name: str, reason: str, left: Fraction, opened: Fraction) -> None:
        self.answered[event["signal_id"], name] += 1
        expected = self.expected[event["signal_id"], name]
        if expected != (reason, left, opened):
            floats = (expected[0], float(expected[1]), float(expected[2]))
            self._blame(event, f"{name} answers {(reason, float(left), float(opened))}, expected {floats}")

    def _on_CopiesSkipped(self, event: Json) -> None:
        for name, _ in event["followers"]:
            self._hold_against(event, name, event["reason"], NOTHING, NOTHING)

    def _on_CopySkipped(self, event: Json) -> None:
        follower, signal = self.followers[event["o"]], self._signals[event["signal_id"]]
        self._hold_against(event, event["o"], event["reason"], NOTHING, NOTHING)
        if "carried_quote" in event:
            follow = follower.follows[signal["whale_id"]]
            follow.carried[signal["symbol"]] = (Fraction(event["carried_quote"]), self._heard)
            self._remember_order(follow, signal)
        else:
            self._go(event, follower, signal)

    def _remember_order(self, follow: Follow, signal: Json) -> None:
        if (order := signal.get("whale_order_id")) and order not in follow.orders:
            follow.orders.append(order)

    def _on_CopyDecided(self, event: Json) -> None:
        follower, signal = self.followers[event["o"]], self._signals[event["signal_id"]]
        exits = [order for order in event.get("orders", ()) if order["kind"] == "exit"]
        opens = [order for order in (*event.get("orders", ()), *event.get("waiting", ())) if order["kind"] == "open"]
        left, opened = (sum((Fraction(order["quantity"]) for order in orders), NOTHING) for orders in (exits, opens))
        self._hold_against(event, event["o"], "", left, opened)
        self._go(event, follower, signal)
        self._place(event, follower, exits)
        if opens:
            follow = follower.follows[signal["whale_id"]]
            follower.opened_at = follow.opened_at = event["at"]
            follow.carried.pop(signal["symbol"], None)
            self._remember_order(follow, signal)
        self._place(event, follower, [order for order in event.get("orders", ()) if order["kind"] == "open"])
        for order in event.get("waiting", ()):
            follower.book.waiting[order["command_id"]] = _ordered(order)

    def _go(self, event: Json, follower: Follower, signal: Json) -> None:
        """The first lot that an exit is about; further ones follow as requests."""
        keys = concerned(follower.book, signal) if signal["action"] in EXITS else []
        if not keys or not follower.follows[signal["whale_id"]].terms.get("copy_exits", True):
            return
        left = self._lay_out(follower, signal, keys[0])
        cancelled = {cancel["command_id"] for cancel in event.get("cancels", ())}
        if cancelled != called_off(follower.book, left.key, share_given_up(signal)):
            self._blame(event, f"{cancelled} are cancelled")
        follower.book.lots[left.key].due = left.due
        follower.book.lots[left.key].again_at = 0
        leave_too(follower.book, left.key, share_given_up(signal))

    def _place(self, event: Json, follower: Follower, orders: list[Json]) -> None:
        for order in orders:
            placed, book = _ordered(order), follower.book
            if order.get("mode", "paper") != follower.settings.get("mode", "paper"):
                self._blame(event, f"order in mode {order.get('mode')}")
            book.order(order["command_id"], order["kind"], placed)
            if order.get("mode") == "shadow":
                price = order.get("reference_price") or worth(self.venues, placed.key, book.lots[placed.key], event["at"])
                told = {"filled": order["quantity"], "average_price": price, "settled_at": 0}
                book.settle(order["command_id"], told, event["at"])

    # --- what follows -------------------------------------------------------------------------------------------------

    def _on_OrdersRequested(self, event: Json) -> None:
        follower = self.followers[event["o"]]
        for order in event.get("orders", ()):
            if order["kind"] == "open":
                self._release(event, follower, order)
            else:
                self._ask(event, follower, order)
        self._place(event, follower, event.get("orders", []))

    def _release(self, event: Json, follower: Follower, order: Json) -> None:
        if follower.book.waiting.pop(order["command_id"], None) != _ordered(order):
            self._blame(event, "an open that did not wait")
        other = "short" if event["direction"] == "long" else "long"
        if Key(event["venue"], event["venue_symbol"], other, event["whale_id"]) in follower.book.lots:
            self._blame(event, "the old lot is still there")

    def _ask(self, event: Json, follower: Follower, order: Json) -> None:
        key = _ordered(order).key
        lot = follower.book.lots.get(key)
        if lot is None or (event["at"] < lot.again_at and not self._asked):
            self._blame(event, "an exit too early, or of nothing")
            return
        left = lay_out(follower.book, self.venues, key, NOTHING, worth(self.venues, key, lot, event["at"]))
        if left.ordered != Fraction(order["quantity"]):
            self._blame(event, f"{order['quantity']} leaves, expected {float(left.ordered)}")
        lot.due, lot.again_at = left.due, 0

    def _on_OpenDropped(self, event: Json) -> None:
        for number in event["command_ids"]:
            if self.followers[event["o"]].book.waiting.pop(number, None) is None:
                self._blame(event, "an open that did not wait")

    def _on_OrderEnded(self, event: Json) -> None:
        follower, end = self.followers[event["o"]], self._ends[event["command_id"]]
        book = follower.book
        order = book.opens.get(event["command_id"]) or book.exits[event["command_id"]]
        before = book.lots[order.key].held
        exit_failed = event["kind"] == "exit" and Fraction(end.get("filled", 0)) + Fraction(end.get("fee_base", 0)) < order.quantity
        key = book.settle(event["command_id"], end, event["at"])
        lot = book.lots.get(key, Lot())
        if abs(lot.held - before) != Fraction(event.get("quantity", 0)):
            self._blame(event, f"moves {event.get('quantity')}, the venue moved {float(lot.held - before)}")
        if lot.due and not exit_failed:
            left = lay_out(book, self.venues, key, NOTHING, worth(self.venues, key, lot, event["at"]))
            if left.ordered:
                self._must_ask[event["o"]] = left

    def _on_DustRecorded(self, event: Json) -> None:
        key = Key(event["venue"], event["venue_symbol"], event["direction"], event["whale_id"])
        book = self.followers[event["o"]].book
        lot = book.lots.get(key, Lot())
        prices = [worth(self.venues, key, lot, event["at"])] + [
            Fraction(signal["price"]) / market_of(signal["symbol"], key.venue).units for signal in list(self._signals.values())[-1:]
        ]
        if lot.held != Fraction(event["quantity"]) or not any(is_dust(book, self.venues, key, price) for price in prices):
            self._blame(event, f"{float(lot.held)} is held, {float(lot.due)} of it due")
        if key in book.lots:
            book.end_as_dust(key)


def _ordered(order: Json) -> Ordered:
    direction = "long" if (order["side"] == "buy") == (order["kind"] == "open") else "short"
    key = Key(order["venue"], order["symbol"], direction, order.get("whale_id", ""))
    return Ordered(key, Fraction(order["quantity"]), Fraction(order.get("reference_price") or 0), Fraction(order.get("leverage", 1)))
