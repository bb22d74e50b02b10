"""A rebalance in the middle of taking a record in: what waited before it is forgotten, so it must be read again with it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP

from engine.agents import sequencer as module
from engine.agents.seq_resume import holds_records
from engine.agents.sequencer import Sequencer
from engine.config import Settings
from engine.topology import SIGNALS


def message(offset: int) -> Any:
    """What Faust hands on of a record."""
    return SimpleNamespace(offset=offset, value=b"{}", key=None, headers=[], timestamp=1.0)


async def two_transactions(settings: Settings, tp: TP) -> None:
    """Records at the offsets 0 and 2: between them lies the end of the first transaction."""
    producer: Any = AIOKafkaProducer(bootstrap_servers=settings.kafka, transactional_id=settings.topic_prefix)  # type: ignore[no-untyped-call]
    await producer.start()
    for _ in range(2):
        async with producer.transaction():
            await producer.send_and_wait(tp.topic, b"{}", partition=tp.partition)
    await producer.stop()


async def test_a_record_behind_a_gap_does_not_overtake_what_was_forgotten(
    made: Settings, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards take gaps in a source as legal: offset 2 in the inbox without 0 would be the end of 0."""
    tp = TP(made.topic(SIGNALS), 0)
    await two_transactions(made, tp)
    looked_at, go_on = asyncio.Event(), asyncio.Event()

    async def look(*args: Any) -> bool:
        found = await holds_records(*args)
        looked_at.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(module, "holds_records", look)
    sequencer = Sequencer(made, producer)
    assert await sequencer.positions(frozenset({tp})) == {tp: 0}
    await sequencer.sequence_signals(tp, message(0))
    gathering = asyncio.create_task(sequencer.sequence_signals(tp, message(2)))
    await looked_at.wait()
    await sequencer.revoked(frozenset({tp}))
    go_on.set()
    await gathering
    assert (list(sequencer._waiting), sequencer._next) == ([], {})


async def test_whoever_waits_for_room_goes_on_when_what_waited_is_forgotten(
    made: Settings, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_HIGH", 1)
    tp = TP(made.topic(SIGNALS), 0)
    sequencer = Sequencer(made, producer)
    await sequencer.positions(frozenset({tp}))
    gathering = asyncio.create_task(sequencer.sequence_signals(tp, message(0)))
    await asyncio.sleep(0)
    assert not gathering.done() and sequencer._waiting
    await sequencer.revoked(frozenset({tp}))
    async with asyncio.timeout(5):
        await gathering
