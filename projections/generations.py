"""Generations of the read models: the live one under the tables' own names, others in schemas `generation_<n>`.

Enters: an owner's connection. Leaves: an empty generation with exactly the live tables' columns; its keys and indexes; a swap by
renaming. Tables are moved between schemas, so names of indexes and constraints stay what they are, and readers see one or the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from psycopg import sql

from engine.errors import ConfigInvalid
from projections.roles import ROLES, grants
from projections.schema import METADATA, OLDER_TABLES, PARTITIONED, PROJECTED
from projections.sql import load
from projections.staging import Conn
from projections.store import LIVE

FILLING: Final = frozenset(
    {
        "users_pkey",
        "user_whale_follows_user_id_whale_id_key",
        "whale_signals_pkey",
        "uq_signals_key",
        "uq_trades_command",
        "positions_pkey",
        "uq_positions_lot",
        "account_equity_pkey",
        "equity_curve_pkey",
        "projection_positions_pkey",
    }
)
"""Keys that merging needs; everything else is made when a generation is full."""
KEYS, INDEXES, FOREIGN = range(3)
"""Turns in which a generation gets what the live tables have."""
SWAP_WAIT_MS: Final = 1000
"""Readers queue behind a swap that waits for a lock: never longer than this."""


def schema_name(generation: int) -> str:
    """Where a generation lies while it is not live."""
    return f"generation_{generation}"


def _all(conn: Conn, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return conn.execute(load("generations.sql")[name], parameters).fetchall()


def stand(conn: Conn) -> tuple[int, int | None]:
    """The live generation and the one that a rollback goes back to."""
    [(live, previous)] = _all(conn, "stand")
    return live, previous


def exists(conn: Conn, schema: str) -> bool:
    """Whether a schema is there."""
    return bool(_all(conn, "schema_exists", schema=schema))


def check_alone(conn: Conn) -> None:
    """Refuse when something else depends on the tables themselves: it would be left behind with the old generation."""
    found = [f"{kind} {name} on {table}" for kind, name, table in _all(conn, "dependents", tables=list(PROJECTED))]
    if found:
        raise ConfigInvalid(f"The tables cannot be swapped while these depend on them: {'; '.join(found)}.")


def create(conn: Conn, schema: str) -> None:
    """An empty generation: the live columns, defaults (the older tables' sequences too), rights, and the keys that filling needs."""
    with conn.transaction():
        conn.execute(f"CREATE SCHEMA {schema}")
        for table in PROJECTED:
            cut = f" PARTITION BY RANGE ({PARTITIONED[table]})" if table in PARTITIONED else ""
            conn.execute(
                f"CREATE TABLE {schema}.{table} (LIKE {LIVE}.{table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE){cut}"
            )
        if len(_all(conn, "roles", roles=list(ROLES))) == len(ROLES):
            for statement in grants(schema, PROJECTED):
                conn.execute(statement)
        for turn in (KEYS, INDEXES):
            _share([conn], [statement for name, statement in _missing(conn, schema, turn).items() if name in FILLING])


def complete(connections: Sequence[Conn], schema: str) -> None:
    """Every key, index and foreign key of the live tables that is missing; statistics. Each connection takes what is next.
    Can be called again after a kill."""
    for turn in (KEYS, INDEXES, FOREIGN):
        _share(connections, list(_missing(connections[0], schema, turn).values()))
    _share(connections, [f"ANALYZE {schema}.{table}" for table in PROJECTED])


def _share(connections: Sequence[Conn], statements: Sequence[str]) -> None:
    left = iter(statements)

    def work(conn: Conn) -> None:
        for statement in left:
            with conn.transaction():
                # Sorting in memory what fits: building indexes is much of a rebuild.
                conn.execute("SET LOCAL maintenance_work_mem = '256MB'")
                conn.execute(statement)

    with ThreadPoolExecutor(len(connections)) as pool:
        list(pool.map(work, connections))


def _missing(conn: Conn, schema: str, turn: int) -> dict[str, str]:
    """What the live tables have and a generation has not: name to a statement that makes it."""
    there = {row[0] for row in _all(conn, "names", schema=schema)}
    with conn.transaction():
        conn.execute("SET LOCAL search_path = pg_catalog")
        found = _all(conn, "definitions", tables=list(PROJECTED), turn=turn)
    return {name: _in_schema(definition, schema) for name, definition in found if name not in there}


def _in_schema(definition: str, schema: str) -> str:
    """Ours are meant in the generation, tables and functions of others where they are."""
    return re.sub(rf"\b(ONLY )?public\.(?=({'|'.join(PROJECTED)})\b)", f"{schema}.", definition)


def drop(conn: Conn, schema: str) -> None:
    """Remove a generation."""
    conn.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def carry_over(conn: Conn, schema: str) -> int:
    """Bring the rows of older code into a generation, in the caller's transaction; writers of the live tables wait from here on."""
    statements = load("generations.sql")
    conn.execute(f"LOCK TABLE {', '.join(f'{LIVE}.{table}' for table in OLDER_TABLES)} IN SHARE ROW EXCLUSIVE MODE")
    for table in reversed(OLDER_TABLES):
        conn.execute(f"DELETE FROM {schema}.{table} AS t WHERE t.origin = 'legacy' AND {_unprojected(table)}")
    count = 0
    for table in OLDER_TABLES:
        names = [row[0] for row in _all(conn, "columns", schema=LIVE, table=table)]
        columns = ", ".join(f'"{name}"' for name in names)
        added = "".join(f', "{name}" = excluded."{name}"' for name in names if name not in METADATA.tables[table].columns)
        count += conn.execute(_template(statements[f"carry_{table}"], schema, columns, added)).rowcount
    return count


def _unprojected(table: str) -> str:
    """Rows that only older code wrote: those of imported followers and bridged signals are also folded from the log."""
    key = {"users": "follower_key", "user_whale_follows": "follower_key", "whale_signals": "last_event_at"}.get(table)
    return f"t.{key} IS NULL" if key else "true"


def _template(statement: str, schema: str, columns: str, added: str) -> sql.SQL:
    return sql.SQL(statement.replace("{schema}", schema).replace("{columns}", columns).replace("{added}", added))


def drop_months(conn: Conn, schema: str) -> None:
    """What the live tables have let go of meanwhile goes here, too."""
    for (month,) in _all(conn, "old_months", tables=[f"{schema}.{table}" for table in PARTITIONED]):
        conn.execute(f"DROP TABLE {schema}.{month}")


def swap(conn: Conn, incoming: int) -> None:
    """Make a generation live and keep the one that was, in the caller's transaction."""
    live, previous = stand(conn)
    archive, source = schema_name(live), schema_name(incoming)
    for (statement,) in _all(conn, "rights", tables=list(PROJECTED), source=source):
        conn.execute(statement)
    conn.execute(f"CREATE SCHEMA IF NOT EXISTS {archive}")
    sequences = _all(conn, "sequences", schema=LIVE, tables=list(OLDER_TABLES))
    for sequence, _, _ in sequences:
        conn.execute(f"ALTER SEQUENCE {LIVE}.{sequence} OWNED BY NONE")
    for table in _with_partitions(conn, LIVE):
        conn.execute(f"ALTER TABLE {LIVE}.{table} SET SCHEMA {archive}")
    for table in _with_partitions(conn, source):
        conn.execute(f"ALTER TABLE {source}.{table} SET SCHEMA {LIVE}")
    for sequence, table, column in sequences:
        conn.execute(f"ALTER SEQUENCE {LIVE}.{sequence} OWNED BY {LIVE}.{table}.{column}")
    conn.execute(f"DROP SCHEMA {source}")
    if previous is not None and previous != incoming:
        drop(conn, schema_name(previous))
    conn.execute(load("generations.sql")["made_live"], {"live": incoming, "previous": live})


def _with_partitions(conn: Conn, schema: str) -> list[str]:
    return [row[0] for row in _all(conn, "with_partitions", schema=schema, tables=list(PROJECTED))]
