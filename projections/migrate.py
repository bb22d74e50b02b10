"""Alembic from Python: a database URL enters, a schema at a revision leaves. Any number of processes may call at once.

Works on an empty database, on the older system's tables with rows, and where our columns were added by hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from engine.errors import DependencyUnreachable
from projections.columns import METADATA
from projections.roles import ensure_roles
from projections.schema import PROJECTED

HEAD: Final = "head"
LOCK: Final = 0x52454D4F
"""Advisory lock of whoever migrates."""


def upgrade(dsn: str, revision: str = HEAD) -> str | None:
    """Bring the schema to a revision (newest by default), then roles and their rights. Gives the revision that stands."""
    with _migrating(dsn) as (connection, config):
        command.upgrade(config, revision)
        if revision == HEAD:
            ensure_roles(connection)
        return _revision(connection)


def ensure(dsn: str) -> None:
    """`upgrade` if there is something to do; whoever may not change tables can call this where there is not."""
    if current(dsn) != head():
        upgrade(dsn)


def head() -> str | None:
    """The newest revision there is."""
    return ScriptDirectory(str(files("migrations"))).get_current_head()


def downgrade(dsn: str, revision: str) -> str | None:
    """Go back to a revision (`base`, `-1`, a name). The older system's columns and rows stay."""
    with _migrating(dsn) as (connection, config):
        command.downgrade(config, revision)
        return _revision(connection)


def current(dsn: str) -> str | None:
    """The revision that the database says it has, None before the first."""
    with _connected(dsn) as connection:
        return _revision(connection)


def differences(dsn: str) -> list[Any]:
    """What `revision --autogenerate` would write: empty on a migrated database."""
    options = {"compare_type": True, "compare_server_default": True, "include_object": _known}
    with _connected(dsn) as connection:
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
        return found


def revision(dsn: str, message: str, folder: str) -> None:
    """Write a new revision file into a folder, with what differs between metadata and database (`revision --autogenerate`)."""
    with _migrating(dsn) as (_, config):
        config.set_main_option("path_separator", "os")
        config.set_main_option("version_locations", os.pathsep.join([str(files("migrations") / "versions"), folder]))
        command.revision(config, message, autogenerate=True, version_path=folder)


def _known(_: Any, name: str | None, kind: str, reflected: bool, counterpart: Any) -> bool:
    return not (kind == "table" and reflected and counterpart is None)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _migrating(dsn: str) -> Iterator[tuple[Connection, Config]]:
    with _connected(dsn) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        yield connection, _config(connection)


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    """One transaction on one connection, closed at the end."""
    scheme, _, rest = dsn.partition("://")
    assert scheme in ("postgresql", "postgres"), scheme
    engine = create_engine(f"postgresql+psycopg://{rest}")
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise DependencyUnreachable(f"Postgres did not take the migration: {error.orig}") from error
    finally:
        engine.dispose()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.attributes["connection"] = connection
    config.attributes["target_metadata"] = METADATA
    return config


assert set(PROJECTED) <= set(METADATA.tables)
