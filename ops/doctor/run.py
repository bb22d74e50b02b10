"""All checks in order: settings enter, an answer to each leaves. What needs a server that does not answer is left out, and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import psycopg

from engine.config import Settings
from engine.errors import RemoraError
from ops.doctor.accounts import check_accounts, check_letters, check_paper, check_switches, check_vault
from ops.doctor.findings import Answer, Check, Finding
from ops.doctor.roles import check_api, check_clocks, check_engine, check_executor, check_projector, check_sequencer
from ops.doctor.stores import check_kafka, check_postgres, check_roles, check_schema, check_settings, check_topics

SERVERS: Final = {
    "kafka": "export KAFKA_BOOTSTRAP_SERVERS=HOST:PORT",
    "postgres": "export DATABASE_URL=postgresql://USER@HOST:PORT/NAME",
}
"""Checks that others need, and what helps when one of them does not answer."""
CHECKS: Final = (
    Check("settings", check_settings),
    Check("kafka", check_kafka),
    Check("postgres", check_postgres),
    Check("topics", check_topics, ("kafka",)),
    Check("schema", check_schema, ("postgres",)),
    Check("database roles", check_roles, ("postgres", "schema")),
    Check("sequencer", check_sequencer, ("kafka", "topics")),
    Check("engine", check_engine, ("kafka", "topics")),
    Check("executor", check_executor, ("kafka", "topics")),
    Check("projector", check_projector, ("postgres", "schema")),
    Check("api", check_api, ("postgres", "schema")),
    Check("clocks", check_clocks, ("postgres", "schema")),
    Check("vault", check_vault, ("postgres",)),
    Check("accounts", check_accounts, ("kafka", "postgres", "topics", "schema")),
    Check("paper venue", check_paper, ("postgres", "schema")),
    Check("unread records", check_letters, ("kafka", "topics")),
    Check("switches", check_switches, ("kafka", "topics")),
)


async def examine(settings: Settings) -> AsyncIterator[Answer]:
    """Ask one question after the other."""
    failed: set[str] = set()
    for check in CHECKS:
        if missing := [need for need in check.needs if need in failed]:
            answer = Answer(check.name, skipped=f"needs {missing[0]}")
        else:
            answer = await _answer(check, settings)
        if answer.blocks:
            failed.add(check.name)
        yield answer


async def _answer(check: Check, settings: Settings) -> Answer:
    try:
        return Answer(check.name, tuple(await check.ask(settings)))
    except (RemoraError, psycopg.Error) as error:
        said = str(error).splitlines()[0]
        return Answer(check.name, (Finding(said, SERVERS.get(check.name, "remora doctor")),))
