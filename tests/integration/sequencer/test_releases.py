"""`process next` and `process batch`: requests are resolved once, and the record that names the signals is the same for every shard."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from aiokafka import AIOKafkaProducer

from engine.config import Settings
from engine.domain.events import AnyEvent, GateSet, SignalAdmitted, SignalReleased
from engine.domain.messages import InboxRecord, ReleaseSignals, SourcePosition
from engine.domain.shard import dump_state, evolve, new_state
from engine.domain.values import Priority, Signal
from engine.log.publish import Publisher
from engine.log.snapshots import write_snapshot
from engine.topology import CONTROL
from tests.integration.sequencer.conftest import Child, FakeShard, arrived, fake_shards, positions, read_all
from tests.support import wait_until


def held(number: int, version: int, priority: Priority = "medium") -> SignalAdmitted:
    signal = Signal(
        signal_id=f"s{number}",
        whale_id=f"w{number}",
        symbol="BTC/USDT:USDT",
        trade_type="futures",
        action="open",
        side="buy",
        quantity=Decimal(1),
        price=Decimal(1),
        priority=priority,
        detected_at=number,
    )
    return SignalAdmitted(
        originator_id="shard-0", originator_version=version, signal=signal, src=SourcePosition("s", 0, number), held="paused"
    )


async def hold(shard: FakeShard, control: int) -> None:
    """Five signals wait in the shard; `s3` is urgent, `s4` is not."""
    priorities: dict[int, Priority] = {3: "high", 4: "low"}

    def make(version: int) -> list[AnyEvent]:
        gate = GateSet(originator_id="shard-0", originator_version=version, min_priority="low", paused=True)
        return [gate, *(held(number, version + 1 + number, priorities.get(number, "medium")) for number in range(5))]

    await shard.round({"c/0": control, "s/0": 5}, make)


async def controls(settings: Settings, count: int) -> list[dict[str, Any]]:
    async def enough() -> list[dict[str, Any]]:
        found = [json.loads(record.value or b"{}") for record in await read_all(settings, CONTROL)]
        return found if len(found) >= count else []

    found = await wait_until(enough, what=f"{count} control records")
    assert isinstance(found, list)
    return found


def names(records: list[InboxRecord]) -> list[tuple[tuple[str, ...], int]]:
    return [(record.body.signal_ids, record.body.max_signals) for record in records if isinstance(record.body, ReleaseSignals)]


async def test_a_request_is_resolved_once_for_all_shards(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    await publisher.publish_control(ReleaseSignals(request_id="r", max_signals=2, actor="ops"))
    await publisher.publish_control(ReleaseSignals(request_id="r2", max_signals=5, min_priority="medium"))
    await arrived(made, 0, 2)
    async with fake_shards(made) as shards:
        await hold(shards[0], control=2)
        first, second = (await controls(made, 4))[2:]
        assert first == {"t": "ReleaseSignals", "request_id": "release@0", "signal_ids": ["s3", "s0"], "actor": "ops"}
        # The first two are named but not released yet: the next request gets others.
        assert second == {"t": "ReleaseSignals", "request_id": "release@1", "signal_ids": ["s1", "s2"]}
        for shard in range(made.partitions):
            assert names(await arrived(made, shard, 4)) == [((), 0), ((), 0), (("s3", "s0"), 0), (("s1", "s2"), 0)]


async def test_a_request_that_finds_nothing_is_answered_too(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    await publisher.publish_control(ReleaseSignals(request_id="r", max_signals=1))
    async with fake_shards(made) as shards:
        await shards[0].round({"c/0": 1})
        assert (await controls(made, 2))[1] == {"t": "ReleaseSignals", "request_id": "release@0"}
        assert names(await arrived(made, 0, 2)) == [((), 0), ((), 0)]


async def test_signals_named_by_the_sender_go_as_they_are(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    await publisher.publish_control(ReleaseSignals(request_id="r", signal_ids=("s1",)))
    assert names(await arrived(made, 0, 1)) == [(("s1",), 0)]


async def test_an_open_request_survives_a_restart(made: Settings, child: Child, publisher: Publisher) -> None:
    await publisher.publish_control(ReleaseSignals(request_id="old", max_signals=1))
    await publisher.publish_control(ReleaseSignals(request_id="release@0", signal_ids=("s9",)))
    await publisher.publish_control(ReleaseSignals(request_id="open", max_signals=1))
    async with fake_shards(made) as shards:
        await hold(shards[0], control=3)
        for shard in shards[1:]:
            await shard.round({"c/0": 3})
        # All shards have seen the request, so that it is not read again; it is still answered, and the old one is not.
        child.start()
        assert (await controls(made, 4))[3]["request_id"] == "release@2"
        [record] = await arrived(made, 0, 1)
        assert positions([record]) == [("c", 0, 3)]
        assert names([record]) == [(("s3",), 0)]
        assert len(await read_all(made, CONTROL)) == 4


async def test_only_the_first_answer_counts(made: Settings, child: Child, publisher: Publisher) -> None:
    await publisher.publish_control(ReleaseSignals(request_id="r", max_signals=1))
    await publisher.publish_control(ReleaseSignals(request_id="release@0", signal_ids=("s1",)))
    await publisher.publish_control(ReleaseSignals(request_id="release@0", signal_ids=("s2",)))
    for _ in range(2):
        child.start()
        assert names((await arrived(made, 0, 3))[-3:]) == [((), 0), (("s1",), 0), ((), 0)]
        child.kill()
    await wait_until(lambda: _twice(made))


async def _twice(settings: Settings) -> bool:
    return len(await read_all(settings, CONTROL)) == 3


async def test_what_was_released_is_not_named_again(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    async with fake_shards(made) as shards:
        await hold(shards[0], control=0)
        released = [
            SignalReleased(originator_id="shard-0", originator_version=7, signal_id="s3"),
        ]
        await shards[0].round({"c/0": 0}, lambda _: list(released))
        await publisher.publish_control(ReleaseSignals(request_id="r", max_signals=1))
        await arrived(made, 0, 1)
        await shards[0].round({"c/0": 1})
        assert (await controls(made, 2))[1]["signal_ids"] == ["s0"]


async def test_the_queue_is_restored_from_a_snapshot(
    made: Settings, child: Child, publisher: Publisher, producer: AIOKafkaProducer
) -> None:
    state = new_state(0, made.partitions)
    evolve(state, held(7, 1))
    async with fake_shards(made) as shards:
        await shards[0].round({"c/0": 0}, lambda version: [held(1, version)])
        # The snapshot says something else than the log, so that it shows which of them was read.
        await write_snapshot(producer, made, 0, 0, shards[0].position, dump_state(state))
        child.start()
        await publisher.publish_control(ReleaseSignals(request_id="r", max_signals=5))
        await arrived(made, 0, 1)
        await shards[0].round({"c/0": 1}, lambda version: [held(2, version)])
        assert (await controls(made, 2))[1]["signal_ids"] == ["s2", "s7"]
