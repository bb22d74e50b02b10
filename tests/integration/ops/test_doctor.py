"""`remora doctor` on servers where something is wrong: what it finds, and the command that fixes it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import typer
from pydantic import SecretStr

from engine.config import Settings
from engine.exchanges.simulator import Options, Simulator
from engine.executor.accounts import add_credential, load_master_key, new_master_key
from engine.log.pulse import Head
from engine.log.topics import ensure_topics
from engine.topology import EVENTS, SNAPSHOTS, TOPICS
from ops.children import free_port
from ops.cli import app
from ops.commands.stack import initialise
from ops.doctor.accounts import check_accounts, check_paper, check_vault
from ops.doctor.findings import Answer, Finding
from ops.doctor.roles import check_clocks, late_shard, skewed
from ops.doctor.run import CHECKS, examine
from ops.doctor.stores import NOT_SETTINGS, check_roles, check_settings, check_topics
from tests.conftest import SettingsFactory
from tests.support import PROJECT

DOWN = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
FOLLOWER = """
INSERT INTO users (id, follower_key, preferred_exchange, mode, copy_trading_enabled, origin) VALUES (%s, %s, %s, %s, true, 'log')
"""


async def found(settings: Settings) -> dict[str, Answer]:
    """Every answer by its check."""
    return {answer.check: answer async for answer in examine(settings)}


def fixes(answer: Answer) -> set[str]:
    """The commands that it names."""
    return {finding.fix for finding in answer.findings}


@pytest.fixture
async def bare(settings: SettingsFactory, database: str) -> Settings:
    """Topics, tables and a vault with a master key; no process."""
    made = settings(database_url=database, partitions=2, master_key=new_master_key(), api_port=free_port())
    await asyncio.to_thread(initialise, made)
    return made


def test_nothing_answers() -> None:
    command = [sys.executable, "-m", "ops.cli", "doctor", "--json"]
    done = subprocess.run(command, env=os.environ | DOWN, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    status = {check["check"]: check["status"] for check in told["checks"]}
    assert told["ok"] is False
    assert [name for name in status if status[name] == "error"] == ["kafka", "postgres"]
    assert {status[check.name] for check in CHECKS if check.needs} == {"skipped"}


async def test_empty_servers(settings: SettingsFactory, database: str) -> None:
    answers = await found(settings(database_url=database))
    assert answers["kafka"].status == answers["postgres"].status == "ok"
    assert {finding.text for finding in answers["topics"].findings} == {f"There is no topic {settings().topic(topic)}." for topic in TOPICS}
    assert fixes(answers["topics"]) == fixes(answers["schema"]) == {"remora init"}
    assert "at revision none" in answers["schema"].findings[0].text
    assert [answers[name].skipped for name in ("sequencer", "engine", "projector")] == ["needs topics", "needs topics", "needs schema"]


async def test_no_process_runs(bare: Settings) -> None:
    answers = await found(bare)
    assert [name for name, answer in answers.items() if answer.status == "ok"] == [
        "settings", "kafka", "postgres", "topics", "schema", "database roles", "clocks", "vault", "accounts", "paper venue",
        "unread records", "switches",
    ]  # fmt: skip
    for role in ("sequencer", "engine", "executor", "projector"):
        assert answers[role].status == "error" and fixes(answers[role]) == {f"remora {role}"}
    assert answers["api"].status == "warning" and fixes(answers["api"]) == {"remora api"}


async def test_topics_that_differ(settings: SettingsFactory) -> None:
    name = settings().topic
    await ensure_topics(settings(partitions=2), [topic for topic in TOPICS if topic not in (SNAPSHOTS, EVENTS)])
    await ensure_topics(settings(partitions=2), [replace(SNAPSHOTS, config={}), replace(EVENTS, retention_ms=60_000)])
    answer = {each.text: each for each in await check_topics(settings(partitions=2))}
    assert answer[f"Topic {name(SNAPSHOTS)}: cleanup.policy is delete, expected compact."].fix == (
        f"kafka-configs.sh --bootstrap-server {settings().kafka} --alter --topic {name(SNAPSHOTS)} --add-config cleanup.policy=compact"
    )
    assert f"Topic {name(EVENTS)}: retention.ms is 60000, expected -1." in answer
    assert not any(finding.blocks for finding in answer.values())
    wrong = [finding for finding in await check_topics(settings(partitions=4)) if "partitions is" in finding.text]
    assert wrong and {finding.fix for finding in wrong} == {"export REMORA_PARTITIONS=2"}


async def test_rights_too_few_and_too_many(bare: Settings) -> None:
    with psycopg.connect(bare.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("REVOKE SELECT ON trades FROM dashboard")
        connection.execute("GRANT USAGE ON SCHEMA vault TO dashboard")
    few, many = await check_roles(bare)
    assert few == Finding("Role dashboard may not SELECT on trades.", "remora init")
    assert "look into the schema vault" in many.text
    await asyncio.to_thread(initialise, bare)
    with psycopg.connect(bare.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(many.fix.split('"')[3])
    assert await check_roles(bare) == [], "both commands help"


async def test_keys_that_do_not_fit(bare: Settings) -> None:
    with psycopg.connect(bare.database_url.get_secret_value(), autocommit=True) as connection:
        add_credential(connection, load_master_key(bare), "alice", "binance", SecretStr("key"), SecretStr("secret"))
        add_credential(connection, load_master_key(bare), "bob", "bybit", SecretStr("key"), SecretStr("secret"), paper=True)
        connection.execute(FOLLOWER, (1, "alice", "binance", "live"))
        connection.execute(FOLLOWER, (2, "bob", "bybit", "live"))
        connection.execute(FOLLOWER, (3, "carol", "bybit", "paper"))
    [other] = await check_vault(bare.model_copy(update={"master_key": new_master_key()}))
    assert "2 of 2 credentials do not open" in other.text and "alice binance" in other.text
    [none] = await check_vault(bare.model_copy(update={"master_key": None}))
    assert none.fix.startswith("remora vault new-key FILE")
    assert (await check_accounts(bare.model_copy(update={"exchange_url": "http://127.0.0.1:1"})))[1].text.startswith("The equity of bob")
    silent, keyless, paper = await check_accounts(bare.model_copy(update={"paper_url": "http://127.0.0.1:1"}))
    assert silent.text == "The equity of alice on binance is never reported: its opens are skipped, equity_unknown."
    assert keyless == Finding("bob is live on bybit and has no keys there.", "remora vault add bob --venue bybit --api-key KEY")
    assert paper.severity == "warning" and paper.fix == "remora vault add carol --venue bybit --open-paper"
    [away] = await check_paper(bare)
    assert "there is no paper venue" in away.text
    [gone] = await check_paper(bare.model_copy(update={"paper_url": "http://127.0.0.1:1"}))
    assert gone.fix == "remora simulator"


async def test_a_venue_whose_clock_is_wrong(bare: Settings) -> None:
    with psycopg.connect(bare.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(FOLLOWER, (1, "alice", "binance", "live"))
        connection.execute(FOLLOWER, (2, "bob", "bybitlinear", "live"))
    simulator = Simulator(Options())
    await simulator.start()
    led = bare.model_copy(update={"exchange_url": simulator.url})
    try:
        assert await check_clocks(led) == []
        simulator.world.clock.offset_ms = 5000
        texts = [finding.text for finding in await check_clocks(led)]
    finally:
        await simulator.stop()
    assert texts == [f"The clock of {venue} (orders will be refused) is 5.0 s ahead of ours." for venue in ("binance", "bybitlinear")]
    silent = await check_clocks(led)
    assert len(silent) == 2 and {finding.fix for finding in silent} == {"remora simulator"}


def test_clocks_and_late_shards() -> None:
    assert skewed("Postgres", 900) == skewed("Postgres", -900) == []
    assert skewed("Postgres", -2500)[0].text == "The clock of Postgres is 2.5 s behind ours."
    late = Head(3, 100, 160, 1_000_000, "host-0-7")
    assert late_shard(late, 1_010_000) == [], "a round was closed just now"
    assert late_shard(late, 1_030_000)[0].text == "Shard 3 of host-0-7 is 60 records behind, with no round for 30 s."
    assert late_shard(Head(3, 160, 160, None, None), 1_030_000) == [], "nothing to decide"
    assert "no round near the end" in late_shard(Head(3, 0, 160, None, None), 1_030_000)[0].text


async def test_a_setting_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMORA_PARTITION", "24")
    [finding] = await check_settings(Settings())
    assert finding.text == "REMORA_PARTITION is no setting and changes nothing."
    assert finding.fix == 'export REMORA_PARTITIONS="$REMORA_PARTITION"; unset REMORA_PARTITION'


def test_every_command_that_is_named_exists() -> None:
    """`remora A B` in the words of the checks is a command of ours."""
    root: Any = typer.main.get_command(app)
    context = typer.Context(root)
    text = "\n".join(file.read_text() for file in sorted((PROJECT / "ops" / "doctor").glob("*.py")))
    named = set(re.findall(r"remora ([a-z-]+)(?: ([a-z-]+))?", text))
    assert len(named) >= 15
    for first, second in named:
        command = root.get_command(context, first)
        assert command is not None, f"remora {first}"
        assert not hasattr(command, "commands") or second in command.commands, f"remora {first} {second}"


def test_every_variable_that_is_read_is_known() -> None:
    """Settings, and what commands, tests and docker-compose.yml read themselves: the doctor warns of all others."""
    files = [file for folder in ("engine", "api", "projections", "ops", "tests") for file in (PROJECT / folder).rglob("*.py")]
    text = "\n".join(file.read_text() for file in [*files, PROJECT / "docker-compose.yml"])
    read = set(re.findall(r"REMORA_[A-Z_]+[A-Z]", text)) - {"REMORA_PARTITION"}
    assert read <= NOT_SETTINGS | {f"REMORA_{name.upper()}" for name in Settings.model_fields}
