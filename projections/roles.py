"""Who may do what in Postgres: a connection of the database's owner enters, four group roles with their rights leave.

`remora_owner` owns (migrations, rebuilds), `remora_projector` writes rows, `remora_api` reads them and keeps the schema `access`,
`dashboard` reads the read models and nothing else: never the schemas `vault` and `access`. None of them can log in by itself: grant one
to a login role.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, text

from projections.schema import METADATA

OWNER: Final = "remora_owner"
PROJECTOR: Final = "remora_projector"
API: Final = "remora_api"
DASHBOARD: Final = "dashboard"
ROLES: Final = (OWNER, PROJECTOR, API, DASHBOARD)

FUNCTIONS: Final = ("remora_month_partition(text, text, date)", "remora_drop_months(integer)")
CREATE: Final = "DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
GRANTS: Final = (
    f"GRANT ALL ON SCHEMA {{schema}} TO {OWNER}",
    f"GRANT ALL ON ALL TABLES IN SCHEMA {{schema}} TO {OWNER}",
    f"GRANT USAGE ON SCHEMA {{schema}} TO {PROJECTOR}, {API}, {DASHBOARD}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON {{tables}} TO {PROJECTOR}",
    f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {{schema}} TO {OWNER}, {PROJECTOR}",
    f"GRANT SELECT ON {{tables}} TO {API}, {DASHBOARD}",
    f"ALTER DEFAULT PRIVILEGES IN SCHEMA {{schema}} GRANT ALL ON TABLES TO {OWNER}",
)
"""For tables by their names: the older system has others beside them, perhaps with secrets. Months are reached through their parents."""
ACCESS: Final = (
    f"GRANT USAGE ON SCHEMA access TO {API}, {OWNER}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA access TO {API}, {OWNER}",
)


def ensure_roles(connection: Connection) -> None:
    """Make the roles (if we may) and give them their rights on the read models. Without the right to make roles: nothing."""
    allowed = connection.execute(text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")).scalar()
    found = set(connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)"), {"names": list(ROLES)}).scalars())
    if not allowed and found != set(ROLES):
        return
    for role in ROLES:
        if role not in found:
            # Another database of the same server may be migrated at this moment: roles belong to the server.
            connection.execute(
                text(f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")
            )
    for statement in grants("public", (*METADATA.tables, "alembic_version")):
        connection.execute(text(statement))
    for statement in ACCESS:
        connection.execute(text(statement))
    for function in FUNCTIONS:
        connection.execute(text(f"GRANT EXECUTE ON FUNCTION {function} TO {PROJECTOR}, {OWNER}"))


def grants(schema: str, tables: Iterable[str]) -> list[str]:
    """What gives the roles their rights on tables of a schema."""
    named = ", ".join(f"{schema}.{table}" for table in tables)
    return [statement.format(schema=schema, tables=named) for statement in GRANTS]
