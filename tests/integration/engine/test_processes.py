"""Engine processes under Faust: kill -9, a member that joins, a paused one that wakes beside its successor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Settings
from engine.domain.messages import InboxRecord
from engine.errors import FencedOut
from engine.log.codec import decode_claim
from engine.topology import EVENTS
from ops import children
from tests.integration.engine.conftest import SESSION_S, SHARDS, Bench, copies

PROGRAM = "from engine.agents.engine import main; from engine.config import Settings; main(Settings())"


class Engines:
    """Engine processes by instance name."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.fenced = 0

    def start(self, instance: str) -> subprocess.Popen[bytes]:
        """A process; it reads its settings from the environment."""
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": self._settings.kafka,
            "REMORA_TOPIC_PREFIX": self._settings.topic_prefix,
            "REMORA_PARTITIONS": str(self._settings.partitions),
            "REMORA_INSTANCE": instance,
            "REMORA_SESSION_TIMEOUT_S": str(SESSION_S),
            "REMORA_SNAPSHOT_EVENTS": "100",
            "REMORA_DATA_DIR": str(self._folder),
        }
        process = children.spawn([sys.executable, "-c", PROGRAM], self._folder / f"{instance}.log", env=environment)
        self.running[instance] = process
        return process

    def tend(self) -> None:
        """Start again who was fenced out, as a supervisor would; any other end is a failure."""
        for instance, process in list(self.running.items()):
            if process.poll() is not None:
                assert process.returncode == FencedOut.exit_code, self.log(instance)
                self.fenced += 1
                self.start(instance)

    def log(self, instance: str) -> str:
        """What the process said."""
        return (self._folder / f"{instance}.log").read_text()

    def end_all(self) -> None:
        """Stop what still runs."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                children.end(process)


@pytest.fixture
def engines(shards: Bench, tmp_path: Path) -> Iterator[Engines]:
    """No engine yet."""
    made = Engines(shards.settings, tmp_path)
    yield made
    made.end_all()


async def caught_up(bench: Bench, engines: Engines, inbox: int) -> None:
    """Wait until both shards have accepted rounds over `inbox` records."""
    deadline = asyncio.get_running_loop().time() + 60
    while True:
        engines.tend()
        positions = [(await bench.accepted(number))[1].position.inbox_position for number in range(SHARDS)]
        if all(position >= inbox for position in positions):
            return
        assert asyncio.get_running_loop().time() < deadline, f"the engine stands at {positions}, not {inbox}"


async def owned_by(bench: Bench, instances: set[str]) -> None:
    """Wait until the newest claims are by these instances."""
    deadline = asyncio.get_running_loop().time() + 60
    found: set[str] = set()
    while found != instances:
        assert asyncio.get_running_loop().time() < deadline, f"the shards belong to {found}"
        found = set()
        for number in range(SHARDS):
            claims = [decode_claim(value) for _, value, _ in await bench.records(EVENTS, number) if b"ShardClaimed" in value[:40]]
            found.add(claims[-1].owner.split("-")[-2])


async def check(bench: Bench) -> int:
    """Every accepted event is what deciding on the inbox gives, once; every command arrived. Returns how many events are void."""
    void = 0
    for number in range(SHARDS):
        rounds, reader = await bench.accepted(number)
        events = [value for accepted in rounds for _, _, value, _ in accepted.events]
        assert events == await bench.decided_again(number)
        assert len(events) > 10
        seqs = [command.seq for command in await bench.commands(number)]
        assert sorted(set(seqs)) == list(range(1, rounds[-1].marker.commands_total + 1))
        void += reader.void_events
    return void


async def put_both(bench: Bench, records: list[InboxRecord]) -> None:
    for number in range(SHARDS):
        await bench.put(records, number)


async def test_kill_9_loses_and_repeats_nothing(shards: Bench, engines: Engines) -> None:
    story = copies(5, 12)
    step = len(story) // 4
    for part in range(4):
        process = engines.start("a")
        await put_both(shards, story[part * step : (part + 1) * step if part < 3 else len(story)])
        await caught_up(shards, engines, (part + 1) * step - (step // 2 if part < 3 else 0))
        if part < 3:
            children.kill(process)
            del engines.running["a"]
    await caught_up(shards, engines, len(story))
    await check(shards)


async def test_a_second_member_takes_a_shard_and_gives_it_back(shards: Bench, engines: Engines) -> None:
    story = copies(4, 20)
    third = len(story) // 3
    engines.start("a")
    await put_both(shards, story[:third])
    await caught_up(shards, engines, third)
    second = engines.start("b")
    for record in story[third : 2 * third]:
        await put_both(shards, [record])
    await owned_by(shards, {"a", "b"})
    await caught_up(shards, engines, 2 * third)
    assert children.end(second) == 0, engines.log("b")
    del engines.running["b"]
    await put_both(shards, story[2 * third :])
    await owned_by(shards, {"a"})
    await caught_up(shards, engines, len(story))
    await check(shards)


async def test_a_paused_owner_that_wakes_beside_its_successor_changes_nothing(shards: Bench, engines: Engines) -> None:
    story = copies(4, 20)
    third = len(story) // 3
    zombie = engines.start("zombie")
    await put_both(shards, story[:third])
    await caught_up(shards, engines, third)
    zombie.send_signal(signal.SIGSTOP)
    engines.start("successor")
    await put_both(shards, story[third : 2 * third])
    await caught_up(shards, engines, 2 * third)
    zombie.send_signal(signal.SIGCONT)
    await put_both(shards, story[2 * third :])
    await caught_up(shards, engines, len(story))
    await check(shards)
