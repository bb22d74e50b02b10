"""From the inbox to the events: accepted rounds only, each event once, each signal decided once by every follower of its whale.

Enters: a history. Leaves: findings, and `Told`: what the accepted events say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from engine.domain.events import (
    AnyEvent,
    CopiesSkipped,
    CopyDecided,
    CopySkipped,
    EquityRecorded,
    FollowerConfigured,
    OrderEnded,
    OrdersRequested,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
    WhaleFollowed,
)
from engine.domain.messages import CancelOrder, PlaceOrder, SignalReceived
from engine.domain.shard import commands_of
from engine.errors import LogCorrupt
from engine.log.codec import decode_event, decode_inbox
from engine.log.reader import AcceptedRound, RoundReader
from engine.topology import EVENTS, INBOX
from ops.chaos.history import Findings, History


@dataclass
class Told:
    """What the accepted events of all shards say. Keys are (signal, follower) for decisions and command ids for orders."""

    digests: dict[int, str] = field(default_factory=dict)
    next_ids: dict[int, int] = field(default_factory=dict)
    commands_total: dict[int, int] = field(default_factory=dict)
    void_events: int = 0
    events: int = 0
    rounds: int = 0
    admitted: dict[int, set[str]] = field(default_factory=dict)
    """Shard to signals."""
    decisions: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """To outcome and reason."""
    orders: dict[str, PlaceOrder] = field(default_factory=dict)
    commands: dict[int, list[PlaceOrder | CancelOrder]] = field(default_factory=dict)
    """Shard to the commands that its events ask for, in order: the nth has sequence n."""
    ended: dict[str, OrderEnded] = field(default_factory=dict)
    followers: set[str] = field(default_factory=set)
    follows: set[tuple[str, str]] = field(default_factory=set)
    accounts: set[tuple[str, str]] = field(default_factory=set)


def check_events(history: History, found: Findings) -> Told:
    """Read every shard's accepted rounds."""
    told = Told()
    for shard, lines in history.of(EVENTS).items():
        reader, rounds = RoundReader(shard), []
        try:
            rounds = reader.feed(lines)
        except LogCorrupt as error:
            found.add("conflicting", str(error))
        told.void_events += reader.void_events
        told.rounds += len(rounds)
        _check_end(history, shard, rounds, found)
        _ShardCheck(shard, told, found).run(rounds)
    _check_signals(history, told, found)
    return told


def _check_end(history: History, shard: int, rounds: list[AcceptedRound], found: Findings) -> None:
    """The rounds go to the end of the inbox; what is behind it comes from no source."""
    reached = rounds[-1].marker.inbox_to if rounds else 0
    for line in history.of(INBOX)[shard]:
        if line.offset >= reached and decode_inbox(line.value or b"").src is not None:
            found.add("lost", f"inbox {shard}@{line.offset} is in no accepted round (they end before {reached})")


class _ShardCheck:
    """The accepted events of one shard."""

    def __init__(self, shard: int, told: Told, found: Findings) -> None:
        self._shard, self._told, self._found = shard, told, found
        self._versions: dict[str, int] = {}
        self._values: dict[tuple[str, int], bytes] = {}
        self._admitted: dict[str, str] = {}
        self._closed: Counter[str] = Counter()
        self._answers: dict[str, set[str]] = {}
        self._followers: dict[str, set[str]] = {}
        self._commands: list[PlaceOrder | CancelOrder] = []

    def run(self, rounds: list[AcceptedRound]) -> None:
        """All of them."""
        for accepted in rounds:
            for _, _, value, _ in accepted.events:
                event = decode_event(value)
                if self._check_version(event, value):
                    self._take(event)
        self._told.commands[self._shard] = self._commands
        if rounds:
            last = rounds[-1].marker
            self._told.digests[self._shard], self._told.next_ids[self._shard] = last.digest, last.first_id + last.events
            self._told.commands_total[self._shard] = last.commands_total
        self._check_open()

    def _check_version(self, event: AnyEvent, value: bytes) -> bool:
        self._told.events += 1
        name, version = event.originator_id, event.originator_version
        expected = self._versions.get(name, 0) + 1
        if version == expected:
            self._versions[name] = version
            self._values[name, version] = value
            return True
        if version > expected:
            self._found.add("lost", f"{name} goes from version {expected - 1} to {version}")
            self._versions[name] = version
            return True
        same = self._values.get((name, version)) == value
        self._found.add("duplicated" if same else "conflicting", f"{name} has version {version} twice")
        return False

    def _take(self, event: AnyEvent) -> None:
        match event:
            case SignalAdmitted():
                self._admit(event)
            case SignalDecided() | SignalExpired():
                self._close(event)
            case CopyDecided():
                self._answer(event.signal_id, event.originator_id, event.outcome, event.open_reason)
            case CopySkipped():
                self._answer(event.signal_id, event.originator_id, "skipped", event.reason)
            case CopiesSkipped():
                for follower, _ in event.followers:
                    self._answer(event.signal_id, follower, "skipped", event.reason)
            case WhaleFollowed():
                self._followers.setdefault(event.whale_id, set()).add(event.originator_id)
                self._told.follows.add((event.originator_id, event.whale_id))
            case FollowerConfigured():
                self._told.followers.add(event.originator_id)
            case EquityRecorded():
                self._told.accounts.add((event.originator_id, event.venue))
            case OrderEnded():
                self._end(event)
        self._order(event)

    def _admit(self, event: SignalAdmitted) -> None:
        signal = event.signal
        if signal.signal_id in self._admitted:
            self._found.add("duplicated", f"shard {self._shard} admitted signal {signal.signal_id} twice")
        self._admitted[signal.signal_id] = signal.whale_id
        self._answers[signal.signal_id] = set()

    def _close(self, event: SignalDecided | SignalExpired) -> None:
        self._closed[event.signal_id] += 1
        whale = self._admitted.get(event.signal_id)
        if whale is None:
            self._found.add("unexplained", f"shard {self._shard} decided signal {event.signal_id} without admitting it")
            return
        for follower in sorted(self._followers.get(whale, set()) - self._answers[event.signal_id]):
            self._found.add("lost", f"signal {event.signal_id} was decided without an answer of {follower}")

    def _answer(self, signal_id: str, follower: str, outcome: str, reason: str) -> None:
        key = signal_id, follower
        if key in self._told.decisions:
            self._found.add(
                "conflicting", f"{follower} decided on signal {signal_id} twice: {self._told.decisions[key]}, {outcome, reason}"
            )
        self._told.decisions[key] = outcome, reason
        self._answers.setdefault(signal_id, set()).add(follower)

    def _order(self, event: AnyEvent) -> None:
        if isinstance(event, CopyDecided | OrdersRequested):
            for order in event.orders:
                if order.command_id in self._told.orders:
                    self._found.add("duplicated", f"order {order.command_id} was requested twice")
                self._told.orders[order.command_id] = order
        self._commands += commands_of(event)

    def _end(self, event: OrderEnded) -> None:
        if event.command_id in self._told.ended:
            self._found.add("duplicated", f"order {event.command_id} ended twice")
        if event.command_id not in self._told.orders:
            self._found.add("unexplained", f"order {event.command_id} ended and was never requested")
        self._told.ended[event.command_id] = event

    def _check_open(self) -> None:
        self._told.admitted[self._shard] = set(self._admitted)
        for signal_id in self._admitted:
            if self._closed[signal_id] != 1:
                kind = "lost" if not self._closed[signal_id] else "duplicated"
                self._found.add(kind, f"shard {self._shard} closed signal {signal_id} {self._closed[signal_id]} times")


def _check_signals(history: History, told: Told, found: Findings) -> None:
    """Every shard admitted exactly the signals that are in its inbox."""
    for shard, lines in history.of(INBOX).items():
        bodies = (decode_inbox(line.value or b"").body for line in lines)
        sent = {body.signal.signal_id for body in bodies if isinstance(body, SignalReceived)}
        admitted = told.admitted[shard]
        for signal_id in sorted(sent - admitted):
            found.add("lost", f"signal {signal_id} came to shard {shard} and was never admitted")
        for signal_id in sorted(admitted - sent):
            found.add("unexplained", f"signal {signal_id} was admitted and is not in the inbox of shard {shard}")
