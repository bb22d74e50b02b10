"""The live feed: what comes, in which form, for whom, and that nothing is missed or shown twice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from api.live import feed, tail
from api.live.payloads import KINDS
from engine.domain import events
from engine.domain.events import CopiesSkipped, SwitchSet
from engine.domain.ids import shard_originator
from engine.domain.messages import PlaceOrder
from engine.log.codec import encode_event
from engine.topology import shard_of
from tests.integration.api_live.conftest import SHARDS, Api, Rig, Stream
from tests.logbook import START_MS, admitted, configured, copied, decided, ended, expired, followed, order, signal
from tests.strays import consumers_of, give_up
from tests.support import wait_until


def home(signal_id: str) -> int:
    """The shard that shows the signal."""
    return shard_of(signal_id, SHARDS)


def skips(*followers: str, signal_id: str = "s-1", shard: int = 0) -> CopiesSkipped:
    """Equal skips of some followers."""
    return CopiesSkipped(
        originator_id=shard_originator(shard),
        originator_version=1,
        at=START_MS,
        signal_id=signal_id,
        whale_id="whale-a",
        symbol="BTC/USDC:USDC",
        reason="cooldown",
        limit="60000",
        value="1",
        followers=tuple((name, 1) for name in followers),
    )


def switched(scope: Any = "global", target: str = "", shard: int = 0) -> SwitchSet:
    """A halt."""
    return SwitchSet(originator_id=shard_originator(shard), originator_version=1, at=START_MS, scope=scope, target=target, state="halt")


async def play(rig: Rig, signal_id: str, *followers: str, at: int = START_MS) -> None:
    """A signal through both shards, copied and filled for some followers."""
    told = signal(signal_id, detected_at=at)
    for shard in range(SHARDS):
        here = [order(name, signal_id) for name in followers if rig.log.shard(name) == shard]
        copies = [copied(each.follower_id, each, signal_id=signal_id, at=at) for each in here]
        counts = {"followers": len(here), "copied": len(here), "orders": len(here)}
        await rig.log.round(shard, admitted(shard, told, at=at), *copies, decided(shard, signal_id, at=at, **counts))
        await rig.log.round(shard, *[ended(each, at=at + 1) for each in here])


def signal_ids(stream: Stream, kind: str = "signal_admitted") -> list[str]:
    """Which signals a stream has told of."""
    return [event.data["signal_id"] for event in stream.of(kind)]


async def test_what_happens_arrives(rig: Rig, api: Api) -> None:
    async with api.stream() as stream:
        await play(rig, "s-1", "f", "g")
        await stream.until(lambda found: len(found.of("order_ended")) == 2)
    assert signal_ids(stream) == ["s-1"], "one shard shows what all tell"
    assert {event.data["follower_id"] for event in stream.of("copy_decided")} == {"f", "g"}
    assert sum(event.data["copied"] for event in stream.of("signal_decided")) == 2
    [first] = [event for event in stream.of("order_ended") if event.data["follower_id"] == "f"]
    assert (first.data["status"], first.data["filled"], first.data["fee_quote"]) == ("filled", "0.002", "0.06")
    assert first.data["at"].startswith("2026-05-28T20:26:40.001")
    ids = [event.id for event in stream.events if event.kind != "ready"]
    assert len(set(ids)) == len(ids) and all(ids)


def follower_story(placed: PlaceOrder) -> list[events.AnyEvent]:
    """One event of each kind that a follower has."""
    return [
        configured("f", paused=True),
        followed("f"),
        events.WhaleUnfollowed(originator_id="f", originator_version=3, at=START_MS, whale_id="w", config_version=3, request_id="r"),
        copied("f", placed),
        events.CopySkipped(
            originator_id="f", originator_version=4, signal_id="s-2", whale_id="w", symbol="X/Y", reason="cooldown", config_version=1
        ),
        skips("f", "x"),
        events.OrdersRequested(
            originator_id="f",
            originator_version=5,
            cause="r",
            whale_id="w",
            venue="bybit",
            venue_symbol="X/Y",
            direction="long",
            orders=(placed,),
        ),
        ended(placed, average_price=None, slippage_bps=Decimal("1E-8")),
        events.EquityRecorded(
            originator_id="f", originator_version=6, venue="bybit", equity=Decimal(7), available=Decimal(5), reported_at=1
        ),
        events.AccountRecorded(originator_id="f", originator_version=7, venue="bybit", allowed=False, reasons=("hedge",)),
        events.DriftDetected(
            originator_id="f", originator_version=8, venue="bybit", venue_symbol="X/Y", expected=Decimal(1), reported=Decimal(0)
        ),
    ]


def shard_story() -> list[events.AnyEvent]:
    """One event of each kind that every shard tells, and one that is not shown."""
    return [
        admitted(0, signal("s-1")),
        decided(0, "s-1"),
        expired(0, "s-1"),
        events.SignalReleased(originator_id="shard-0", originator_version=1, signal_id="s-1"),
        switched(),
        events.GateSet(originator_id="shard-0", originator_version=1, min_priority="high", paused=True),
        events.WhaleGapDetected(
            originator_id="shard-0",
            originator_version=1,
            whale_id="w",
            symbol="X/Y",
            expected=Decimal(1),
            found=Decimal(2),
            signal_id="s-1",
        ),
        events.WhaleResynced(originator_id="shard-0", originator_version=1, whale_id="w", symbol="X/Y", position=Decimal(2), cause="r"),
        events.ExecutorChanged(originator_id="shard-0", originator_version=1, epoch=4),
    ]


async def test_a_tail_that_is_given_up_by_its_client_library_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    consumers = consumers_of(tail, monkeypatch)
    async with rig.serving() as api, api.stream() as stream:
        await give_up(consumers[-1])
        await wait_until(lambda: len(consumers) == 2)
        await play(rig, "s-1")
        await stream.until(lambda found: signal_ids(found) == ["s-1"])


async def test_every_type_has_the_form_that_is_told(rig: Rig, api: Api) -> None:
    story, shared = follower_story(order("f")), shard_story()
    async with api.stream() as stream:
        await rig.log.round(rig.log.shard("f"), *story)
        for shard in range(SHARDS):
            await rig.log.round(shard, *shared)
        await stream.until(lambda found: set(KINDS) <= {event.kind for event in found.events})
        await rig.log.round(0, switched("whale", "last"))
        await stream.until(lambda found: len(found.of("switch_set")) == 2)
    for event in stream.events[1:]:
        KINDS[event.kind].model_validate(event.data)  # type: ignore[index]
    assert len([event for event in stream.events if event.kind.startswith("whale_")]) == 2, "one shard shows what all tell"
    [end] = stream.of("order_ended")
    assert (end.data["slippage_bps"], end.data["average_price"]) == ("0.00000001", None)


async def test_a_key_sees_its_follower_and_what_is_public(rig: Rig, api: Api) -> None:
    async with api.stream("f") as own, api.stream("admin", follower_id="f") as same, api.stream("f", follower_id="g") as asked:
        await rig.log.round(1, switched("follower", "g", 1))
        await rig.log.round(0, switched("follower", "g"), switched("follower", "f"), skips("g", "f", "h"))
        await play(rig, "s-1", "f", "g")
        for stream in (own, same, asked):
            await stream.until(lambda found: found.of("order_ended"))
    await rig.log.round(0, switched())
    for stream in (own, same, asked):
        assert "g" not in {event.data.get("follower_id") for event in stream.events}
        assert [event.data["target"] for event in stream.of("switch_set")] == ["f"]
        assert [(event.data["follower_id"], event.data["followers"]) for event in stream.of("copy_skipped")] == [("f", 1)]
        assert signal_ids(stream) == ["s-1"] and not stream.of("signal_decided")
        assert '"g"' not in str([event.data for event in stream.events])


async def test_filters(rig: Rig, api: Api) -> None:
    async with api.stream(types=["order_ended", "copy_skipped"]) as kinds, api.stream(whale_id="whale-b") as whale:
        await rig.log.round(0, skips("f", "g"), configured("f"))
        await play(rig, "s-1", "f")
        await rig.log.round(
            0,
            events.WhaleResynced(
                originator_id="shard-0", originator_version=1, whale_id="whale-b", symbol="X/Y", position=Decimal(2), cause="r"
            ),
        )
        await kinds.until(lambda found: found.of("order_ended"))
        await whale.until(lambda found: found.of("whale_resynced"))
    assert [event.kind for event in kinds.events] == ["ready", "copy_skipped", "order_ended"]
    assert (kinds.events[1].data["follower_id"], kinds.events[1].data["followers"]) == (None, 2)
    assert [event.kind for event in whale.events] == ["ready", "whale_resynced"]
    assert (await api.get("/v1/live", types="nonsense")).status_code == 422


async def test_void_rounds_are_never_shown(rig: Rig, api: Api) -> None:
    async with api.stream() as stream:
        await play(rig, "s-1", "f")
        await stream.until(lambda found: found.of("order_ended"))
        old = rig.log.shards[0].epoch
        await rig.log.claim(0)
        await rig.log.round(0, admitted(0, signal("zombie")), skips("f", signal_id="zombie"), epoch=old)
        await rig.log.round(0, skips("f", signal_id="elsewhere"), inbox_from=77)
        await rig.log.raw(0, *encode_event(skips("f", signal_id="torn")))
        await rig.log.claim(0)
        await rig.log.round(0, skips("f", signal_id="good"))
        await stream.until(lambda found: "good" in signal_ids(found, "copy_skipped"))
        assert signal_ids(stream, "copy_skipped") == ["good"]
        before = stream.last_id
    async with api.stream(last_id=before) as again:
        await rig.log.round(0, skips("f", signal_id="after"))
        await again.until(lambda found: found.of("copy_skipped"))
    assert signal_ids(again, "copy_skipped") == ["after"]


async def test_an_event_that_cannot_be_read_is_left_out(rig: Rig, api: Api) -> None:
    async with api.stream() as stream:
        await rig.log.round(0, skips("f"), poison=[b'{"t":"Nonsense.v9","o":"f","v":1}', b"no json"])
        await rig.log.round(0, skips("g"))
        await stream.until(lambda found: len(found.of("copy_skipped")) == 2)


async def test_a_quiet_stream_says_that_it_lives(rig: Rig, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BEAT_S", 0.2)
    async with api.stream("f", types=["equity_reported"]) as stream:
        ready = stream.last_id
        await stream.until(lambda found: found.beats >= 2)
        await play(rig, "s-1", "g")
        await stream.until(lambda found: found.last_id != ready, "what is not shown moves the id too")
        assert [event.kind for event in stream.events] == ["ready"]
        await stream.until(lambda found: found.last_id == ".".join(map(str, api.live.history.vector)))


async def test_a_key_that_is_revoked_ends_its_stream(rig: Rig, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "CHECK_S", 0.2)
    async with api.stream("f") as stream, api.stream("admin") as other:
        rig.execute("UPDATE access.api_keys SET revoked_at = now() WHERE follower_id = 'f'")
        await stream.until(lambda found: found.over)
        assert stream.events[-1].data == {"reason": "not_allowed"}
        assert not other.over
    assert (await api.get("/v1/live", "f")).status_code == 401


async def test_no_more_streams_than_agreed(rig: Rig) -> None:
    async with rig.serving(live_clients=1) as api:
        async with api.stream():
            refused = await api.get("/v1/live")
            assert (refused.status_code, refused.json()["type"]) == (503, "live-unavailable")
            assert refused.headers["Retry-After"]
        async with api.stream() as stream:
            assert stream.of("ready")
