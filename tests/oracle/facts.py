"""What the oracle takes as given: followers' settings, venues' rules and prices, accounts' equity. Everything else must follow from it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.oracle.opening import Follow, Follower
from tests.oracle.venue import Venues

Json = dict[str, Any]


class Listener:
    """Hears one event after the other; `wrong` are sentences about what should have been otherwise."""

    def __init__(self, plans: dict[str, Json]) -> None:
        self._plans = plans
        self.venues = Venues()
        self.followers: dict[str, Follower] = {}
        self.wrong: list[str] = []
        self._heard = 0

    def hear(self, event: Json) -> None:
        """The next event of the shard."""
        self._heard += 1
        handler = getattr(self, f"_on_{event['t'].split('.')[0]}", None)
        if handler:
            handler(event)
        else:
            self._blame(event, "is nothing that should happen here")

    def _blame(self, event: Json, words: str) -> None:
        about = event.get("signal_id") or event.get("cause", "")
        self.wrong.append(f"{event['t']} {about} of {event['o']} at {event.get('at')}: {words}")

    def _on_ExecutorChanged(self, event: Json) -> None:
        """Says nothing about lots."""

    def _on_FollowerConfigured(self, event: Json) -> None:
        name = event["o"]
        if event["settings"] != self._plans[name]["settings"]:
            self._blame(event, "is not what was planned")
        follower = self.followers.setdefault(name, Follower(name, {}))
        follower.settings = self._plans[name]["settings"]

    def _on_WhaleFollowed(self, event: Json) -> None:
        terms = self._plans[event["o"]]["follows"][event["whale_id"]]
        if event["terms"] != terms:
            self._blame(event, "is not what was planned")
        self.followers[event["o"]].follows[event["whale_id"]] = Follow(terms, self._heard)

    def _on_AccountRecorded(self, event: Json) -> None:
        self.followers[event["o"]].refused = not event["allowed"]

    def _on_RulesRecorded(self, event: Json) -> None:
        self.venues.note_rules(event["rules"])

    def _on_MarksRecorded(self, event: Json) -> None:
        self.venues.note_marks(event["venue"], event["marks"], event["reported_at"])

    def _on_EquityRecorded(self, event: Json) -> None:
        follower = self.followers[event["o"]]
        follower.equity = (Fraction(event["equity"]), event["reported_at"])
        follower.book.equity(*follower.equity)

    def _on_FundingRecorded(self, event: Json) -> None:
        for whale, amount in event["shares"].items():
            self.followers[event["o"]].book.won(whale, Fraction(amount), event["at"])
