"""Rules 1-4 on the real broker: which events count, and how a writer finds out that it is not alone."""

from __future__ import annotations

import os

import pytest

from engine.domain.events import ShardClaimed
from engine.errors import FencedOut, LogCorrupt
from engine.log.codec import CLAIM_KEY, ROUND_KEY, encode
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.reader import RoundReader
from engine.topology import EVENTS, MAX_RECORD_BYTES
from tests.integration.log.conftest import Log, names_of


async def test_a_round_is_accepted_with_its_marker(log: Log) -> None:
    writer = log.writer()
    assert await writer.claim("a") == 0
    await log.write(writer, ["one", "two"])
    await log.write(writer, [])
    await log.write(writer, ["three"])
    rounds, reader = await log.read()
    assert names_of(rounds) == [["one", "two"], [], ["three"]]
    assert reader.position == log.position
    assert [accepted.marker_offset for accepted in rounds] == [3, 4, 6]
    assert all(timestamp > 0 for _, _, _, timestamp in rounds[0].events)


async def test_reading_goes_on_behind_any_accepted_marker(log: Log) -> None:
    writer = log.writer()
    await writer.claim("a")
    await log.write(writer, ["one"])
    middle = log.position
    await log.write(writer, ["two"])
    rounds, reader = await log.read(middle)
    assert names_of(rounds) == [["two"]]
    assert reader.position == log.position


async def test_events_without_a_marker_are_void_once_a_new_writer_claims(log: Log) -> None:
    torn = log.writer()
    await torn.claim("torn")
    events, _ = log.round(["torn"], torn.epoch)
    await log.put(events)
    successor = log.writer()
    await successor.claim("successor")
    await log.write(successor, ["kept"])
    rounds, reader = await log.read()
    assert names_of(rounds) == [["kept"]]
    assert reader.void_events == 1


async def test_a_zombie_with_an_old_epoch_is_void_and_ends_itself(log: Log) -> None:
    zombie = log.writer()
    await zombie.claim("zombie")
    await log.write(zombie, ["before"])
    successor = log.writer()
    await successor.claim("successor")
    await log.write(successor, ["kept"])
    with pytest.raises(FencedOut, match="not alone"):
        await log.write(zombie, ["zombie"])
    rounds, reader = await log.read()
    assert names_of(rounds) == [["before"], ["kept"]]
    assert (reader.void_rounds, reader.void_events) == (1, 1)


async def test_a_writer_that_a_zombie_wrote_behind_ends_before_its_commands(log: Log) -> None:
    """The successor's round does land in the log and counts: its commands are sent by whoever takes over (rule 5)."""
    zombie, successor = log.writer(), log.writer()
    await zombie.claim("zombie")
    await successor.claim("successor")
    events, marker = log.round(["zombie"], zombie.epoch)
    await log.put([*events, (ROUND_KEY, encode(marker))])
    with pytest.raises(FencedOut):
        await log.write(successor, ["successor"])
    rounds, _ = await log.read()
    assert names_of(rounds) == [["successor"]]


async def test_events_of_two_writers_mixed_in_one_round_are_void(log: Log) -> None:
    zombie, owner = log.writer(), log.writer()
    await zombie.claim("zombie")
    await owner.claim("owner")
    stray, _ = log.round(["stray"], zombie.epoch)
    events, marker = log.round(["mine"], owner.epoch)
    await log.put([*stray, *events, (ROUND_KEY, encode(marker))])
    rounds, reader = await log.read()
    assert rounds == []
    assert reader.void_events == 2


async def test_a_repeated_marker_is_void(log: Log) -> None:
    writer = log.writer()
    await writer.claim("a")
    events, marker = log.round(["once"], writer.epoch)
    await log.put([*events, (ROUND_KEY, encode(marker)), (ROUND_KEY, encode(marker)), *events, (ROUND_KEY, encode(marker))])
    rounds, reader = await log.read()
    assert names_of(rounds) == [["once"]]
    assert reader.void_rounds == 2


async def test_a_round_from_the_wrong_inbox_position_is_void(log: Log) -> None:
    writer = log.writer()
    await writer.claim("a")
    events, marker = log.round(["skips"], writer.epoch, inbox_from=7, inbox_to=8)
    await log.put([*events, (ROUND_KEY, encode(marker))])
    rounds, _ = await log.read()
    assert rounds == []


async def test_a_marker_that_fits_nothing_before_it_is_a_corrupt_log(log: Log) -> None:
    writer = log.writer()
    await writer.claim("a")
    events, marker = log.round(["changed"], writer.epoch, digest="f" * 32)
    await log.put([*events, (ROUND_KEY, encode(marker))])
    with pytest.raises(LogCorrupt, match="does not fit"):
        await log.read()


async def test_a_large_round_is_split_and_its_marker_comes_last(log: Log) -> None:
    writer = log.writer()
    await writer.claim("a")
    names = [os.urandom(1000).hex() for _ in range(3 * MAX_RECORD_BYTES // 2000)]
    await log.write(writer, names)
    rounds, _ = await log.read()
    assert names_of(rounds) == [names]
    assert rounds[0].marker_offset == len(names) + 1


async def test_a_claim_behind_a_claim_moves_the_epoch(log: Log) -> None:
    first, second = log.writer(), log.writer()
    assert (await first.claim("first"), await second.claim("second")) == (0, 1)
    await log.put([(CLAIM_KEY, encode(ShardClaimed(shard=0, owner="third")))])
    _, reader = await log.read()
    assert reader.epoch == 2


async def test_a_gap_in_what_is_fed_is_a_corrupt_log(log: Log) -> None:
    writer = log.writer()
    await writer.claim("a")
    await log.write(writer, ["one"])
    async with open_consumer(log.settings) as consumer:
        topic = log.settings.topic(EVENTS)
        assert await bounds(consumer, topic, 0) == (0, 3)
        [records] = [batch async for batch in read_range(consumer, topic, 0, 0, 3)]
    with pytest.raises(LogCorrupt, match="offset 2 arrived, 1 was expected"):
        RoundReader(0).feed([records[0], records[2]])
