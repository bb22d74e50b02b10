"""Kafka and Postgres themselves: reachable, topics as the map has them, tables at the newest revision, roles with their rights."""

from __future__ import annotations

import asyncio
import os
from difflib import get_close_matches
from typing import Final

from engine.config import Settings
from engine.log.topics import PARTITIONS, TopicFault, open_admin, topic_faults
from engine.topology import TABLES
from ops.commands.common import query
from ops.doctor.findings import Finding, warning
from projections.migrate import current, head
from projections.roles import DASHBOARD, PROJECTOR, ROLES

OLDEST_POSTGRES: Final = 150_000
VERSION: Final = "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS name"
FOUND_ROLES: Final = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%(names)s)"
RIGHTS: Final = """
SELECT r.role, t.name AS "table", t.privilege
FROM (SELECT unnest(%(roles)s::text[]) AS role, unnest(%(privileges)s::text[]) AS privilege) AS r
CROSS JOIN LATERAL (SELECT unnest(%(tables)s::text[]) AS name, r.privilege) AS t
WHERE to_regclass(t.name) IS NOT NULL AND NOT has_table_privilege(r.role, t.name, t.privilege)
"""
SEES_SECRETS: Final = """
SELECT nspname AS schema FROM pg_namespace
WHERE nspname IN ('vault', 'access') AND has_schema_privilege(%(role)s, oid, 'USAGE')
"""
NOT_SETTINGS: Final = frozenset(
    f"REMORA_{name}"
    for name in (
        "ACCOUNT_SECRET",
        "DB_PASSWORD",
        "LEGACY_URL",
        "SCREENSHOTS",
        "SIM_FIRST",
        "SIM_SEED",
        "SIM_SEEDS",
        "TEST_KAFKA",
        "TEST_POSTGRES",
    )
)
"""Variables that commands, tests and docker-compose.yml read themselves."""


async def check_settings(settings: Settings) -> list[Finding]:
    """Variables that look like settings and are none: a misspelt one is silently its default."""
    known = {f"REMORA_{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    found = []
    for name in sorted(name for name in os.environ if name.startswith("REMORA_") and name not in known):
        near = get_close_matches(name, known, 1)
        fix = f'export {near[0]}="${name}"; unset {name}' if near else f"unset {name}"
        found.append(warning(f"{name} is no setting and changes nothing.", fix))
    return found


async def check_kafka(settings: Settings) -> list[Finding]:
    """Whether a broker answers. Errors: DependencyUnreachable."""
    async with open_admin(settings) as admin:
        await admin.list_topics()
    return []


async def check_topics(settings: Settings) -> list[Finding]:
    """Every topic of the map: there, with its partitions, retention and cleanup."""
    faults = await topic_faults(settings)
    return [
        Finding(_said(fault), _fix_topic(settings, fault, faults), blocks=fault.actual is None or fault.setting == PARTITIONS)
        for fault in faults
    ]


def _said(fault: TopicFault) -> str:
    if fault.actual is None:
        return f"There is no topic {fault.topic}."
    return f"Topic {fault.topic}: {fault.setting} is {fault.actual}, expected {fault.expected}{fault.hint}."


def _fix_topic(settings: Settings, fault: TopicFault, faults: list[TopicFault]) -> str:
    if fault.actual is None:
        return "remora init"
    if fault.setting == PARTITIONS:
        counts = {other.actual for other in faults if other.setting == PARTITIONS and other.actual is not None}
        if len(counts) == 1 and int(fault.expected) == settings.partitions:
            return f"export REMORA_PARTITIONS={counts.pop()}"
        return f"kafka-topics.sh --bootstrap-server {settings.kafka} --describe --topic {fault.topic}"
    change = f"--add-config {fault.setting}={fault.expected}"
    return f"kafka-configs.sh --bootstrap-server {settings.kafka} --alter --topic {fault.topic} {change}"


async def check_postgres(settings: Settings) -> list[Finding]:
    """Whether Postgres answers, and whether it is new enough. Errors: DependencyUnreachable."""
    [version] = await asyncio.to_thread(query, settings, VERSION)
    if version["number"] >= OLDEST_POSTGRES:
        return []
    return [Finding(f"Postgres is {version['name']}, 15 is the oldest that works.", "export DATABASE_URL=postgresql://USER@HOST:PORT/NAME")]


async def check_schema(settings: Settings) -> list[Finding]:
    """Tables at the newest revision."""
    stands, newest = await asyncio.to_thread(current, settings.database_url.get_secret_value()), head()
    if stands == newest:
        return []
    return [Finding(f"The tables are at revision {stands or 'none'}, the newest is {newest}.", "remora init")]


async def check_roles(settings: Settings) -> list[Finding]:
    """Group roles with their rights, and no right too many."""
    there = {row["rolname"] for row in await asyncio.to_thread(query, settings, FOUND_ROLES, names=list(ROLES))}
    if missing := sorted(set(ROLES) - there):
        return [warning(f"Postgres has no role {', '.join(missing)}: nobody but the owner can read the tables.", "remora init")]
    wanted = [(DASHBOARD, "SELECT"), (PROJECTOR, "INSERT"), (PROJECTOR, "UPDATE"), (PROJECTOR, "DELETE")]
    roles, privileges = [role for role, _ in wanted], [privilege for _, privilege in wanted]
    rows = await asyncio.to_thread(query, settings, RIGHTS, roles=roles, privileges=privileges, tables=list(TABLES))
    found = [Finding(f"Role {row['role']} may not {row['privilege']} on {row['table']}.", "remora init") for row in rows]
    for row in await asyncio.to_thread(query, settings, SEES_SECRETS, role=DASHBOARD):
        revoke = f'psql "$DATABASE_URL" -c "REVOKE ALL ON SCHEMA {row["schema"]} FROM {DASHBOARD}, PUBLIC"'
        found.append(Finding(f"Role {DASHBOARD} can look into the schema {row['schema']}, which holds secrets.", revoke))
    return found
