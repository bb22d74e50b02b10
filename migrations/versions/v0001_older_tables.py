"""The older system's five tables, made where they are missing and left alone where they are."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """CREATE TABLE IF NOT EXISTS users (
        id bigserial PRIMARY KEY,
        email varchar(255) UNIQUE,
        copy_trading_enabled boolean NOT NULL DEFAULT false,
        preferred_exchange varchar(20) NOT NULL DEFAULT 'binance',
        max_leverage integer NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """CREATE TABLE IF NOT EXISTS user_whale_follows (
        id bigserial PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users(id),
        whale_id bigint NOT NULL,
        auto_copy_enabled boolean NOT NULL DEFAULT false,
        trade_size_usdt numeric(20, 8),
        trade_size_percent numeric(5, 2),
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (user_id, whale_id)
    )""",
    """CREATE TABLE IF NOT EXISTS whale_signals (
        id bigserial PRIMARY KEY,
        whale_id bigint NOT NULL,
        symbol varchar(30) NOT NULL,
        side varchar(10) NOT NULL,
        amount numeric(30, 12),
        price numeric(30, 12),
        tx_hash varchar(100),
        status varchar(20) NOT NULL DEFAULT 'pending',
        trades_executed integer NOT NULL DEFAULT 0,
        detected_at timestamptz NOT NULL DEFAULT now(),
        processed_at timestamptz,
        error_message text
    )""",
    """CREATE TABLE IF NOT EXISTS trades (
        id bigserial PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users(id),
        signal_id bigint REFERENCES whale_signals(id),
        exchange varchar(20) NOT NULL,
        symbol varchar(30) NOT NULL,
        side varchar(10) NOT NULL,
        quantity numeric(30, 12) NOT NULL,
        price numeric(30, 12),
        leverage integer NOT NULL DEFAULT 1,
        status varchar(20) NOT NULL DEFAULT 'pending',
        exchange_order_id varchar(100),
        created_at timestamptz NOT NULL DEFAULT now(),
        executed_at timestamptz
    )""",
    """CREATE TABLE IF NOT EXISTS positions (
        id bigserial PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users(id),
        exchange varchar(20) NOT NULL,
        symbol varchar(30) NOT NULL,
        side varchar(10) NOT NULL,
        quantity numeric(30, 12) NOT NULL,
        entry_price numeric(30, 12),
        leverage integer NOT NULL DEFAULT 1,
        status varchar(20) NOT NULL DEFAULT 'open',
        realized_pnl numeric(30, 12) NOT NULL DEFAULT 0,
        opened_at timestamptz NOT NULL DEFAULT now(),
        closed_at timestamptz
    )""",
)


def upgrade() -> None:
    """Make what is missing."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Nothing: these tables and their rows belong to the older system."""
