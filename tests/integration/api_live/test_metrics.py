"""What Prometheus sees: requests by route, streams, trouble, and lag that a projector which stands still cannot hide."""

from __future__ import annotations

import re
import socket
from decimal import Decimal

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api import ends
from api.app import build
from engine.config import Settings
from engine.domain.events import WhaleGapDetected
from engine.topology import EVENTS, EXECUTIONS, REJECTED
from projections.reads import ReadModels
from tests.integration.api_live.conftest import DEADLINE_S, SHARDS, Api, Rig
from tests.integration.api_live.test_live import play, skips
from tests.integration.api_live.test_resume import projected
from tests.support import PROJECT, wait_until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Name and labels to value."""
    families = text_string_to_metric_families(text)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


async def read(api: Api) -> Samples:
    """The page now."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{api.port}/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return parsed(answer.text)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends are asked for often."""
    monkeypatch.setattr(ends, "SAMPLE_S", 0.05)


def labels(**given: str) -> tuple[tuple[str, str], ...]:
    """As `Samples` has them."""
    return tuple(sorted(given.items()))


async def test_lag_is_taken_from_the_log_itself(rig: Rig, api: Api) -> None:
    await play(rig, "s-1", "f", "g")
    for shard in range(SHARDS):
        await projected(rig, shard)
    await rig.log.claim(0)
    zero = [("remora_projection_lag_records", labels(partition=str(shard))) for shard in range(SHARDS)]

    async def behind(wanted: list[float]) -> bool:
        page = await read(api)
        return [page.get(name) for name in zero] == wanted

    await wait_until(lambda: behind([0, 0]), DEADLINE_S, "a claim is no lag")
    await rig.log.round(0, skips("f"), skips("g"))
    rig.execute("UPDATE projection_positions SET checked_at = now(), lag_seconds = 0")
    await wait_until(lambda: behind([4, 0]), DEADLINE_S, "the projector's own note does not count: claim, two events, marker")
    page = await read(api)
    assert page["remora_projection_lag_seconds", labels(partition="0")] > 0
    assert page["remora_projection_lag_seconds", labels(partition="1")] == 0
    assert page["remora_projection_checked_seconds", labels(partition="0")] < DEADLINE_S
    rig.execute("TRUNCATE projection_positions")
    page = await read(api)
    assert page[zero[0]] > 4 and page[zero[1]] > 0, "nothing was ever projected: all of it is missing"


async def test_what_the_process_has_seen(rig: Rig, api: Api) -> None:
    gap = WhaleGapDetected(
        originator_id="shard-0", originator_version=1, whale_id="w", symbol="X/Y", expected=Decimal(1), found=Decimal(2), signal_id="s"
    )
    async with api.stream():
        for shard in range(SHARDS):
            await rig.log.round(shard, gap, skips("f"))
        await rig.log.raw(0, b"k", b"bad", REJECTED.name)
        await rig.log.raw(0, b"k", b"bad", f"{EXECUTIONS.name}.dead")
        await wait_until(lambda: api.live.events == 4, DEADLINE_S)
        name = ("remora_dead_letters_total", labels(topic=EXECUTIONS.name))

        async def counted() -> bool:
            return (await read(api)).get(name) == 1

        await wait_until(counted, DEADLINE_S)
        page = await read(api)
    assert page["remora_live_clients", ()] == 1
    assert page["remora_events_seen_total", ()] == 4
    assert page["remora_whale_gaps_total", ()] == 1, "all shards tell of one gap"
    assert page["remora_signals_rejected_total", ()] == 1
    assert page["remora_dead_letters_total", labels(topic=EVENTS.name)] == 0
    assert {page["remora_up", labels(dependency=each)] for each in ("postgres", "kafka", "live")} == {1}


async def test_requests_by_route_and_status(rig: Rig, api: Api) -> None:
    await api.get("/v1/signals/none")
    await api.get("/v1/signals/other")
    await api.get("/nowhere")
    page = await read(api)
    assert page["remora_http_requests_total", labels(method="GET", route="/v1/signals/{signal_id}", status="404")] == 2
    assert page["remora_http_requests_total", labels(method="GET", route="unmatched", status="404")] == 1
    assert page["remora_http_request_seconds_count", labels(method="GET", route="/v1/signals/{signal_id}")] == 2


async def test_what_is_not_known_is_left_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = Settings(kafka=f"127.0.0.1:{port}", database_url=f"postgresql://127.0.0.1:{port}/none")  # type: ignore[arg-type]
    app = build(settings, ReadModels(settings, wait_s=0.2))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        page = parsed((await client.get("/metrics")).text)
    assert {page["remora_up", labels(dependency=each)] for each in ("postgres", "kafka", "live")} == {0}
    assert not [name for name, _ in page if name.startswith("remora_projection_lag")]


async def test_alerts_name_series_that_exist(rig: Rig, api: Api) -> None:
    await projected(rig, 0)
    rig.execute("UPDATE projection_positions SET checked_at = now()")
    name = ("remora_up", labels(dependency="kafka"))

    async def up() -> bool:
        return (await read(api)).get(name) == 1

    await wait_until(up, DEADLINE_S)
    shown = {series for series, _ in await read(api)}
    for rule in yaml.safe_load((PROJECT / "ops" / "alerts" / "remora.yml").read_text())["groups"][0]["rules"]:
        wanted = set(re.findall(r"remora_\w+", rule["expr"]))
        assert wanted and wanted <= shown, rule["alert"]
