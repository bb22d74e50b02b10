"""Views of others on a table: taken away while a column below them changes its type, then put back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

ABOVE = text("""
WITH RECURSIVE above AS (
    SELECT to_regclass(:table)::oid AS oid, 0 AS depth
    UNION
    SELECT r.ev_class, a.depth + 1
    FROM above AS a
    JOIN pg_depend AS d ON d.refobjid = a.oid AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> a.oid
)
SELECT c.oid::regclass::text, coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', ''), pg_get_viewdef(c.oid),
    quote_ident(pg_get_userbyid(c.relowner)), ARRAY(
        SELECT format('GRANT %s ON %s TO %s', g.privilege_type, c.oid::regclass,
            CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END)
        FROM aclexplode(c.relacl) AS g WHERE g.grantee <> c.relowner
    )
FROM (SELECT oid, max(depth) AS depth FROM above GROUP BY oid) AS a JOIN pg_class AS c ON c.oid = a.oid
WHERE c.relkind = 'v'
ORDER BY a.depth, 1
""")


@contextmanager
def without_views(connection: Connection, table: str) -> Iterator[None]:
    """Within it the table has no views, nor have these; all in the caller's transaction."""
    found = connection.execute(ABOVE, {"table": table}).all()
    for name, *_ in reversed(found):
        connection.exec_driver_sql(f"DROP VIEW {name}")
    yield
    for name, options, body, owner, grants in found:
        for statement in (f"CREATE VIEW {name}{options} AS {body}", f"ALTER VIEW {name} OWNER TO {owner}", *grants):
            connection.exec_driver_sql(statement.replace("%", "%%"))
