"""`remora replay` and `remora verify` on a log that the engine wrote."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from engine.errors import ConfigInvalid, LogCorrupt
from engine.log.consume import open_consumer
from engine.log.reader import chain
from engine.log.replay import fold_log
from engine.log.topics import delete_topics, ensure_topics
from engine.topology import INBOX
from ops.replay import replay, verify
from tests.integration.engine.conftest import Bench, copies


async def _played(bench: Bench) -> int:
    """A story in two parts, with a snapshot between them; returns the offset of the first part's end."""
    story = copies(3, 8)
    shard = await bench.shard()
    await bench.put(story[:-12])
    await bench.feed(shard)
    middle = shard.position.next_offset
    await bench.put(story[-12:])
    await bench.feed(shard)
    await shard.close()
    return middle


async def test_every_way_to_the_state_agrees(bench: Bench) -> None:
    await _played(bench)
    [found] = await verify(bench.settings)
    assert found.ok, found
    assert found.live_digest == found.zero_digest == found.snapshot_digest
    assert 0 < found.snapshot_events < found.events == found.redecided_events
    assert found.redecided_rounds == found.rounds


async def test_replay_stops_at_an_offset_or_a_time(bench: Bench) -> None:
    middle = await _played(bench)
    [whole] = await replay(bench.settings)
    [part] = await replay(bench.settings, 0, str(middle))
    assert part.next_offset == middle < whole.next_offset
    assert part.state_digest != whole.state_digest
    [none] = await replay(bench.settings, 0, "2000-01-01T00:00:00Z")
    assert (none.rounds, none.next_offset) == (0, 0)
    async with open_consumer(bench.settings) as consumer:
        again = await fold_log(consumer, bench.settings, 0, middle, from_zero=True)
    assert again.position.digest == part.digest


async def test_a_decision_that_the_inbox_does_not_explain_is_found(bench: Bench) -> None:
    """A round that changes one event of what deciding gives, with a marker that fits it."""
    story = copies(1, 1)
    await bench.put(story)
    shard = await bench.shard()
    items = await bench.records(INBOX)
    shard._queue.extend(items)
    events, _ = await shard._decide()
    shard._queue.clear()
    key, value = events[-1]
    events[-1] = (key, value.replace(b'"followers":1', b'"followers":2'))
    assert events[-1][1] != value
    marker = shard._marker(events)
    assert marker.digest == chain(shard.position.digest, (value for _, value in events))
    await shard.writer.write_round(events, marker)
    await shard.close()
    [found] = await verify(bench.settings)
    assert not found.ok
    assert '"followers":1' in found.difference
    assert '"followers":2' in found.difference


async def test_an_inbox_that_was_made_anew_is_said_clearly(bench: Bench) -> None:
    await _played(bench)
    await delete_topics(bench.settings, [INBOX])
    await ensure_topics(bench.settings, [INBOX])
    with pytest.raises(LogCorrupt, match="but the inbox ends at 0"):
        await verify(bench.settings, 0)


async def test_an_unknown_shard_or_point_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigInvalid, match="no shard 3"):
        await replay(bench.settings, 3)
    for until in ("yesterday", "²"):
        with pytest.raises(ConfigInvalid, match="ISO time"):
            await replay(bench.settings, until=until)


@pytest.mark.parametrize(("changes", "said"), [({"partitions": 2}, "partitions is"), ({"topic_prefix": "other."}, "does not exist")])
async def test_another_system_is_refused(bench: Bench, changes: dict[str, Any], said: str) -> None:
    """Fewer shards than there are would be found in order, and say nothing of the others; what is not there was waited for, for 40 s."""
    for ask in (replay, verify):
        with pytest.raises(ConfigInvalid, match=f"Topic .*: .*{said}"):
            await ask(bench.settings.model_copy(update=changes))


def test_replaying_can_open_no_producer_and_no_exchange() -> None:
    """In a process of its own: what `ops.replay` pulls in holds neither our writers, nor Faust, nor an exchange, nor the executor."""
    program = "import sys, ops.replay; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    forbidden = ("engine.log.writer", "engine.log.publish", "engine.log.inbox", "engine.agents", "engine.exchanges", "engine.executor")
    assert [name for name in loaded if name.startswith((*forbidden, "ccxt", "faust"))] == []
