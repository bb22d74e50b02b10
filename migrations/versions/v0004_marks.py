"""Newest marks of venues, and an index for finding orders by their cause."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE INDEX IF NOT EXISTS ix_trades_cause ON trades (cause)",
    """CREATE TABLE IF NOT EXISTS market_marks (
        venue text NOT NULL, symbol text NOT NULL, price numeric NOT NULL, marked_at timestamptz NOT NULL, position bigint NOT NULL,
        CONSTRAINT market_marks_pkey PRIMARY KEY (venue, symbol)
    )""",
)


def upgrade() -> None:
    """Add what is missing."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Marks come again within a minute."""
    op.execute("DROP TABLE market_marks")
    op.execute("DROP INDEX IF EXISTS ix_trades_cause")
