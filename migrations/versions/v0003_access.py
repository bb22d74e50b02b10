"""Schema `access`: API keys, sessions of the dashboard, and the answers that repeated writes get.

Beside the read models and never rebuilt from the log. A downgrade leaves it where it is, so that nobody loses their keys.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS access",
    "REVOKE ALL ON SCHEMA access FROM PUBLIC",
    """CREATE TABLE IF NOT EXISTS access.api_keys (
        key_id text PRIMARY KEY,
        secret_hash bytea NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
        name text NOT NULL,
        scopes text[] NOT NULL CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'follow', 'trade', 'admin']),
        follower_id text,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        revoked_at timestamptz,
        last_used_at timestamptz,
        CHECK (follower_id IS NULL OR NOT 'admin' = ANY(scopes))
    )""",
    """CREATE TABLE IF NOT EXISTS access.sessions (
        token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
        key_id text NOT NULL REFERENCES access.api_keys (key_id) ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS ix_sessions_expires ON access.sessions (expires_at)",
    """CREATE TABLE IF NOT EXISTS access.answers (
        request_key bytea PRIMARY KEY CHECK (octet_length(request_key) = 32),
        request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
        answer jsonb,
        created_at timestamptz NOT NULL DEFAULT now(),
        busy_until timestamptz NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS ix_answers_created ON access.answers (created_at)",
)


def upgrade() -> None:
    """Make what is missing."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Nothing: no rebuild could bring the keys back, and revision 0002 does not look at the schema."""
