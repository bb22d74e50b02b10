"""What processes count: declared once, documented, named rightly in the alerts, served when a port is set."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from engine import meters
from engine.agents.meters import ENGINE, count_decisions
from engine.config import Settings
from engine.domain.events import AnyEvent, CopiesSkipped, CopyDecided, CopySkipped
from engine.exchanges.port import Hint, Judgement, Verdict
from engine.executor.breaker import Breaker
from engine.executor.jobs import Account, Job
from engine.executor.limits import Limits
from engine.executor.meters import order_samples, stage_of, venue_samples
from engine.meters import Meters
from ops.children import free_port
from ops.metrics_page import PAGE, ROLES, page, series
from tests.support import PROJECT, wait_until
from tests.unit.executor.test_parts import Clock, order

UNITS = ("_seconds", "_ratio", "_total", "_records", "_events", "_commands", "_signals", "_failures")
COUNTS_OF_THINGS = {
    "remora_sources_owned", "remora_shards_owned", "remora_orders", "remora_accounts", "remora_followers", "remora_slots_free",
    "remora_switches", "remora_live_clients", "remora_events_since_snapshot",
}  # fmt: skip
STATES = {"remora_up", "remora_breaker_open", "remora_gate_paused", "remora_gate_min_priority", "remora_logic_version", "remora_epoch"}
RULES = [
    rule
    for file in sorted((PROJECT / "ops" / "alerts").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels to value."""
    families = text_string_to_metric_families(text.decode())
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "python -m ops.metrics_page"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.role)
def test_names(role: Meters) -> None:
    names = [meter.name for meter in role.declared]
    assert len(set(names)) == len(names)
    for meter in role.declared:
        assert meter.name.startswith("remora_") and meter.help.endswith(".")
        assert (meter.kind == "counter") == meter.name.endswith("_total")
        assert meter.name.endswith(UNITS) or meter.name in COUNTS_OF_THINGS | STATES, meter.name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_name_what_exists(rule: dict[str, Any]) -> None:
    """Series, the labels that are asked of them, and commands of ours in the words."""
    wanted = set(re.findall(r"(?:remora|process)_\w+", rule["expr"]))
    assert wanted and wanted <= series() | {"process_start_time_seconds"}
    labels = {label for role in ROLES for meter in role.declared if wanted & set(_of(meter)) for label in meter.labels} | {"le", "job"}
    asked = [
        word
        for part in re.findall(r"by \(([^)]*)\)|\{([^}]*)\}", rule["expr"])
        for word in re.findall(r"[a-z_]+(?=\s*(?:[,=!]|$))", "".join(part))
    ]
    assert set(asked) <= labels
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels


def _of(meter: meters.Meter) -> list[str]:
    return [meter.name, *(f"{meter.name}_{part}" for part in ("bucket", "sum", "count"))]


def test_counts_and_what_is_looked_up() -> None:
    made = Meters("role")
    count, state = made.counter("remora_things_total", "Things.", "kind"), made.gauge("remora_state", "State.", "shard")
    unset = made.gauge("remora_unset", "Never known.")
    count.labels("a").inc(3)
    found = samples(made.page([(state, ("0",), 5), (state, ("1",), 6)]))
    assert found["remora_things_total", (("kind", "a"),)] == 3
    assert [found["remora_state", (("shard", shard),)] for shard in "01"] == [5, 6]
    assert not [name for name, _ in found if name == unset.name]
    assert found["process_start_time_seconds", ()] > 0
    with pytest.raises(AssertionError, match="remora_other"):
        made.page([(Meters("other").gauge("remora_other", "Not ours."), (), 1)])


async def fetch(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float] | None:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
                return samples(await answer.read())
        except aiohttp.ClientConnectorError:
            return None


async def test_served_where_the_settings_say_while_the_role_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody else has is tried again."""
    monkeypatch.setattr(meters, "BIND_AGAIN_S", 0.01)
    port, made = free_port(), Meters("role")
    state = made.gauge("remora_state", "State.")
    settings = Settings(metrics_port=port, exits="70,-9,70,3,143")
    taken = socket.create_server(("127.0.0.1", port))
    async with made.serve(settings, lambda: [(state, (), 7)]):
        await asyncio.sleep(0)
        taken.close()
        found = await wait_until(lambda: fetch(port))
        assert isinstance(found, dict)
        assert found["remora_state", ()] == 7
        lives = {labels: value for (name, labels), value in found.items() if name == "remora_restarts_total"}
        assert lives == {
            (("cause", "fenced_out"), ("exit_code", "70")): 2,
            (("cause", "killed"), ("exit_code", "-9")): 1,
            (("cause", "failed"), ("exit_code", "3")): 1,
            (("cause", "stop_cut_short"), ("exit_code", "143")): 1,
        }
    assert await fetch(port) is None
    assert not [name for name, _ in samples(made.page()) if name == "remora_state"]


async def test_off_unless_a_port_is_set() -> None:
    before = len(asyncio.all_tasks())
    async with Meters("role").serve(Settings()):
        assert len(asyncio.all_tasks()) == before


def golden(name: str) -> AnyEvent:
    """A stored example of an event."""
    return msgspec.json.decode((PROJECT / "tests" / "golden" / "events" / f"{name}.v1.json").read_bytes(), type=AnyEvent)


def counted(name: str, **labels: str) -> float:
    """What the engine has counted so far."""
    return samples(ENGINE.page()).get((name, tuple(sorted(labels.items()))), 0.0)


def test_decisions_are_counted_by_outcome() -> None:
    copied, skips, skip = golden("CopyDecided"), golden("CopiesSkipped"), golden("CopySkipped")
    assert isinstance(copied, CopyDecided) and isinstance(skips, CopiesSkipped) and isinstance(skip, CopySkipped)
    smaller = msgspec.structs.replace(copied, outcome="reduced")
    skips = msgspec.structs.replace(skips, followers=(("a", 1), ("b", 1), ("c", 4)))
    wanted = {("copied", ""): 2, ("reduced", ""): 1, ("skipped", skips.reason): len(skips.followers)}
    wanted["skipped", skip.reason] = wanted.get(("skipped", skip.reason), 0) + 1
    plain = msgspec.structs.replace(copied, outcome="copied")
    before = {key: counted("remora_decisions_total", outcome=key[0], reason=key[1]) for key in wanted}
    expired = counted("remora_signals_expired_total")
    count_decisions([plain, golden("EquityRecorded"), skips, smaller, skip, plain, golden("SignalExpired")])
    assert {key: counted("remora_decisions_total", outcome=key[0], reason=key[1]) - before[key] for key in wanted} == wanted
    assert counted("remora_signals_expired_total") - expired == 1


def job(**fields: Any) -> Job:
    """An order on its way; `order` fields and state of the job."""
    own = {name: fields.pop(name) for name in list(fields) if name in Job.__dataclass_fields__}
    placed = order(**fields)
    return Job(1, placed, Account(placed.follower_id, placed.venue), SimpleNamespace(), Decimal(1), **own)  # type: ignore[arg-type]


def test_orders_by_stage_and_the_oldest() -> None:
    now = time.time() * 1000
    jobs = [
        job(decided_at=int(now - 9000)),
        job(decided_at=int(now - 99_000), attempts=1, since=int(now - 50_000), unresolved=True),
        job(decided_at=int(now - 99_000), attempts=1, since=int(now), acknowledged_at=int(now), running=True),
        job(running=True, kind="exit", attempts=1, venue="bybit"),
    ]
    assert [stage_of(each) for each in jobs] == ["waiting", "unknown", "acknowledged", "attempting"]
    found = {(meter.name, tuple(labels)): value for meter, labels, value in order_samples(jobs, ("binance", "bybit"))}
    assert found["remora_orders", ("binance", "open", "unknown")] == 1
    assert 9 <= found["remora_lag_seconds", ("binance",)] < 20
    assert 50 <= found["remora_unknown_oldest_seconds", ("binance",)] < 61
    assert found["remora_lag_seconds", ("bybit",)] == found["remora_unknown_oldest_seconds", ("bybit",)] == 0


def test_budgets_and_breakers() -> None:
    clock = Clock()
    limits, breaker = Limits(True, clock, 600.0), Breaker(clock)
    for _ in range(5):
        breaker.failed()
    for number in range(30):
        assert not limits.ip_delay("bybit")
        limits.take_order(Account(f"f{number}", "bybit"), "bybit")
    found = {(meter.name, tuple(labels)): value for meter, labels, value in venue_samples(limits, {"bybit": breaker})}
    assert found["remora_breaker_open", ("bybit",)] == 1 and found["remora_breaker_failures", ("bybit",)] == 5
    assert 0 < found["remora_budget_left_ratio", ("bybit", "orders")] < 0.5
    assert found["remora_budget_left_ratio", ("bybit", "reports")] == 1
    assert found["remora_venue_pause_seconds", ("bybit",)] == 0
    limits.pause(Account("f", "bybit"), Judgement(Verdict.REJECTED, hint=Hint.LIMITED, retry_after_s=30, whole_ip=True))
    assert limits.ip_paused_s("bybitlinear") == 30, "both categories share an address"
