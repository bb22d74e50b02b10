"""Writes on a real broker: the record, the actor, the idempotency key across processes and lost answers, the trail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest
from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from api.app import build
from api.writing import BUSY_S
from engine.config import Settings
from engine.executor.switches import Switches
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.topics import ensure_topics
from engine.topology import CONTROL, FOLLOWER_COMMANDS, SIGNALS, Topic, shard_of
from tests.conftest import SettingsFactory
from tests.integration.api.test_permissions import FOLLOWER, SIGNAL, TERMS
from tests.integration.api.world import World, opened
from tests.logbook import configured
from tests.tables import Tables

Json = dict[str, Any]
Record = ConsumerRecord[bytes | None, bytes | None]


@pytest.fixture
async def world(settings: SettingsFactory, tables: Tables) -> AsyncIterator[World]:
    """The app with its topics."""
    made = settings(database_url=tables.dsn, partitions=2)
    await ensure_topics(made)
    async with opened(made, tables) as found:
        yield found


async def write(world: World, who: str, method: str, path: str, key: str, body: Json | None = None, status: int = 202) -> Json:
    """The answer to a write."""
    options: Json = {} if body is None else {"json": body}
    answer = await world.ask(who, method, path.format(**world.ids), headers={"Idempotency-Key": key}, **options)
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found


async def records(world: World, topic: Topic, partition: int = 0) -> list[Record]:
    """Everything on a partition."""
    settings: Settings = world.app.state.settings
    found: list[Record] = []
    async with open_consumer(settings) as consumer:
        first, end = await bounds(consumer, settings.topic(topic), partition)
        async for batch in read_range(consumer, settings.topic(topic), partition, first, end):
            found += batch
    return found


def value(record: Record) -> Json:
    """A record's JSON."""
    found: Json = json.loads(record.value or b"")
    return found


def key_id(world: World, who: str) -> str:
    """The id in a key."""
    return world.keys[who].split("_")[1]


COMMANDS: list[tuple[str, str, str, Json | None, Json]] = [
    ("own", "POST", "/v1/positions/{position_id}/close", None, {"t": "ClosePosition", "symbol": "BTC/USDT:USDT", "whale_id": "whale-a"}),
    ("own", "PATCH", "/v1/followers/f", {"paused": True, "limits": {"max_exposure_quote": "50"}}, {"t": "ConfigureFollower"}),
    ("own", "PUT", "/v1/followers/f/follows/w", TERMS, {"t": "FollowWhale", "whale_id": "w", "terms": {"trade_size_usdt": "100"}}),
    ("own", "DELETE", "/v1/followers/f/follows/w", None, {"t": "UnfollowWhale", "whale_id": "w"}),
    ("own", "POST", "/v1/followers/f/close?whale=w", None, {"t": "ClosePosition", "whale_id": "w"}),
    ("follow", "POST", "/v1/followers", {**FOLLOWER, "follower_id": "new"}, {"t": "ConfigureFollower"}),
]
CONTROLS: list[tuple[str, str, str, Json | None, Json]] = [
    ("admin", "POST", "/v1/switches/halt", {"reason": "drill"}, {"t": "SetSwitch", "state": "halt", "reason": "drill"}),
    ("own", "POST", "/v1/switches/halt", {"scope": "follower", "target": "f", "state": "close_only"}, {"target": "f"}),
    ("admin", "POST", "/v1/switches/resume", {"scope": "exchange", "target": "bybit"}, {"scope": "exchange", "state": "running"}),
    ("trade", "POST", "/v1/switches/flatten", {"scope": "follower", "target": "g"}, {"t": "Flatten", "target": "g"}),
    ("admin", "PUT", "/v1/queue/gate", {"min_priority": "high"}, {"t": "SetGate", "min_priority": "high"}),
    ("admin", "POST", "/v1/queue/pause", None, {"t": "SetGate", "min_priority": "high", "paused": True}),
    ("admin", "POST", "/v1/queue/resume", None, {"t": "SetGate", "min_priority": "high"}),
    ("admin", "POST", "/v1/queue/process", {"max_signals": 3}, {"t": "ReleaseSignals", "max_signals": 3}),
    ("admin", "POST", "/v1/whales/w/resync", {"symbol": "BTC/USDT", "position": "-1.5"}, {"t": "ResyncWhale", "position": "-1.5"}),
]


async def test_commands_stand_on_the_log_with_their_actor(world: World) -> None:
    for number, (who, method, path, body, expected) in enumerate(COMMANDS):
        answer = await write(world, who, method, path, f"k{number}", body)
        follower = "new" if who == "follow" else "f"
        assert answer["partition"] == shard_of(follower, 2) and answer["position"] == f"f/{answer['partition']}/{answer['offset']}"
        record = value((await records(world, FOLLOWER_COMMANDS, answer["partition"]))[answer["offset"]])
        known = {"follower_id": follower, "request_id": answer["id"], "actor": f"key:{key_id(world, who)}"} | expected
        assert record | known == record
    commands = [value(record) for part in (0, 1) for record in await records(world, FOLLOWER_COMMANDS, part)]
    patched = next(found for found in commands if found["t"] == "ConfigureFollower" and found["follower_id"] == "f")
    assert patched["settings"]["paused"] is True and patched["settings"]["limits"]["max_exposure_quote"] == "50"


async def test_switches_and_the_trail(world: World) -> None:
    for number, (who, method, path, body, expected) in enumerate(CONTROLS):
        answer = await write(world, who, method, path, f"k{number}", body)
        record = value((await records(world, CONTROL))[answer["offset"]])
        assert record | {"request_id": answer["id"], "actor": f"key:{key_id(world, who)}"} | expected == record, path
    shown = (await world.ask("other", "GET", "/v1/switches")).json()
    assert [(item["scope"], item["state"], item["reason"]) for item in shown["items"]] == [
        ("exchange", "running", ""),
        ("global", "halt", "drill"),
    ], "the switch of f is none of g's business"
    assert (shown["gate"]["paused"], shown["gate"]["min_priority"], shown["position"]) == (False, "high", f"c/0/{len(CONTROLS)}")
    await write(world, "own", "DELETE", "/v1/followers/f/follows/w", "last")
    await the_trail(world)


async def the_trail(world: World) -> None:
    """Pages of it meet, newest first; an actor can be asked for."""
    whole = (await world.ask("admin", "GET", "/v1/audit", params={"limit": 200})).json()
    assert (len(whole["items"]), whole["next"]) == (len(CONTROLS) + 1, None)
    assert whole["items"][0]["kind"] == "UnfollowWhale"
    assert [item["position"] for item in whole["items"][1:]] == [f"c/0/{number}" for number in reversed(range(len(CONTROLS)))]
    joined: list[Json] = []
    cursor = None
    while True:
        body = (await world.ask("admin", "GET", "/v1/audit", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        joined, cursor = joined + body["items"], body["next"]
        if cursor is None:
            break
    assert joined == whole["items"]
    mine = await world.ask("admin", "GET", "/v1/audit", params={"actor": f"key:{key_id(world, 'own')}"})
    assert [item["kind"] for item in mine.json()["items"]] == ["UnfollowWhale", "SetSwitch"]


async def test_a_signal_by_hand(world: World) -> None:
    answer = await write(world, "trade", "POST", "/v1/signals", "k", SIGNAL)
    [record] = [found for part in range(8) for found in await records(world, SIGNALS, part)]
    assert value(record) | {"signal_id": answer["id"], "source": "manual", "whale_id": "w"} == value(record)
    assert dict(record.headers)["ce_source"] == f"/remora/api/key:{key_id(world, 'trade')}".encode()
    wrong = await write(world, "trade", "POST", "/v1/signals", "k2", SIGNAL | {"side": "sell"}, 422)
    assert [error["field"] for error in wrong["errors"]] == ["body.side"]
    actor = f"key:{key_id(world, 'trade')}"
    [noted] = [value(found) for found in await records(world, CONTROL)]
    assert noted | {"t": "PublishSignal", "request_id": answer["id"], "signal_id": answer["id"], "actor": actor, "whale_id": "w"} == noted
    [act] = (await world.ask("admin", "GET", "/v1/audit", params={"actor": actor})).json()["items"]
    assert (act["kind"], act["position"]) == ("PublishSignal", "c/0/0") and act["summary"].startswith(
        f"published the signal {answer['id']} by hand"
    )
    assert (await world.ask("admin", "GET", "/v1/audit", params={"actor": "key:other"})).json()["items"] == []
    switches = (await world.ask("read", "GET", "/v1/switches")).json()
    assert (switches["items"], switches["position"]) == ([], "c/0/1")


async def test_no_signal_without_its_record(world: World) -> None:
    """The broker refuses what the trail would have: the signal is not published. Asked again, both are there, once."""
    settings: Settings = world.app.state.settings
    await limit_control(settings, "10")
    await write(world, "trade", "POST", "/v1/signals", "k", SIGNAL, 503)
    assert [found for part in range(8) for found in await records(world, SIGNALS, part)] == []
    await limit_control(settings, "1000000")
    await write(world, "trade", "POST", "/v1/signals", "k", SIGNAL)
    assert len([found for part in range(8) for found in await records(world, SIGNALS, part)]) == len(await records(world, CONTROL)) == 1


async def limit_control(settings: Settings, most_bytes: str) -> None:
    """The largest record that the control topic takes."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic(CONTROL), {"max.message.bytes": most_bytes})])
    await admin.close()


async def test_the_same_key_gets_the_same_answer(world: World, tables: Tables) -> None:
    first = await write(world, "admin", "POST", "/v1/switches/halt", "k", {"reason": "a", "scope": "global"})
    assert await write(world, "admin", "POST", "/v1/switches/halt", "k", {"scope": "global", "reason": "a"}) == first
    other = await write(world, "admin", "POST", "/v1/switches/halt", "k", {"reason": "b"}, 422)
    assert other["type"] == "idempotency-key-reused"
    await write(world, "admin", "POST", "/v1/switches/resume", "k", {"reason": "a", "scope": "global"}, 422)
    assert (await write(world, "own", "POST", "/v1/switches/halt", "k", {"scope": "follower", "target": "f"}))["id"] != first["id"]
    async with another(world) as twin:
        assert await write(twin, "admin", "POST", "/v1/switches/halt", "k", {"reason": "a", "scope": "global"}) == first, "another process"
        together = await asyncio.gather(
            *(write(app, "admin", "POST", "/v1/switches/resume", "at-once", {}) for app in (world, twin, world, twin))
        )
    assert [found == together[0] for found in together] == [True] * 4
    assert len(await records(world, CONTROL)) == 3


def another(world: World) -> Any:
    """A second process on the same tables and topics."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def running() -> AsyncIterator[World]:
        app = build(world.app.state.settings)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            yield World(app, http, world.keys, world.ids)

    return running()


@pytest.mark.parametrize(("path", "who", "body"), [("/v1/followers/f/close", "own", None), ("/v1/signals", "trade", SIGNAL)])
async def test_a_lost_answer_is_found_on_the_log(world: World, tables: Tables, path: str, who: str, body: Json | None) -> None:
    """The process ended between the log and the table: whoever asks again sends nothing twice."""
    first = await write(world, who, "POST", path, "k", body)
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        connection.execute("UPDATE access.answers SET answer = NULL, busy_until = now() - interval '1 s'")
    assert await write(world, who, "POST", path, "k", body) == first
    topic = FOLLOWER_COMMANDS if body is None else SIGNALS
    assert len(await records(world, topic, first["partition"])) == 1


async def test_a_request_that_never_reached_the_log_is_sent(world: World, tables: Tables) -> None:
    """The process ended before it wrote; while it might still be at it, the answer is to ask again."""
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        first = await write(world, "admin", "POST", "/v1/switches/halt", "k", {})
        connection.execute("UPDATE access.answers SET answer = NULL, busy_until = now() + interval '1 h', request_key = sha256('x')")
        assert (await write(world, "admin", "POST", "/v1/switches/halt", "k2", {}))["offset"] == first["offset"] + 1
    assert BUSY_S > 5, "longer than a broker takes to answer"


async def send(world: World, path: str, status: int, **fields: str) -> str:
    """A form of the dashboard, sent with a key; where it leads, or what the page says."""
    answer = await world.ask("admin", "POST", path, data={"once": "1" * 24} | fields, headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return answer.headers.get("location", answer.text)


async def test_a_form_with_other_words_is_not_the_same_form(world: World) -> None:
    """A browser that goes back may keep the form's own key: what is asked then must not be taken for what was asked before."""
    halt = await send(world, "/operations/do", 303, deed="halt", reason="drill")
    assert await send(world, "/operations/do", 303, deed="halt", reason="drill") == halt
    assert "Idempotency-Key" in await send(world, "/operations/do", 422, deed="running", reason="drill")
    assert [value(record)["state"] for record in await records(world, CONTROL)] == ["halt"]


async def test_a_pause_by_the_dashboard_keeps_the_lowest_priority(world: World) -> None:
    await write(world, "admin", "PUT", "/v1/queue/gate", "k", {"min_priority": "high"})
    page = await world.ask("admin", "GET", "/operations")
    assert "<strong>from high up</strong>" in page.text and "Let 10 pass" in page.text
    await send(world, "/operations/do", 303, deed="pause")
    gate = value((await records(world, CONTROL))[-1])
    assert (gate["paused"], gate["min_priority"]) == (True, "high")


async def test_a_double_click_in_the_guide_acts_once(world: World, tables: Tables) -> None:
    """The second click comes when the tables know the follower already: it is told what the first one was told."""
    form = {"follower": "me", "venue": "bybit", "size": "100"}
    first = await send(world, "/guide/follower", 503, **form)
    assert "no account yet" in first, "no simulator here"
    tables.tell(shard_of("me", 2), configured("me"))
    assert "no account yet" in await send(world, "/guide/follower", 503, **form)
    assert "take another name" in await send(world, "/guide/follower", 409, **form, once="2" * 24)
    found = [value(record)["t"] for part in (0, 1) for record in await records(world, FOLLOWER_COMMANDS, part)]
    assert sorted(found) == ["ConfigureFollower", "FollowWhale"]


async def test_a_signal_too_old_for_the_sequencer_is_refused(world: World) -> None:
    """It would stand on the log and never be seen by those who wait for it."""
    wrong = await write(world, "trade", "POST", "/v1/signals", "k", SIGNAL | {"detected_at": "2026-01-01T00:00:00Z"}, 422)
    assert [error["field"] for error in wrong["errors"]] == ["body.detected_at"]
    assert await records(world, CONTROL) == []


async def test_what_was_refused_is_not_remembered(world: World) -> None:
    body = {**FOLLOWER, "follower_id": "f"}
    assert (await write(world, "follow", "POST", "/v1/followers", "k", body, 409))["type"] == "conflict"
    await write(world, "follow", "PATCH", "/v1/followers/nobody", "k", {"paused": True}, 404)
    await write(world, "follow", "POST", "/v1/followers", "k", FOLLOWER | {"follower_id": "h"})


def test_the_executor_drops_a_repeated_switch() -> None:
    """An old halt whose answer was lost must not come back after the resume."""
    switches, halt = Switches(), b'{"t":"SetSwitch","request_id":"1","state":"halt"}'
    for record in (halt, b'{"t":"SetSwitch","request_id":"2","state":"running"}', halt):
        switches.fold(record)
    assert switches.changed == 2
