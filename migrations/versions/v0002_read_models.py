"""Our columns beside the older ones, and our own tables.

Safe to run on columns that were added by hand: they are completed (type, default, nulls) and noted in `remora_migration_notes`,
so that a downgrade leaves them where they were found.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from migrations.views import without_views

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STAMP = "timestamp with time zone"
COLUMNS: dict[str, dict[str, str]] = {
    "users": {
        "follower_key": "text",
        "mode": "text",
        "paused": "boolean",
        "leverage_limit": "numeric",
        "limits": "jsonb",
        "config_version": "integer",
        "updated_at": STAMP,
        "origin": "text = 'legacy'",
        "version": "integer = '1'",
    },
    "user_whale_follows": {
        "follower_key": "text",
        "whale_key": "text",
        "sizing": "text",
        "terms": "jsonb",
        "config_version": "integer",
        "unfollowed_at": STAMP,
        "updated_at": STAMP,
        "origin": "text = 'legacy'",
        "version": "integer = '1'",
    },
    "whale_signals": {
        "signal_key": "text",
        "whale_key": "text",
        "source": "text = 'whale'",
        "trade_type": "text = 'spot'",
        "priority": "text = 'medium'",
        "action": "text",
        "quantity": "numeric",
        "fill_price": "numeric",
        "whale_order_id": "text",
        "position_before": "numeric",
        "position_after": "numeric",
        "whale_equity": "numeric",
        "leverage": "numeric",
        "expires_at": STAMP,
        "whale_time": STAMP,
        "published_at": STAMP,
        "received_at": STAMP,
        "source_partition": "integer",
        "source_offset": "bigint",
        "held": "text = ''",
        "shards_admitted": "integer = '0'",
        "shards_decided": "integer = '0'",
        "shards_expired": "integer = '0'",
        "followers": "integer = '0'",
        "copied": "integer = '0'",
        "orders_sent": "integer = '0'",
        "orders_ended": "integer = '0'",
        "last_event_at": STAMP,
        "origin": "text = 'legacy'",
        "version": "integer = '1'",
    },
    "trades": {
        "command_key": "text",
        "follower_key": "text",
        "whale_key": "text",
        "cause": "text",
        "kind": "text",
        "leg": "integer",
        "mode": "text",
        "priority": "text",
        "requested_leverage": "numeric",
        "limit_price": "numeric",
        "reference_price": "numeric",
        "filled": "numeric = '0'",
        "lot_quantity": "numeric = '0'",
        "average_price": "numeric",
        "fee_base": "numeric = '0'",
        "fee_quote": "numeric = '0'",
        "realized_pnl": "numeric = '0'",
        "slippage_bps": "numeric",
        "reason": "text",
        "raw_code": "text",
        "attempts": "integer = '0'",
        "detected_at": STAMP,
        "published_at": STAMP,
        "received_at": STAMP,
        "decided_at": STAMP,
        "attempted_at": STAMP,
        "unknown_at": STAMP,
        "acknowledged_at": STAMP,
        "settled_at": STAMP,
        "expires_at": STAMP,
        "updated_at": STAMP,
        "origin": "text = 'legacy'",
        "version": "integer = '1'",
    },
    "positions": {
        "follower_key": "text",
        "whale_key": "text",
        "mode": "text",
        "filled": "numeric = '0'",
        "pending": "numeric = '0'",
        "reserved": "numeric = '0'",
        "cost": "numeric = '0'",
        "realized": "numeric = '0'",
        "fee_base": "numeric = '0'",
        "fee_quote": "numeric = '0'",
        "funding": "numeric = '0'",
        "dust": "numeric = '0'",
        "drift": "numeric = '0'",
        "updated_at": STAMP,
        "origin": "text = 'legacy'",
        "version": "integer = '1'",
    },
}
"""`type` alone allows NULL; `type = default` is NOT NULL with that default."""

INDEXES = {
    "uq_users_follower": "UNIQUE INDEX {} ON users (follower_key)",
    "ix_follows_whale": "INDEX {} ON user_whale_follows (whale_id, auto_copy_enabled)",
    "uq_signals_key": "UNIQUE INDEX {} ON whale_signals (signal_key)",
    "ix_signals_queue": "INDEX {} ON whale_signals (status, priority, detected_at)",
    "ix_signals_whale_status": "INDEX {} ON whale_signals (whale_id, status, detected_at)",
    "ix_signals_detected": "INDEX {} ON whale_signals (detected_at, id)",
    "uq_trades_command": "UNIQUE INDEX {} ON trades (command_key)",
    "ix_trades_user": "INDEX {} ON trades (user_id, created_at, id)",
    "ix_trades_signal": "INDEX {} ON trades (signal_id)",
    "ix_trades_created": "INDEX {} ON trades (created_at, id)",
    "ix_positions_user": "INDEX {} ON positions (user_id, status)",
    "uq_positions_lot": "UNIQUE INDEX {} ON positions (user_id, exchange, symbol, side, mode, whale_key) WHERE origin = 'log'",
}

TABLES = (
    """CREATE TABLE IF NOT EXISTS copy_decisions (
        signal_id bigint NOT NULL, user_id bigint NOT NULL, decided_at timestamptz NOT NULL,
        signal_key text NOT NULL, follower_key text NOT NULL, whale_key text NOT NULL, symbol text NOT NULL,
        outcome text NOT NULL, reason text NOT NULL DEFAULT '', limit_value text, found_value text,
        venue text, venue_symbol text, direction text, sizing text,
        wanted_quote numeric, final_quote numeric, quantity numeric, inputs jsonb, cuts jsonb,
        orders integer NOT NULL DEFAULT '0', config_version integer NOT NULL, position bigint NOT NULL,
        CONSTRAINT copy_decisions_pkey PRIMARY KEY (signal_id, user_id, decided_at)
    ) PARTITION BY RANGE (decided_at)""",
    "CREATE INDEX IF NOT EXISTS ix_decisions_user ON copy_decisions (user_id, decided_at, signal_id)",
    "CREATE INDEX IF NOT EXISTS ix_decisions_decided ON copy_decisions (decided_at)",
    """CREATE TABLE IF NOT EXISTS account_equity (
        user_id bigint NOT NULL, venue text NOT NULL, follower_key text NOT NULL, equity numeric NOT NULL, available numeric NOT NULL,
        reported_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, version integer NOT NULL DEFAULT '1',
        CONSTRAINT account_equity_pkey PRIMARY KEY (user_id, venue)
    )""",
    """CREATE TABLE IF NOT EXISTS equity_curve (
        user_id bigint NOT NULL, venue text NOT NULL, bucket_at timestamptz NOT NULL, equity numeric NOT NULL, available numeric NOT NULL,
        CONSTRAINT equity_curve_pkey PRIMARY KEY (user_id, venue, bucket_at)
    ) PARTITION BY RANGE (bucket_at)""",
    """CREATE TABLE IF NOT EXISTS projection_positions (
        application_name text PRIMARY KEY, notification_id bigint, topic text, partition integer, epoch bigint, inbox_position bigint,
        digest text, next_id bigint, sources jsonb, event_at timestamptz, end_offset bigint, lag_seconds numeric, checked_at timestamptz
    )""",
    """CREATE TABLE IF NOT EXISTS projection_generation (
        "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"), live integer NOT NULL DEFAULT '1', previous integer,
        swapped_at timestamptz, oldest_month timestamptz
    )""",
    "INSERT INTO projection_generation DEFAULT VALUES ON CONFLICT DO NOTHING",
)
OURS = ("copy_decisions", "account_equity", "equity_curve", "projection_positions", "projection_generation")
FUNCTIONS = ("remora_month_partition(text, text, date)", "remora_drop_months(integer)")

# The projector may make the month's partition without owning the table: the function runs as its owner and does only this.
MONTH = """
CREATE OR REPLACE FUNCTION remora_month_partition(space text, parent text, month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child text := parent || to_char(month, '_YYYY_MM');
    key text := CASE parent WHEN 'copy_decisions' THEN 'decided_at' WHEN 'equity_curve' THEN 'bucket_at' END;
    first timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    next timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF key IS NULL OR NOT (space = 'public' OR space ~ '^generation_[0-9]+$') THEN
        RAISE EXCEPTION 'no monthly partitions in %.%', space, parent;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('remora_month_partition'), hashtext(space || parent));
    IF to_regclass(format('%I.%I', space, child)) IS NULL THEN
        EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.%3$I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', space, child, parent);
        EXECUTE format('ALTER TABLE %1$I.%3$I ATTACH PARTITION %1$I.%2$I FOR VALUES FROM (%4$L) TO (%5$L)',
            space, child, parent, first, next);
    END IF;
END $$
"""


# Retention, likewise: whole months go, and the note keeps a rebuild from bringing them back.
DROP = """
CREATE OR REPLACE FUNCTION remora_drop_months(keep integer) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    oldest timestamptz := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => keep - 1)) AT TIME ZONE 'UTC';
    child text;
BEGIN
    FOR child IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('public.copy_decisions'::regclass, 'public.equity_curve'::regclass)
            AND to_date(right(c.relname, 7), 'YYYY_MM') < (oldest AT TIME ZONE 'UTC')::date
        ORDER BY 1
    LOOP
        EXECUTE format('DROP TABLE public.%I', child);
        RETURN NEXT child;
    END LOOP;
    UPDATE public.projection_generation SET oldest_month = greatest(oldest_month, oldest);
END $$
"""

NOTES = "CREATE TABLE IF NOT EXISTS remora_migration_notes (found_table text, found_column text, PRIMARY KEY (found_table, found_column))"


def upgrade() -> None:
    """Add, complete, fill; never take away."""
    op.execute(
        "CREATE TABLE IF NOT EXISTS remora_migration_notes (found_table text, found_column text, PRIMARY KEY (found_table, found_column))"
    )
    for table, columns in COLUMNS.items():
        for column, kind in columns.items():
            _column(table, column, *kind.partition(" = ")[::2])
    for statement in TABLES:
        op.execute(statement)
    for name, definition in INDEXES.items():
        op.execute(f"CREATE {definition.format('IF NOT EXISTS ' + name)}")
    op.execute(MONTH)
    op.execute(DROP)
    for function in FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")


def _column(table: str, column: str, kind: str, default: str) -> None:
    found = _found_type(table, column)
    if found is None:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}{f' NOT NULL DEFAULT {default}' if default else ''}")
        return
    op.execute(f"INSERT INTO remora_migration_notes VALUES ('{table}', '{column}') ON CONFLICT DO NOTHING")
    if found != kind:
        change = f"DROP DEFAULT, ALTER COLUMN {column} TYPE {kind} USING {column}::text::{kind}"
        with without_views(op.get_bind(), table):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} {change}")
    if not default:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")
    else:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}")
        op.execute(f"UPDATE {table} SET {column} = DEFAULT WHERE {column} IS NULL")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL")


def _found_type(table: str, column: str) -> str | None:
    query = text(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(:t) AND attname = :c AND NOT attisdropped"
    )
    found: str | None = op.get_bind().execute(query, {"t": table, "c": column}).scalar()
    return found


def downgrade() -> None:
    """Drop what the upgrade made; rows of the log go (a rebuild brings them back), rows of older code and found columns stay. Of other
    generations nothing stays: what they hold is a copy."""
    for (schema,) in op.get_bind().execute(text("SELECT nspname FROM pg_namespace WHERE nspname ~ '^generation_[0-9]+$'")).all():
        op.execute(f"DROP SCHEMA {schema} CASCADE")
    for name in OURS:
        op.execute(f"DROP TABLE {name}")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    for table in reversed(COLUMNS):
        op.execute(f"DELETE FROM {table} WHERE origin = 'log'")
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    kept = {(row[0], row[1]) for row in op.get_bind().execute(text("SELECT found_table, found_column FROM remora_migration_notes"))}
    for table, columns in COLUMNS.items():
        for column in columns:
            if (table, column) not in kept:
                op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    op.execute("DROP TABLE remora_migration_notes")
