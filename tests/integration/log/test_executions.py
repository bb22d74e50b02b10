"""Where the executor's records about orders lie, on a real broker: several shards, from a time on, and without an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from engine.domain.messages import ExecutorClaimed, OrderAttempted, OrderSettled
from engine.log.executions import Places, Sought, find_executions
from engine.log.publish import open_publisher
from engine.log.topics import ensure_topics
from engine.topology import EXECUTIONS
from tests.conftest import SettingsFactory
from tests.logbook import order

NOW = datetime.now(UTC)


async def test_orders_of_several_shards(settings: SettingsFactory) -> None:
    made = settings(partitions=2)
    await ensure_topics(made, (EXECUTIONS,))
    placed = {shard: order("f", f"s-{shard}") for shard in (0, 1)}
    async with open_publisher(made) as publisher:
        for shard, each in placed.items():
            for record in (
                *(ExecutorClaimed(owner="e", at=1) for _ in range(1 + shard)),
                OrderAttempted(epoch=shard, seq=1, attempt=1, sent_at=1, recv_window_ms=5000, order=each),
                OrderSettled(epoch=shard, seq=1, command_id=each.command_id, follower_id="f", status="filled", settled_at=3),
            ):
                await (await publisher.send_raw(EXECUTIONS, msgspec.json.encode(record), shard, b"f"))
    sought = [Sought(each.command_id, shard, NOW) for shard, each in placed.items()]
    found = await find_executions(made, sought)
    assert found == {each.command_id: Places(1 + shard, None, 2 + shard) for shard, each in placed.items()}
    assert await find_executions(made, [Sought("c" * 32, 0, NOW)]) == {"c" * 32: Places()}
    later = Sought(placed[0].command_id, 0, NOW + timedelta(days=1))
    assert await find_executions(made, [later]) == {later.command_id: Places()}, "what lies before is not looked at"
    assert await find_executions(made.model_copy(update={"kafka": "127.0.0.1:1"}), sought) == {}
