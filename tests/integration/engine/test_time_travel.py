"""One follower at any version, with the library's own repository on the log that the engine wrote."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from eventsourcing.application import AggregateNotFoundError

from engine.domain.state import FollowerState
from engine.log.codec import encode
from engine.log.mapper import Follower, FollowerRepository
from engine.log.recorder import KafkaShardRecorder
from tests.integration.engine.conftest import Bench, copies


def _ask(bench: Bench) -> tuple[Follower, Follower, list[int], int | None, str]:
    with KafkaShardRecorder(bench.settings, 0) as recorder:
        followers = FollowerRepository(recorder)
        newest = followers.get("f1")
        lots = [len(followers.get("f1", version=version).state.lots or {}) for version in range(1, newest.version + 1)]
        with pytest.raises(AggregateNotFoundError):
            followers.get("nobody")
        first = recorder.select_notifications(1, 1)[0]
        return newest, followers.get("f1", version=2), lots, recorder.max_notification_id(), first.topic


def _comparable(follower: FollowerState) -> bytes:
    """What a follower's own events say: its place among others and the shard's event count are not among it."""
    follower.number = 0
    for follow in follower.follows.values():
        follow.since = 0
    return encode(follower)


async def test_a_follower_at_any_version(bench: Bench) -> None:
    await bench.put(copies(3, 4))
    shard = await bench.shard()
    await bench.feed(shard)
    await shard.close()
    newest, second, lots, notifications, topic = await asyncio.to_thread(_ask, bench)
    live = shard.state.followers["f1"]
    assert newest.version == live.version
    assert _comparable(newest.state) == _comparable(live)
    assert second.state.settings.preferred_exchange == "binanceusdm"
    assert second.state.follows["w1"].terms.trade_size_usdt == Decimal(100)
    assert lots[:3] == [0, 0, 0]
    assert max(lots) == 1
    assert notifications == shard.position.next_id - 1
    assert topic == "ExecutorChanged.v1"
