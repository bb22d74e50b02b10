"""`remora init`: everything that must be there before a process starts: topics with their settings, tables, roles, the vault."""

from __future__ import annotations

import asyncio

from engine.config import Settings, load_settings
from ops.commands.common import Json, emit


def init(json: Json = False) -> None:
    """Create the topics and the tables, or check that they are as they should be. Safe to repeat."""
    emit(initialise(load_settings()), json)


def initialise(settings: Settings) -> dict[str, object]:
    """Topics created now, and the schema's revision. Errors: ConfigInvalid, DependencyUnreachable."""
    import psycopg

    from engine.executor.accounts import ensure_vault
    from engine.log.topics import ensure_topics
    from projections.migrate import upgrade

    created = asyncio.run(ensure_topics(settings))
    dsn = settings.database_url.get_secret_value()
    revision = upgrade(dsn)
    with psycopg.connect(dsn) as connection:
        ensure_vault(connection)
    return {"topics_created": len(created), "schema_revision": revision}
