"""A shard of the engine on the real broker, without Faust: rounds, commands, takeover, snapshots."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.agents.shard import Shard
from engine.domain.messages import InboxRecord, PlaceOrder, ResyncWhale, Tick
from engine.domain.shard import state_digest
from engine.errors import FencedOut, LogCorrupt
from engine.log.consume import open_consumer
from engine.log.replay import fold_log
from engine.log.topics import delete_topics, ensure_topics
from engine.topology import INBOX, SNAPSHOTS
from tests.integration.engine.conftest import Bench, copies, until

NEWS = [InboxRecord(body=ResyncWhale(request_id="r", whale_id="w9", symbol="BTC/USDC:USDC", position=Decimal(0)))]
"""Something that makes an event and no command."""


def values(rounds: list) -> list[bytes]:  # type: ignore[type-arg]
    return [value for accepted in rounds for _, _, value, _ in accepted.events]


async def test_what_is_written_is_what_deciding_on_the_inbox_gives(bench: Bench) -> None:
    await bench.put(copies(3, 5))
    shard = await bench.shard()
    await bench.feed(shard)
    await shard.close()
    rounds, reader = await bench.accepted()
    assert values(rounds) == await bench.decided_again()
    assert reader.position == shard.position
    assert len(values(rounds)) > 40


async def test_commands_follow_in_order_and_without_gaps(bench: Bench) -> None:
    await bench.put(copies(3, 5))
    shard = await bench.shard()
    await bench.feed(shard)
    await until(lambda: shard._commands.empty() and shard._sent_through == 18, "the commands are acked")
    await bench.put(NEWS)
    await bench.feed(shard)
    await shard.close()
    markers = [accepted.marker for accepted in (await bench.accepted())[0]]
    assert [(marker.commands_through, marker.commands_total) for marker in (markers[0], markers[-1])] == [(0, 18), (18, 18)]
    commands = await bench.commands()
    assert [command.seq for command in commands] == list(range(1, 3 * 6 + 1))
    assert all(isinstance(command.body, PlaceOrder) for command in commands)
    assert len({command.body.command_id for command in commands}) == len(commands)


async def test_commands_that_were_not_sent_are_sent_by_the_next_owner(bench: Bench) -> None:
    """The first owner dies between its marker and its commands."""
    await bench.put(copies(2, 1))
    first = await bench.shard()
    first._tasks[1].cancel()  # the sender
    await bench.feed(first)
    assert await bench.commands() == []
    second = await bench.shard()
    assert [command.seq for command in await bench.commands()] == [1, 2, 3, 4]
    # The next marker says that they were sent: nobody sends them a third time.
    await bench.put(NEWS)
    await bench.feed(second)
    await second.close()
    third = await bench.shard()
    assert [command.seq for command in await bench.commands()] == [1, 2, 3, 4]
    await third.close()


async def test_a_successor_goes_on_where_the_log_says(bench: Bench) -> None:
    story = copies(2, 4)
    await bench.put(story[:10])
    first = await bench.shard()
    await bench.feed(first)
    await bench.put(story[10:])
    second = await bench.shard()
    assert second.next_inbox == 10
    await bench.feed(second)
    await second.close()
    rounds, reader = await bench.accepted()
    assert values(rounds) == await bench.decided_again()
    assert reader.void_events == 0


async def test_a_former_owner_ends_itself_before_it_sends_a_command(bench: Bench) -> None:
    story = copies(2, 4)
    await bench.put(story)
    zombie = await bench.shard()
    successor = await bench.shard()
    zombie._queue.extend(await bench.records(INBOX))
    with pytest.raises(FencedOut):
        await zombie._round()
    assert await bench.commands() == []
    await successor.close()


async def test_loading_from_a_snapshot_gives_the_same_state_and_deleting_it_changes_only_time(bench: Bench) -> None:
    story = copies(4, 8)
    shard = await bench.shard()
    for part in (story[:-10], story[-10:]):
        await bench.put(part)
        await bench.feed(shard)
    await shard.close()
    async with open_consumer(bench.settings) as consumer:
        quick = await fold_log(consumer, bench.settings, 0, shard.position.next_offset)
        whole = await fold_log(consumer, bench.settings, 0, shard.position.next_offset, from_zero=True)
    assert 0 < quick.events < whole.events == shard.position.next_id - 1
    assert quick.position == whole.position == shard.position
    assert state_digest(quick.state) == state_digest(whole.state) == state_digest(shard.state)
    await delete_topics(bench.settings, [SNAPSHOTS])
    await ensure_topics(bench.settings)
    async with open_consumer(bench.settings) as consumer:
        without = await fold_log(consumer, bench.settings, 0, shard.position.next_offset)
    assert without.events == whole.events
    assert state_digest(without.state) == state_digest(whole.state)


async def test_an_inbox_gap_is_refused(bench: Bench) -> None:
    shard = await bench.shard()
    with pytest.raises(LogCorrupt, match="offset 1 arrived, 0 was expected"):
        shard.put((1, b'{"body":{"t":"Tick"}}', 0))
    await shard.close()


async def test_ticks_that_lead_to_nothing_make_few_markers(bench: Bench) -> None:
    shard = await bench.shard()
    for _ in range(20):
        await bench.put([InboxRecord(body=Tick())])
        for item in await bench.records(INBOX, 0, shard._expected):
            shard.put(item)
    await until(lambda: shard.next_inbox == 20, "all ticks are decided")
    rounds, _ = await bench.accepted()
    assert len(rounds) == 1
    await bench.put(copies(1, 1)[:1])
    await bench.feed(shard)
    rounds, _ = await bench.accepted()
    assert rounds[-1].marker.inbox_to == 21
    await shard.close()


async def test_state_is_kept_while_nobody_else_has_claimed(bench: Bench) -> None:
    await bench.put(copies(2, 1))
    shard = await bench.shard()
    await bench.feed(shard)
    await shard.pause()
    assert await shard.still_owned()
    assert shard.resume() == shard.position.inbox_position
    other = Shard(bench.settings, 0, bench.producer, "other")
    await other.load()
    assert not await shard.still_owned()
    await other.close()
    await shard.close()
