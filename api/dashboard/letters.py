"""Records that could not be read: the tails of `whale.signals.rejected` and of the dead letters enter, rows for people leave."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from api.dashboard.shared import shared
from api.dashboard.shell import Page
from engine.config import Settings
from engine.errors import DependencyUnreachable
from engine.log.consume import bounds, open_consumer, read_range
from engine.topology import DEAD, REJECTED, Topic

TAIL: Final = 20
FRESH_S: Final = 2.0
MOST_TIMES: Final = 20_000
MOST_PAYLOAD: Final = 2000


@dataclass(frozen=True)
class Letter:
    """One record: which topic tells of it, where the record lay that could not be read, what was wrong."""

    told_by: str
    at: datetime
    place: str
    field: str
    value: str
    expected: str
    payload: str


@dataclass(frozen=True)
class Letters:
    """`counts` by topic, the newest `tail`, and the times of the rejected signals in ms, oldest first."""

    counts: dict[str, int]
    tail: list[Letter]
    rejected_ms: list[int]

    def rejected_since(self, begin: datetime) -> int:
        """Signals rejected in a window."""
        return len(self.rejected_ms) - bisect_left(self.rejected_ms, int(begin.timestamp() * 1000))


async def letters_of(page: Page) -> Letters | None:
    """At most `FRESH_S` old; None when Kafka does not answer."""
    settings: Settings = page.request.app.state.settings
    try:
        return await shared(page).get("letters", FRESH_S, lambda: read_letters(settings))
    except DependencyUnreachable:
        return None


async def read_letters(settings: Settings, newest: int = TAIL) -> Letters:
    """The `newest` of each topic. Errors: DependencyUnreachable."""
    counts: dict[str, int] = {}
    tail: list[Letter] = []
    times: list[int] = []
    async with open_consumer(settings) as consumer:
        for topic in (REJECTED, *DEAD.values()):
            name = settings.topic(topic)
            first, end = await bounds(consumer, name, 0)
            counts[topic.name] = end - first
            begin = max(first, end - max(newest, MOST_TIMES if topic is REJECTED else 0))
            async for records in read_range(consumer, name, 0, begin, end):
                tail += [_letter(topic, record) for record in records if record.offset >= end - newest]
                times += [record.timestamp for record in records if topic is REJECTED]
    return Letters(counts, sorted(tail, key=lambda letter: letter.at, reverse=True), sorted(times))


def _letter(topic: Topic, record: Any) -> Letter:
    """The sequencer's answers are JSON; the projector buries the record itself and says the rest in headers."""
    at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    buried = {name: value.decode("utf-8", "backslashreplace") for name, value in record.headers}
    if "position" in buried:
        payload = (record.value or b"").decode("utf-8", "backslashreplace")[:MOST_PAYLOAD]
        return Letter(topic.name, at, buried["position"], "value", "", buried.get("reason", ""), payload)
    try:
        told = json.loads(record.value or b"{}")
        told = told if isinstance(told, dict) else {}
    except ValueError:
        told = {}
    place = f"{told.get('topic', '?')} [{told.get('partition', '?')}] @ {told.get('offset', '?')}"
    field, value, expected = (str(told.get(name, "")) for name in ("field", "value", "expected"))
    return Letter(topic.name, at, place, field, value, expected, _payload(str(told.get("payload_base64", ""))))


def _payload(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "backslashreplace")[:MOST_PAYLOAD]
    except (ValueError, binascii.Error):
        return ""
