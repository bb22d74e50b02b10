-- Catalogue questions and statements of generations.

-- name: stand
SELECT live, previous FROM public.projection_generation

-- name: hold
SELECT live, previous FROM public.projection_generation FOR UPDATE

-- name: made_live
UPDATE public.projection_generation SET live = %(live)s, previous = %(previous)s, swapped_at = now()

-- name: schema_exists
SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s

-- name: roles
SELECT rolname FROM pg_roles WHERE rolname = ANY(%(roles)s)

-- name: dependents
SELECT 'foreign key', c.conname, c.confrelid::regclass::text
FROM pg_constraint AS c
JOIN pg_class AS target ON target.oid = c.confrelid
JOIN pg_class AS source ON source.oid = c.conrelid
WHERE c.contype = 'f' AND target.relnamespace = 'public'::regnamespace AND target.relname = ANY(%(tables)s)
    AND NOT (source.relnamespace = 'public'::regnamespace AND source.relname = ANY(%(tables)s))
    AND source.relnamespace::regnamespace::text NOT LIKE 'generation\_%%'
UNION
SELECT 'view', v.oid::regclass::text, t.relname
FROM pg_depend AS d
JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
JOIN pg_class AS v ON v.oid = r.ev_class
JOIN pg_class AS t ON t.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
WHERE t.relnamespace = 'public'::regnamespace AND t.relname = ANY(%(tables)s) AND v.oid <> t.oid

-- name: names
SELECT relname FROM pg_class WHERE relnamespace = %(schema)s::regnamespace AND relkind IN ('i', 'I')
UNION
SELECT conname FROM pg_constraint WHERE connamespace = %(schema)s::regnamespace

-- name: definitions
SELECT name, definition FROM (
    SELECT
        CASE c.contype WHEN 'f' THEN 2 ELSE 0 END AS turn, c.conname::text AS name,
        format('ALTER TABLE public.%%I ADD CONSTRAINT %%I %%s', t.relname, c.conname, pg_get_constraintdef(c.oid)) AS definition
    FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid
    WHERE t.relnamespace = 'public'::regnamespace AND t.relname = ANY(%(tables)s) AND c.contype IN ('p', 'u', 'f')
    UNION ALL
    SELECT 1, i.relname::text, pg_get_indexdef(i.oid)
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND t.relname = ANY(%(tables)s)
        AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u'))
) AS found
WHERE turn = %(turn)s
ORDER BY name

-- name: columns
SELECT column_name::text FROM information_schema.columns WHERE table_schema = %(schema)s AND table_name = %(table)s ORDER BY ordinal_position

-- name: sequences
SELECT s.relname, t.relname, a.attname
FROM pg_depend AS d
JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_class AS t ON t.oid = d.refobjid
JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'a' AND t.relnamespace = %(schema)s::regnamespace AND t.relname = ANY(%(tables)s)
ORDER BY 1

-- name: rights
-- Owners of the live tables and what was granted on them, for the tables that take their place: older code has roles of its own.
WITH live AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%(tables)s))
SELECT format('ALTER TABLE %%s.%%I OWNER TO %%I', %(source)s::text, relname, pg_get_userbyid(relowner))
FROM live WHERE pg_get_userbyid(relowner) <> current_user
UNION ALL
SELECT format('GRANT %%s%%s ON %%s.%%I TO %%s%%s', a.privilege_type, a.columns, %(source)s::text, a.relname,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM (
    SELECT c.relname, '' AS columns, g.* FROM live AS c CROSS JOIN aclexplode(c.relacl) AS g WHERE g.grantee <> c.relowner
    UNION ALL
    SELECT c.relname, format(' (%%I)', l.attname), g.*
    FROM live AS c JOIN pg_attribute AS l ON l.attrelid = c.oid CROSS JOIN aclexplode(l.attacl) AS g
    WHERE NOT l.attisdropped AND g.grantee <> c.relowner
) AS a

-- name: old_months
SELECT c.relname::text
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid CROSS JOIN public.projection_generation AS g
WHERE i.inhparent = ANY(%(tables)s::regclass[]) AND to_date(right(c.relname, 7), 'YYYY_MM') < (g.oldest_month AT TIME ZONE 'UTC')::date

-- name: with_partitions
SELECT c.relname::text
FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid LEFT JOIN pg_class AS p ON p.oid = i.inhparent
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p') AND coalesce(p.relname, c.relname) = ANY(%(tables)s)
ORDER BY 1

-- name: carry_users
INSERT INTO {schema}.users ({columns}) SELECT {columns} FROM public.users WHERE origin = 'legacy'
ON CONFLICT (id) DO UPDATE SET email = excluded.email, created_at = excluded.created_at, origin = 'legacy'{added}

-- name: carry_user_whale_follows
INSERT INTO {schema}.user_whale_follows ({columns}) SELECT {columns} FROM public.user_whale_follows WHERE origin = 'legacy'
ON CONFLICT (user_id, whale_id) DO UPDATE SET id = excluded.id, created_at = excluded.created_at, origin = 'legacy'{added}

-- name: carry_whale_signals
INSERT INTO {schema}.whale_signals ({columns}) SELECT {columns} FROM public.whale_signals WHERE origin = 'legacy'
ON CONFLICT (id) DO UPDATE SET tx_hash = excluded.tx_hash, origin = 'legacy'{added}

-- name: carry_trades
INSERT INTO {schema}.trades ({columns}) SELECT {columns} FROM public.trades WHERE origin = 'legacy'

-- name: carry_positions
INSERT INTO {schema}.positions ({columns}) SELECT {columns} FROM public.positions WHERE origin = 'legacy'
