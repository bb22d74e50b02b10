"""Migrations on an empty database, on the older system's tables with rows, and where our columns were added by hand."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from engine.errors import DependencyUnreachable
from projections.compare import checksum
from projections.migrate import current, differences, downgrade, ensure, revision, upgrade
from projections.schema import OLDER_TABLES, PROJECTED
from tests import support
from tests.logbook import admitted, configured, copied, ended, followed, order, signal
from tests.tables import Tables

ROWS = 10_000
HEAD = "0004"
OLDER_COLUMNS = {
    "users": "id, email, copy_trading_enabled, preferred_exchange, max_leverage, created_at",
    "user_whale_follows": "id, user_id, whale_id, auto_copy_enabled, trade_size_usdt, trade_size_percent, created_at",
    "whale_signals": "id, whale_id, symbol, side, amount, price, tx_hash, status, trades_executed, "
    "detected_at, processed_at, error_message",
    "trades": "id, user_id, signal_id, exchange, symbol, side, quantity, price, leverage, status, "
    "exchange_order_id, created_at, executed_at",
    "positions": "id, user_id, exchange, symbol, side, quantity, entry_price, leverage, status, realized_pnl, opened_at, closed_at",
}
FILL = f"""
INSERT INTO users (email, copy_trading_enabled, max_leverage)
SELECT 'u' || n || '@x.y', n % 2 = 0, n % 20 + 1 FROM generate_series(1, {ROWS}) AS n;
INSERT INTO user_whale_follows (user_id, whale_id, auto_copy_enabled, trade_size_usdt, trade_size_percent)
SELECT n, n % 50, n % 3 = 0, n * 1.5, n % 100 FROM generate_series(1, {ROWS}) AS n;
INSERT INTO whale_signals (whale_id, symbol, side, amount, price, tx_hash, status)
SELECT n % 50, 'BTC/USDT', 'buy', n * 0.000000000001, 60000 + n, '0x' || n, (ARRAY['pending', 'processed', 'failed'])[n % 3 + 1]
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO trades (user_id, signal_id, exchange, symbol, side, quantity, price)
SELECT n, n, 'binance', 'BTC/USDT', 'buy', n * 0.001, 60000 FROM generate_series(1, {ROWS}) AS n;
INSERT INTO positions (user_id, exchange, symbol, side, quantity, entry_price)
SELECT n, 'binance', 'BTC/USDT', 'long', n * 0.001, 60000 FROM generate_series(1, {ROWS}) AS n;
"""
OLDER_CODE = (
    "INSERT INTO users (email) VALUES ('new@x.y') RETURNING id",
    "INSERT INTO whale_signals (whale_id, symbol, side, amount, price) VALUES (1, 'ETH/USDT', 'sell', 1, 2) RETURNING id",
    "UPDATE whale_signals SET status = 'processing' WHERE id = (SELECT id FROM whale_signals WHERE status = 'pending' ORDER BY id LIMIT 1)",
    "INSERT INTO trades (user_id, signal_id, exchange, symbol, side, quantity) VALUES (1, 1, 'binance', 'X', 'buy', 1) RETURNING id",
    "INSERT INTO positions (user_id, exchange, symbol, side, quantity) VALUES (1, 'binance', 'X', 'long', 1) RETURNING id",
    "INSERT INTO user_whale_follows (user_id, whale_id) VALUES (1, 999) RETURNING id",
    "SELECT u.id FROM users u JOIN user_whale_follows f ON f.user_id = u.id WHERE f.whale_id = 3 AND f.auto_copy_enabled",
)
BY_HAND = """
ALTER TABLE whale_signals ADD COLUMN priority varchar(10), ADD COLUMN source varchar(20) DEFAULT 'whale', ADD COLUMN trade_type varchar(10);
ALTER TABLE trades ADD COLUMN version integer, ADD COLUMN expires_at timestamptz;
UPDATE trades SET expires_at = now();
ALTER TABLE trades ALTER COLUMN expires_at SET NOT NULL;
CREATE VIEW urgent AS SELECT id, priority FROM whale_signals WHERE priority LIKE 'hi%';
CREATE VIEW most_urgent AS SELECT min(id) AS id FROM urgent;
GRANT SELECT ON urgent TO pg_monitor;
ALTER TABLE positions ADD COLUMN version integer NOT NULL DEFAULT 1;
CREATE INDEX ix_signals_queue ON whale_signals (status, priority, detected_at);
CREATE TABLE alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY);
UPDATE whale_signals SET priority = 'high' WHERE id <= 100;
"""


@pytest.fixture
def older(database: str) -> str:
    """The older system's schema with rows in every table."""
    schema = support.test_data_folder().parent / "legacy.sql"
    if not schema.is_file():
        pytest.skip("no older schema: legacy.sql belongs beside the folder of REMORA_TEST_DATA")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(schema.read_text().encode())
        connection.execute(FILL.encode())
    return database


def sums(database: str) -> dict[str, Any]:
    """Count and checksum of the older columns of each table, rows of ours left out."""
    found = {}
    with psycopg.connect(database) as connection:
        for table, columns in OLDER_COLUMNS.items():
            query = f"SELECT count(*), sum(hashtextextended(ROW({columns})::text, 0)) FROM {table} WHERE id < 1000000"
            found[table] = connection.execute(query.encode()).fetchone()
    return found


def test_an_empty_database(database: str) -> None:
    assert current(database) is None
    assert upgrade(database) == HEAD
    assert differences(database) == []
    assert upgrade(database) == HEAD, "again is nothing"
    assert current(database) == HEAD


def test_older_rows_survive_up_down_up(older: str) -> None:
    """Twice up, older code's statements, one step down, to base, and up again: the older columns' rows are what they were."""
    before = sums(older)
    upgrade(older)
    upgrade(older)
    assert sums(older) == before and differences(older) == []
    with psycopg.connect(older) as connection:
        row = connection.execute("SELECT priority, source, trade_type, version, origin FROM whale_signals WHERE id = 7").fetchone()
        assert row == ("medium", "whale", "spot", 1, "legacy")
        assert connection.execute(
            "SELECT version FROM trades WHERE id = 7 UNION ALL SELECT version FROM positions WHERE id = 7"
        ).fetchall() == [
            (1,),
            (1,),
        ]
        for statement in OLDER_CODE:
            connection.execute(statement.encode())
        connection.rollback()
    assert downgrade(older, "-3") == "0001"
    assert sums(older) == before
    assert upgrade(older) == HEAD
    assert downgrade(older, "base") is None
    assert sums(older) == before
    with psycopg.connect(older) as connection:
        for statement in OLDER_CODE:
            connection.execute(statement.encode())
        columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND table_name = ANY(%s)"
        row = connection.execute(columns, [list(OLDER_TABLES)]).fetchone()
        assert row == (sum(len(columns.split(",")) for columns in OLDER_COLUMNS.values()),), "nothing of ours is left"
        connection.rollback()
    assert upgrade(older) == HEAD
    assert sums(older) == before and differences(older) == []


def test_columns_that_were_added_by_hand(older: str) -> None:
    """They are completed, keep what is in them, and stay when ours go."""
    with psycopg.connect(older, autocommit=True) as connection:
        connection.execute(BY_HAND.encode())
    before = sums(older)
    assert current(older) is None
    assert upgrade(older) == HEAD
    assert differences(older) == [] and sums(older) == before
    with psycopg.connect(older) as connection:
        assert connection.execute("SELECT id FROM most_urgent").fetchone() == (1,), "views of others are what they were"
        assert connection.execute("SELECT has_table_privilege('pg_monitor', 'urgent', 'SELECT')").fetchone() == (True,)
        connection.execute(
            "INSERT INTO trades (user_id, exchange, symbol, side, quantity, expires_at) VALUES (1, 'b', 's', 'buy', 1, NULL)"
        )
        connection.rollback()
    priorities = "SELECT priority, count(*) FROM whale_signals GROUP BY 1 ORDER BY 1"
    with psycopg.connect(older) as connection:
        assert connection.execute(priorities).fetchall() == [("high", 100), ("medium", ROWS - 100)]
        assert connection.execute("SELECT count(*) FROM trades WHERE version = 1").fetchone() == (ROWS,)
    downgrade(older, "base")
    with psycopg.connect(older) as connection:
        assert connection.execute(priorities).fetchall() == [("high", 100), ("medium", ROWS - 100)]
    assert upgrade(older) == HEAD and differences(older) == []


def test_the_projectors_own_rows_go_with_its_columns(database: str) -> None:
    """Rows of the log come back by a rebuild; to older code they must not look like its own."""
    upgrade(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO users (id, origin) VALUES (5000000000000000000, 'log')")
        connection.execute("INSERT INTO users (email) VALUES ('a@b.c')")
    downgrade(database, "base")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT email FROM users").fetchall() == [("a@b.c",)]


def test_a_revision_is_written_from_the_difference(database: str, tmp_path: Path) -> None:
    upgrade(database)
    revision(database, "nothing new", str(tmp_path))
    [empty] = tmp_path.glob("*nothing_new.py")
    assert "pass" in empty.read_text() and "op.add_column" not in empty.read_text()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE trades DROP COLUMN slippage_bps")
    assert [step[0] for step in differences(database)] == ["add_column"]


def test_roles(database: str) -> None:
    """Dashboards read the read models and nothing else; the projector writes rows and makes months; nobody sees the vault."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE exchange_keys (secret text); CREATE SCHEMA vault; CREATE TABLE vault.credentials (secret text)")
    upgrade(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE more_keys (secret text)")

    def may(role: str, statement: str) -> bool:
        with psycopg.connect(database) as connection:
            connection.execute(f"SET ROLE {role}".encode())
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                return False
            return True

    for table in PROJECTED:
        assert may("dashboard", f"SELECT 1 FROM {table}") and may("remora_projector", f"SELECT 1 FROM {table}")
        assert not may("dashboard", f"DELETE FROM {table}"), table
        assert may("remora_projector", f"DELETE FROM {table}"), table
    for role in ("dashboard", "remora_projector", "remora_owner", "remora_api"):
        assert not may(role, "SELECT secret FROM vault.credentials"), role
    for others in ("exchange_keys", "more_keys"):
        assert not may("dashboard", f"SELECT secret FROM {others}"), "tables of the older system are no read models"
        assert not may("remora_api", f"SELECT secret FROM {others}") and not may("remora_projector", f"DELETE FROM {others}")
    month = "SELECT remora_month_partition('public', 'copy_decisions', '2026-11-01')"
    assert may("remora_projector", month) and not may("dashboard", month)
    assert not may("remora_projector", "DROP TABLE trades")
    keys = "SELECT 1 FROM access.api_keys"
    assert may("remora_api", keys) and may("remora_api", "SELECT 1 FROM trades") and not may("remora_api", "DELETE FROM trades")
    assert not may("dashboard", keys) and not may("remora_projector", keys)
    assert not may("dashboard", "CREATE TABLE mine (x int)")
    with psycopg.connect(database) as connection:
        assert checksum(connection, "public", "trades") == (0, 0)


def test_the_projector_runs_under_its_own_role(database: str) -> None:
    """A login in `remora_projector`, not the owner, projects: months, staging, positions and all."""
    upgrade(database)
    name = f"projector_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'p' IN ROLE remora_projector".encode())
    own = urlsplit(database)
    url = urlunsplit(own._replace(netloc=f"{name}:p@{own.hostname}:{own.port}"))
    ensure(url)
    tables = Tables(url)
    placed = order("f")
    tables.tell(0, configured("f"), followed("f"), admitted(0, signal()), copied("f", placed), ended(placed))
    assert tables.row("SELECT status FROM trades")["status"] == "filled" and tables.buried == []
    assert tables.store.drop_months(24) == []
    tables.close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_a_server_that_is_away_is_one_clear_sentence() -> None:
    with pytest.raises(DependencyUnreachable, match="Postgres did not take the migration"):
        upgrade("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
