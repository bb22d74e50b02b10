"""Coming back: across a restart, from inside a round, from another process; and what is said when it cannot be done."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import msgspec
import pytest

from api.live import history, hub, route
from engine.log.codec import encode_event
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.reader import Position, RoundReader, chain
from engine.topology import EVENTS
from tests.integration.api_live.conftest import DEADLINE_S, SHARDS, Api, Rig, Stream
from tests.integration.api_live.test_live import play, signal_ids, skips
from tests.logbook import START_MS, configured
from tests.support import wait_until

BEGIN = ".".join(["0"] * SHARDS)


def told(stream: Stream) -> list[tuple[str, str]]:
    """What a stream told, in its order."""
    return [(event.kind, json.dumps(event.data)) for event in stream.events if event.kind not in ("ready", "dropped")]


async def test_a_restart_misses_and_repeats_nothing(rig: Rig) -> None:
    async with rig.serving() as api:
        async with api.stream() as first:
            await play(rig, "s-1", "f", "g")
            await first.until(lambda found: len(found.of("order_ended")) == 2)
        await play(rig, "s-2", "f", at=START_MS + 5000)
    await play(rig, "s-3", "g", at=START_MS + 9000)
    async with rig.serving() as api:
        async with api.stream(last_id=first.last_id) as second, api.stream(last_id=BEGIN) as whole:
            await play(rig, "s-4", "f", at=START_MS + 12_000)
            for stream, ends in ((second, 3), (whole, 5)):
                await stream.until(lambda found, ends=ends: len(found.of("order_ended")) == ends)
        assert signal_ids(second) == ["s-2", "s-3", "s-4"]
        assert sorted(told(first) + told(second)) == sorted(told(whole))
        assert len(set(told(whole))) == len(told(whole))


@pytest.mark.parametrize("key", ["admin", "f"])
async def test_coming_back_from_any_event(rig: Rig, key: str) -> None:
    """Also from inside a round and from inside a record, again and again: the rest is the rest."""
    for number in range(3):
        await play(rig, f"s-{number}", "f", "g", "h", at=START_MS + number * 10)
    await rig.log.round(0, configured("f"), skips("f", "g"))
    async with rig.serving() as api:
        async with api.stream(key, BEGIN) as stream:
            await stream.until(lambda found: found.of("copy_skipped") and len(found.of("order_ended")) == (9 if key == "admin" else 3))
        whole = stream.events[1:]
        for number, event in enumerate(whole[:-1]):
            async with api.stream(key, event.id) as again:
                rest = sorted(told(stream)[number + 1 :])
                await again.until(lambda found, rest=rest: len(told(found)) >= len(rest))
                assert sorted(told(again)) == rest, event.id
        async with api.stream(key, whole[-1].id) as nothing:
            await rig.log.round(1, skips("f", signal_id="after", shard=1))
            await nothing.until(lambda found: found.of("copy_skipped"))
            assert [event.data["signal_id"] for event in nothing.events[1:]] == ["after"]


async def test_a_client_of_a_quicker_process_waits_for_us(rig: Rig) -> None:
    async with rig.serving() as slow, rig.serving() as quick, quick.stream() as ahead:
        await wait_until(slow.live.tail.ready.is_set, DEADLINE_S)
        held: list[Any] = []
        take, slow.live.tail._take = slow.live.tail._take, lambda *taken: held.append(taken)
        await rig.log.round(0, skips("f", "g"), configured("f"))
        await ahead.until(lambda found: found.of("follower_configured"))
        await wait_until(lambda: held, DEADLINE_S)
        entering = asyncio.create_task(one_stream(slow, ahead.of("copy_skipped")[0].id))
        await wait_until(lambda: slow.live.clients, DEADLINE_S)
        for taken in held:
            take(*taken)
        assert await entering == ["ready", "follower_configured"], "and nothing of the round twice"


async def one_stream(api: Api, last_id: str) -> list[str]:
    """The types of what comes behind an id, up to a follower's settings."""
    async with api.stream(last_id=last_id) as stream:
        await stream.until(lambda found: found.of("follower_configured"))
        return [event.kind for event in stream.events]


async def test_it_begins_where_the_tables_stand(rig: Rig) -> None:
    """Reading starts at the projected position; what lies before comes from the log when it is asked for."""
    await play(rig, "s-1", "f", "g")
    stands = [await projected(rig, shard) for shard in range(SHARDS)]
    await play(rig, "s-2", "f", at=START_MS + 5000)
    async with rig.serving() as api:
        await wait_until(api.live.tail.ready.is_set, DEADLINE_S)
        assert api.live.history.first == stands
        async with api.stream(last_id=BEGIN) as stream:
            await stream.until(lambda found: len(found.of("order_ended")) == 3)
            assert signal_ids(stream) == ["s-1", "s-2"]
        assert api.live.history.first == [Position()] * SHARDS
        assert api.live.events == 6, "what was read for one client is not counted again"


async def projected(rig: Rig, shard: int) -> Position:
    """Note in the tables that a shard is projected to its end."""
    reader, topic = RoundReader(shard), rig.settings.topic(EVENTS)
    async with open_consumer(rig.settings) as consumer:
        _, end = await bounds(consumer, topic, shard)
        async for records in read_range(consumer, topic, shard, 0, end):
            reader.feed(records)
    at = reader.position
    rig.execute(
        "INSERT INTO projection_positions (application_name, topic, partition, notification_id, epoch, inbox_position, digest, next_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        *(f"{topic}[{shard}]", topic, shard, at.next_offset, at.epoch, at.inbox_position, at.digest, at.next_id),
    )
    return at


async def two_void_rounds(rig: Rig) -> int:
    """A writer that has lost its shard writes two rounds that fit each other; gives the position between them."""
    state = rig.log.shards[0]
    old, digest = state.epoch, state.digest
    await rig.log.claim(0)
    await rig.log.round(0, skips("f", signal_id="zombie"), epoch=old)
    between = state.offset + 1
    for signal_id in ("zombie", "zombie-2"):
        digest = chain(digest, [encode_event(skips("f", signal_id=signal_id))[1]])
    follows = {"inbox_from": state.inbox + 1, "inbox_to": state.inbox + 2, "first_id": state.next_id + 1, "digest": digest}
    await rig.log.round(0, skips("f", signal_id="zombie-2"), epoch=old, **follows)
    return between


async def test_an_id_that_cannot_be_used_is_a_reset(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "REACH_S", 0.2)
    await play(rig, "s-1", "f")
    void = await two_void_rounds(rig)
    for shard in range(SHARDS):
        await rig.log.round(shard, skips("f", signal_id="good", shard=shard))
        await projected(rig, shard)
    async with rig.serving() as api:
        ends = api.live.history
        await wait_until(api.live.tail.ready.is_set, DEADLINE_S)
        last = ends.vector
        for text in ("nonsense", "1", f"{last[0]}.{last[1]}.9", f"{last[0] + 5}.{last[1]}", f"1.{last[1]}", f"{void}.{last[1]}"):
            async with api.stream(last_id=text) as stream:
                assert [event.kind for event in stream.events] == ["reset", "ready"], text
                assert stream.events[0].data == {"reason": "unknown_position", "position": ".".join(map(str, last))}
                assert stream.last_id == ".".join(map(str, last))
        monkeypatch.setattr(history, "RESUME_RECORDS", 3)
        async with api.stream(last_id=BEGIN) as stream:
            assert stream.events[0].data["reason"] == "too_far_behind"
            await rig.log.round(0, skips("f", signal_id="new"))
            await stream.until(lambda found: found.of("copy_skipped"))
            assert signal_ids(stream, "copy_skipped") == ["new"], "and the stream goes on"


async def test_old_rounds_leave_memory_and_come_back_from_the_log(rig: Rig) -> None:
    async with rig.serving() as api:
        await wait_until(api.live.tail.ready.is_set, DEADLINE_S)
        api.live.history._kept_events = 3
        async with api.stream() as first:
            for number in range(4):
                await play(rig, f"s-{number}", "f", at=START_MS + number * 1000)
            await first.until(lambda found: len(found.of("order_ended")) == 4)
        assert api.live.history._events <= 6
        async with api.stream(last_id=BEGIN) as whole:
            await whole.until(lambda found: len(found.of("order_ended")) == 4)
        assert sorted(told(whole)) == sorted(told(first))


async def test_a_slow_reader_is_told_and_dropped(rig: Rig, api: Api) -> None:
    async with api.stream() as good:
        api.live._behind = 20
        reader = await slow_client(api)
        await wait_until(lambda: len(api.live.clients) == 2, DEADLINE_S)
        number = 0
        while not api.live.dropped:
            number += 1
            await rig.log.round(0, *[msgspec.structs.replace(skips("f"), value="v" * 20_000) for _ in range(10)])
            await good.until(lambda found, number=number: len(found.of("copy_skipped")) >= 10 * number)
            assert number < 400, "a client that reads nothing is dropped"
        rest = await asyncio.to_thread(drain, reader)
        assert rest.endswith(b'event: dropped\ndata: {"reason":"too_slow"}\n\n\r\n0\r\n\r\n')
        await wait_until(lambda: len(api.live.clients) == 1, DEADLINE_S)
        assert not good.over


async def slow_client(api: Api) -> socket.socket:
    """A client that asks and does not read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(DEADLINE_S)
    await asyncio.to_thread(made.connect, ("127.0.0.1", api.port))
    made.sendall(
        f"GET /v1/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {api.headers()['Authorization']}\r\n\r\n".encode()
    )
    return made


def drain(made: socket.socket) -> bytes:
    """Everything until the server closes."""
    with made:
        return b"".join(iter(lambda: made.recv(1 << 20), b""))


async def test_a_connection_that_takes_nothing_is_closed(rig: Rig, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "STUCK_S", 0.2)
    async with api.stream() as good:
        reader = await slow_client(api)
        await wait_until(lambda: len(api.live.clients) == 2, DEADLINE_S)
        number = 0
        while len(api.live.clients) == 2:
            number += 1
            await rig.log.round(0, *[msgspec.structs.replace(skips("f"), value="v" * 20_000) for _ in range(10)])
            await good.until(lambda found, number=number: len(found.of("copy_skipped")) >= 10 * number)
            assert number < 400, "a client that reads nothing is closed"
        rest = await asyncio.to_thread(drain, reader)
        assert not rest.endswith(b"0\r\n\r\n") and not good.over


async def test_a_log_that_contradicts_itself_ends_the_feed(rig: Rig, api: Api) -> None:
    async with api.stream() as stream:
        await play(rig, "s-1", "f")
        await stream.until(lambda found: found.of("order_ended"))
        await rig.log.round(0, skips("f"), digest="0" * 32)
        await stream.until(lambda found: found.over)
    assert not stream.of("copy_skipped")
    assert (await api.get("/v1/live")).status_code == 503
    assert (await api.get("/v1/health")).status_code == 200


async def test_a_stop_ends_streams_at_once(rig: Rig) -> None:
    async with rig.serving() as api, api.stream() as stream:
        await play(rig, "s-1", "f")
        await stream.until(lambda found: found.of("order_ended"))
        api.server.should_exit = True
        await stream.until(lambda found: found.over)
        assert stream.events[-1].data == {"reason": "stopping"}
        assert not api.live.clients or api.live._closing


async def test_without_a_log_there_is_no_feed_but_the_rest_answers(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "READY_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with rig.serving(kafka=f"127.0.0.1:{port}") as api:
        assert (await api.get("/v1/live")).status_code == 503
        assert (await api.get("/v1/health")).status_code == 200
