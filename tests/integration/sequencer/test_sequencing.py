"""What goes where, in which order; and that nothing malformed stops anything."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config import Settings
from engine.contracts.audit import RevokeKey
from engine.domain.messages import (
    ConfigureFollower,
    EquityReported,
    ExecutorClaimed,
    MarksReported,
    OrderSettled,
    OrderUnknown,
    SetSwitch,
    SignalReceived,
    Tick,
)
from engine.domain.values import FollowerSettings
from engine.errors import ContractViolation
from engine.log.codec import decode_inbox
from engine.log.publish import Publisher
from engine.topology import CONTROL, DEAD, EXECUTIONS, FOLLOWER_COMMANDS, INBOX, MARKET_REPORTS, REJECTED, SIGNALS, shard_of
from ops.seeded import seeded_signals
from tests.conftest import SettingsFactory
from tests.integration.sequencer.conftest import Child, answers, arrived, fresh, inbox, positions, read_all
from tests.support import wait_until

GOLDEN = Path(__file__).parents[2] / "golden" / "signals"


async def test_signals_reach_every_shard_in_source_order(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    now = datetime.now(UTC)
    sent = [signal.model_copy(update={"detected_at": now}) for signal in seeded_signals(1, 60)]
    published = [await publisher.publish_signal(signal, structured=number % 2 == 0) for number, signal in enumerate(sent)]
    for shard in range(made.partitions):
        records = await arrived(made, shard, len(sent))
        for whale in {signal.whale_id for signal in sent}:
            bodies = [record.body.signal for record in records if isinstance(record.body, SignalReceived)]
            assert [body.signal_id for body in bodies if body.whale_id == whale] == [s.signal_id for s in sent if s.whale_id == whale]
        first = next(
            record for record in records if isinstance(record.body, SignalReceived) and record.body.signal.signal_id == sent[0].signal_id
        )
        assert isinstance(first.body, SignalReceived)
        assert first.body.signal.published_at == published[0].timestamp_ms
        assert first.body.signal.quantity == sent[0].quantity
        assert positions([first]) == [("s", published[0].partition, published[0].offset)]
    assert [record.value for record in await read_all(made, INBOX, 0)] == [record.value for record in await read_all(made, INBOX, 1)]
    assert await read_all(made, REJECTED) == []


async def test_each_source_goes_where_it_belongs(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    home = shard_of("anna", made.partitions)
    settled = OrderSettled(epoch=0, seq=1, command_id="c" * 32, follower_id="anna", status="filled", settled_at=5)
    unknown = OrderUnknown(epoch=0, seq=1, command_id="c" * 32, follower_id="anna", attempt=1, reason="timeout", at=4)
    equity = EquityReported(epoch=0, follower_id="anna", venue="bybit", equity=100, available=90, at=6)  # type: ignore[arg-type]
    await publisher.publish_follower_command(ConfigureFollower(request_id="1", follower_id="anna", settings=FollowerSettings(mode="live")))
    for record in (ExecutorClaimed(owner="e", at=1), unknown, settled, equity):
        await (await publisher.send_raw(EXECUTIONS, msgspec.json.encode(record), home, b"anna"))
    revoked = RevokeKey(t="RevokeKey", request_id="2", key_id="4c5a153b4f3c")
    await publisher.publish_audit(revoked)
    await publisher.publish_control(SetSwitch(request_id="2", state="halt"))
    await publisher.publish_audit(revoked)
    await (await publisher.send_raw(MARKET_REPORTS, msgspec.json.encode(MarksReported(venue="bybit", marks={}, at=1)), 0))
    for shard in range(made.partitions):
        records = await arrived(made, shard, 6 if shard == home else 2)
        found = {positions([record])[0]: type(record.body) for record in records}
        everywhere = {("c", 0, 1): SetSwitch, ("m", 0, 0): MarksReported}
        only_there = {
            ("f", home, 0): ConfigureFollower,
            ("x", home, 0): ExecutorClaimed,
            ("x", home, 2): OrderSettled,
            ("x", home, 3): EquityReported,
        }
        assert found == (everywhere | only_there if shard == home else everywhere)
    assert await read_all(made, DEAD[CONTROL.name]) == [], "what is for the trail only concerns no shard and is no dead letter"


def _headers(golden: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in golden["headers"]]


def _value(golden: dict[str, Any]) -> bytes | None:
    if "base64" in golden:
        return base64.b64decode(golden["base64"])
    if "text" in golden:
        return str(golden["text"]).encode()
    return None if golden["value"] is None else json.dumps(golden["value"]).encode()


async def test_every_malformed_signal_is_answered_and_stops_nothing(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    refused = [golden for path in sorted(GOLDEN.glob("refused-*.json")) if (golden := json.loads(path.read_text()))]
    for golden in refused:
        key = None if golden["key"] is None else golden["key"].encode()
        await (await publisher.send_raw(SIGNALS, _value(golden), 0, key, _headers(golden)))
    huge = b'{"signal_id":"' + b"x" * 2_000_000 + b'"}'
    await (await publisher.send_raw(SIGNALS, huge, 0, b"acc3", _headers(refused[0])))
    await (await publisher.send_raw(SIGNALS, b"{}", 0, b"\xff" * 3_000_000, [("ce_id", b"\xfe")] * 50))
    good = await publisher.publish_signal(fresh(1))
    found = await answers(made, REJECTED, len(refused) + 2)
    assert len(await read_all(made, REJECTED)) == len(refused) + 2
    for golden, answer in zip(refused, found, strict=False):
        # Age is judged by the real append time; these two were written long ago or ahead of then.
        if golden["verdict"]["field"] != "detected_at":
            assert answer["field"] == golden["verdict"]["field"]
            assert golden["verdict"]["expected"] in answer["expected"]
        assert base64.b64decode(answer["payload_base64"]) == (_value(golden) or b"")[:4096]
        assert answer["headers"] == golden["headers"]
    assert [answer["offset"] for answer in found] == list(range(len(refused) + 2))
    assert {(answer["topic"], answer["partition"]) for answer in found} == {(made.topic(SIGNALS), 0)}
    assert (found[-2]["field"], found[-2]["value"], found[-2]["payload_bytes"]) == ("value", "2000016 bytes", 2_000_016)
    assert found[-1]["field"] == "headers.ce_id"
    [record] = await arrived(made, 0, 1)
    assert positions([record]) == [("s", good.partition, good.offset)]
    assert child.exit_codes == []


async def test_too_old_is_judged_by_the_append_time(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    await publisher.publish_signal(fresh(1, detected_at=datetime.now(UTC) - timedelta(hours=25)))
    [answer] = await answers(made, REJECTED, 1)
    assert answer["field"] == "detected_at"
    assert answer["expected"].startswith("too_old")


async def test_unreadable_internal_records_go_to_their_dead_topic(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    home = shard_of("anna", made.partitions)
    command = msgspec.json.encode(ConfigureFollower(request_id="1", follower_id="anna", settings=FollowerSettings()))
    await (await publisher.send_raw(FOLLOWER_COMMANDS, b"nonsense", home, b"anna"))
    await (await publisher.send_raw(FOLLOWER_COMMANDS, command, (home + 1) % made.partitions, b"anna"))
    for topic in (CONTROL, MARKET_REPORTS, EXECUTIONS):
        await (await publisher.send_raw(topic, b'{"t":"Nonsense"}', 0))
        await (await publisher.send_raw(topic, None, 0, b"k"))
    await publisher.publish_control(SetSwitch(request_id="2", state="halt"))
    commands = await answers(made, DEAD[FOLLOWER_COMMANDS.name], 2)
    assert {answer["field"] for answer in commands} == {"value", "partition"}
    for topic in (CONTROL, MARKET_REPORTS, EXECUTIONS):
        assert [answer["offset"] for answer in await answers(made, DEAD[topic.name], 2)] == [0, 1]
    assert positions(await arrived(made, 0, 1)) == [("c", 0, 2)]


async def test_ticks_flow(settings: SettingsFactory, child: Child, made: Settings) -> None:
    child.start(REMORA_TICK_MS="50")
    for shard in range(made.partitions):

        async def ticks(shard: int = shard) -> bool:
            records = [decode_inbox(record.value or b"") for record in await read_all(made, INBOX, shard)]
            return len(records) >= 3 and all(isinstance(record.body, Tick) and record.src is None for record in records)

        await wait_until(ticks)


async def test_publishing_is_checked(publisher: Publisher) -> None:
    bad: Any = SetSwitch(request_id="1", scope="whale", state="halt")
    with pytest.raises(ContractViolation, match="target"):
        await publisher.publish_control(bad)
    with pytest.raises(ContractViolation, match="request_id"):
        await publisher.publish_follower_command(ConfigureFollower(request_id="", follower_id="a", settings=FollowerSettings()))


async def test_a_flood_keeps_its_order(made: Settings, child: Child, publisher: Publisher) -> None:
    child.start()
    sent = [await publisher.send_signal(fresh(number, whale_id="flood")) for number in range(3000)]
    await asyncio.gather(*(_wait(one) for one in sent))
    records = await arrived(made, 1, 3000)
    offsets = [offset for _, _, offset in positions(records)]
    assert offsets == list(range(3000))
    assert len(await inbox(made, 0)) == 3000


async def _wait(sent: Any) -> None:
    await sent
