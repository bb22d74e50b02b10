"""Playing signals: order, times, pace, what is told about each, and a broker that is not there."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.config import Settings
from engine.contracts.check import RawRecord, read_signal
from engine.contracts.signal import WhaleSignal
from engine.errors import DependencyUnreachable
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.publish import Published
from engine.log.topics import ensure_topics
from engine.topology import SIGNALS, shard_of
from ops.player import parse_speed, play, play_file
from ops.seeded import seeded_signals
from tests.conftest import SettingsFactory


async def published(settings: Settings) -> list[tuple[int, RawRecord]]:
    topic = settings.topic(SIGNALS)
    found: list[tuple[int, RawRecord]] = []
    async with open_consumer(settings) as consumer:
        for partition in range(SIGNALS.partitions):
            first, end = await bounds(consumer, topic, partition)
            async for batch in read_range(consumer, topic, partition, first, end):
                found += [(partition, RawRecord(one.value, one.key, one.headers, one.timestamp)) for one in batch]
    return found


async def test_signals_are_published_now_and_in_order(settings: SettingsFactory) -> None:
    made = settings()
    await ensure_topics(made)
    before, told, gate = datetime.now(UTC) - timedelta(milliseconds=1), list[tuple[WhaleSignal, Published]](), deque[int]()

    async def wait_here() -> None:
        gate.append(len(told))

    signals = list(seeded_signals(1, 60))
    assert await play(made, signals, on_publish=lambda signal, where: told.append((signal, where)), gate=wait_here) == 60
    assert [signal.signal_id for signal, _ in told] == [signal.signal_id for signal in signals]
    assert len(gate) == 60
    assert all(before <= signal.detected_at <= datetime.now(UTC) for signal, _ in told)
    assert [signal.whale_time for signal, _ in told] == [signal.whale_time for signal in signals]
    records = await published(made)
    read = {read_signal(record).signal_id: (partition, record) for partition, record in records}
    for signal, where in told:
        partition, record = read[signal.signal_id]
        assert record.key == signal.whale_id.encode()
        assert partition == where.partition == shard_of(signal.whale_id, SIGNALS.partitions)
        assert record.appended_ms == where.timestamp_ms


async def test_a_recording_in_its_own_pace(settings: SettingsFactory, tmp_path: Path) -> None:
    made = settings()
    await ensure_topics(made)
    fill = {"coin": "BTC", "px": "1", "sz": "1", "side": "B", "startPosition": "0", "dir": "Open Long", "oid": 1}
    path = tmp_path / "anna.json"
    path.write_text(str([fill | {"time": 1000, "tid": 1}, fill | {"time": 1300, "tid": 2, "startPosition": "1"}]).replace("'", '"'))
    told: list[WhaleSignal] = []
    assert await play_file(made, path, parse_speed("3"), on_publish=lambda signal, _: told.append(signal)) == 2
    assert told[1].detected_at - told[0].detected_at >= timedelta(milliseconds=95)
    assert parse_speed("max") is None


async def test_signals_by_hand_keep_their_times(settings: SettingsFactory) -> None:
    made = settings()
    await ensure_topics(made)
    told: list[WhaleSignal] = []
    signals = list(seeded_signals(1, 2))
    assert await play(made, signals, on_publish=lambda signal, _: told.append(signal), restamp=False) == 2
    assert told == signals


async def test_no_broker_is_one_clear_error() -> None:
    with pytest.raises(DependencyUnreachable, match="did not answer"):
        await play(Settings(kafka="127.0.0.1:1"), seeded_signals(1, 1))  # type: ignore[call-arg]
