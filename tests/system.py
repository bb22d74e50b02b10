"""The real system for acceptance tests: every role as a process, on the session's broker and Postgres, and its story read back as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from engine.config import Settings
from engine.contracts.signal import WhaleSignal
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.reader import RoundReader
from engine.topology import EVENTS, EXECUTIONS, SIGNALS, Topic
from ops.commands.common import query
from ops.demo.plan import FollowerPlan
from ops.demo.play import drive_first_prices, play_through
from ops.stack import Stack
from tests.support import wait_until

Json = dict[str, Any]
SIGNAL = "SELECT * FROM whale_signals WHERE signal_key = %(key)s"
DECISIONS = "SELECT * FROM copy_decisions WHERE signal_key = %(key)s ORDER BY follower_key"
TRADES = "SELECT * FROM trades WHERE cause = %(key)s ORDER BY follower_key, leg"


class System(Stack):
    """A stack that borrows its servers."""

    def __init__(self, kafka: str, database_url: str, folder: Path, **overrides: Any) -> None:
        super().__init__(folder, **overrides)
        self.kafka = SimpleNamespace(bootstrap=kafka)  # type: ignore[assignment]
        self.postgres = SimpleNamespace(dsn=database_url)  # type: ignore[assignment]

    def _start_servers(self, folder: Path) -> None:
        """They run already."""

    def rows(self, statement: str, **parameters: Any) -> list[Json]:
        """Rows of the read models."""
        return query(self.settings, statement, **parameters)

    def remora(self, *arguments: str) -> Json:
        """A command of the operator's, with its answer."""
        command = [sys.executable, "-m", "ops.cli", *arguments, "--json"]
        done = subprocess.run(command, env=self.supervisor._env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    async def signal_when(self, key: str, *statuses: str, deadline_s: float = 60.0) -> Json:
        """The signal's row once it has one of the statuses."""

        def there() -> Json | None:
            return next((row for row in self.rows(SIGNAL, key=key) if row["status"] in statuses), None)

        row = await wait_until(there, deadline_s, f"{key} is {' or '.join(statuses)}")
        assert isinstance(row, dict)
        return row

    async def play(self, signals: Sequence[WhaleSignal], speed: float | None = None) -> None:
        """Publish signals, the simulator's prices following, and wait for the end of each and of its orders."""
        await drive_first_prices(self, list(signals))
        await play_through(self, list(signals), speed, lambda _: None, 120.0)


@dataclass
class Story:
    """What the log tells of some followers and whales: events by shard, in order; settlements by command; published signals."""

    events: dict[int, list[Json]]
    ends: dict[str, Json]
    signals: list[Json]

    def of(self, kind: str) -> list[Json]:
        """All events of a kind."""
        return [event for events in self.events.values() for event in events if event["t"].startswith(f"{kind}.")]


async def read_story(settings: Settings, plans: Sequence[FollowerPlan]) -> Story:
    """The story of the plans' followers and whales; of everybody else only what the venues said."""
    names, whales = {plan.follower_id for plan in plans}, {plan.whale_id for plan in plans}
    events: dict[int, list[Json]] = {}
    for shard in range(settings.partitions):
        reader = RoundReader(shard)
        rounds = reader.feed(await read_records(settings, EVENTS, shard))
        all_of_it = [json.loads(value) for accepted in rounds for _, _, value, _ in accepted.events]
        admitted = [event["signal"] for event in all_of_it if event["t"] == "SignalAdmitted.v1"]
        foreign = {signal["signal_id"] for signal in admitted if signal["whale_id"] not in whales}
        events[shard] = [event for event in all_of_it if _concerns(event, names, whales, foreign)]
    ends = {}
    for shard in range(settings.partitions):
        for record in await read_records(settings, EXECUTIONS, shard):
            end = json.loads(record.value)
            if end["t"] == "OrderSettled":
                ends.setdefault(end["command_id"], end)
    first = {event["signal"]["signal_id"]: event["signal"] for event in events[0] if event["t"] == "SignalAdmitted.v1"}
    return Story(events, ends, list(first.values()))


def _concerns(event: Json, names: set[str], whales: set[str], foreign: set[str]) -> bool:
    of_shard = event["o"].startswith("shard-") and event.get("whale_id", next(iter(whales))) in whales
    signal_id = event.get("signal_id") or event.get("signal", {}).get("signal_id")
    return signal_id not in foreign and (of_shard or event["o"] in names)


async def read_records(settings: Settings, topic: Topic, partition: int) -> list[Any]:
    found: list[Any] = []
    async with open_consumer(settings) as consumer:
        _, end = await bounds(consumer, settings.topic(topic), partition)
        async for batch in read_range(consumer, settings.topic(topic), partition, 0, end):
            found += batch
    return found


async def published(settings: Settings, whales: set[str]) -> list[Json]:
    """The bodies of the whales' signals on the public topic, repeats included."""
    found: list[Json] = []
    for partition in range(SIGNALS.partition_count(settings.partitions)):
        found += [json.loads(record.value) for record in await read_records(settings, SIGNALS, partition)]
    return [signal for signal in found if signal["whale_id"] in whales]


def as_data(plans: Sequence[FollowerPlan]) -> dict[str, Json]:
    """Plans as plain data."""
    found: dict[str, Json] = {}
    for plan in plans:
        follower = found.setdefault(plan.follower_id, {"settings": _plain(plan.settings), "follows": {}})
        follower["follows"][plan.whale_id] = _plain(plan.terms)
    return found


def _plain(value: Any) -> Json:
    data: Json = json.loads(msgspec.json.encode(value))
    return data
