"""`/metrics` of every role of the running system: one copied signal is seen by each where it happened."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from engine.topology import SIGNALS
from ops.metrics_page import ROLES
from tests.acceptance.system.whales import TERMS, new_whale
from tests.support import wait_until
from tests.system import System

Page = dict[str, float]


def page_of(system: System, role: str) -> Page:
    """Metrics of a role, added up over their labels, and over those of one label value as well."""
    port = system.metrics_ports.get(role, system.settings.api_port)
    found: Page = {}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                for key in (sample.name, *(f"{sample.name}/{value}" for value in sample.labels.values())):
                    found[key] = found.get(key, 0.0) + sample.value
    return found


async def test_one_copy_is_seen_by_every_role(system: System) -> None:
    whale = new_whale(system)
    await whale.gets_follower(terms=TERMS)
    before = {role.role: page_of(system, role.role) for role in ROLES}
    signal = whale.trade(1)
    await whale.publish(signal)
    await system.signal_when(signal.signal_id, "PROCESSED")

    def more(role: str, name: str) -> float:
        return page_of(system, role).get(name, 0.0) - before[role].get(name, 0.0)

    assert more("sequencer", f"remora_records_in_total/{SIGNALS.name}") == 1
    assert more("sequencer", "remora_inbox_records_total") >= 2
    assert more("engine", "remora_decisions_total/copied") == 1
    assert more("engine", "remora_commands_sent_total") == more("executor", "remora_records_in_total") == 1
    assert more("engine", "remora_round_seconds_count") >= 2
    assert more("executor", "remora_attempts_total/accepted") == more("executor", "remora_orders_settled_total/filled") == 1
    assert more("executor", "remora_attempt_seconds_count") == 1
    await wait_until(lambda: more("projector", "remora_events_projected_total") >= 3)


async def test_states_of_a_system_that_works(system: System) -> None:
    partitions = system.settings.partitions
    engine, executor = page_of(system, "engine"), page_of(system, "executor")
    assert engine["remora_shards_owned"] == executor["remora_shards_owned"] == partitions
    assert engine["remora_claims_total"] == executor["remora_claims_total"] == partitions
    assert page_of(system, "projector")["remora_shards_owned"] == partitions
    assert page_of(system, "sequencer")["remora_sources_owned"] == SIGNALS.partitions + 2 * partitions + 2
    assert executor["remora_breaker_open"] == executor["remora_unknown_oldest_seconds"] == 0
    assert engine["remora_gate_paused"] == 0
    for role, lag in (("engine", "remora_lag_records"), ("executor", "remora_lag_records"), ("projector", "remora_projection_lag_records")):
        await wait_until(lambda role=role, lag=lag: page_of(system, role)[lag] == 0, what=f"{role} has caught up")
