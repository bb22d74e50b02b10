"""Named queries use the indexes that were made for them: the plans of Postgres say so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from projections.queries import listing, query
from projections.sql import load
from tests.tables import copy_of

ROWS = 20_000
NOW = datetime(2026, 10, 30, tzinfo=UTC)
FILL = f"""
INSERT INTO users (id, follower_key, copy_trading_enabled, origin) SELECT n, 'f' || n, true, 'log' FROM generate_series(1, 500) AS n;
INSERT INTO user_whale_follows (user_id, whale_id, auto_copy_enabled) SELECT n, n % 50, true FROM generate_series(1, 500) AS n;
INSERT INTO whale_signals (id, signal_key, whale_id, symbol, side, status, priority, detected_at)
SELECT n, 's' || n, n % 50, 'BTC/USDT', 'buy', CASE WHEN n % 100 = 0 THEN 'PENDING' WHEN n % 101 = 0 THEN 'PROCESSING' ELSE 'PROCESSED' END,
    (ARRAY['high', 'medium', 'low'])[n % 3 + 1], timestamptz '2026-10-01' + n * interval '1 minute'
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO trades (id, command_key, user_id, signal_id, exchange, symbol, side, quantity, created_at)
SELECT n, md5(n::text), n % 500 + 1, n, 'binance', 'BTC/USDT', 'buy', 1, timestamptz '2026-10-01' + n * interval '1 minute'
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO positions (id, user_id, exchange, symbol, side, quantity, status, whale_key, origin)
SELECT n, n % 500 + 1, 'binance', 'S' || n, 'long', 1, CASE WHEN n % 10 = 0 THEN 'open' ELSE 'closed' END, 'w', 'log'
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO market_marks SELECT 'binance', 'S' || n, 1, now(), n FROM generate_series(1, {ROWS}) AS n;
SELECT remora_month_partition('public', 'copy_decisions', '2026-10-01');
INSERT INTO copy_decisions (signal_id, user_id, decided_at, signal_key, follower_key, whale_key, symbol, outcome, config_version, position)
SELECT n, n % 500 + 1, timestamptz '2026-10-01' + n * interval '1 minute', 's' || n, 'f', 'w', 'X', 'skipped', 1, n
FROM generate_series(1, {ROWS}) AS n;
SELECT remora_month_partition('public', 'equity_curve', '2026-10-01');
INSERT INTO equity_curve (user_id, venue, bucket_at, equity, available)
SELECT n % 500 + 1, 'binance', timestamptz '2026-10-01' + n * interval '1 minute', 1, 1 FROM generate_series(1, {ROWS}) AS n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def full(postgres: str, empty_tables: str) -> Iterator[psycopg.Connection[Any]]:
    """A database with many rows."""
    with copy_of(postgres, empty_tables) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL.encode())
        yield connection


def plan(connection: psycopg.Connection[Any], statement: Any, parameters: dict[str, Any]) -> str:
    """The plan of a statement, as text."""
    cursor = psycopg.ClientCursor(connection)
    text = cursor.mogrify(statement, parameters)
    return "\n".join(row[0] for row in connection.execute(b"EXPLAIN " + text.encode()))


@pytest.mark.parametrize(
    ("name", "parameters", "index"),
    [
        ("get_signal", {"id": 77}, "whale_signals_pkey"),
        ("get_signal_by_key", {"signal_key": "s77"}, "uq_signals_key"),
        ("pending_signals", {"lowest": "low", "limit": 20}, "ix_signals_queue"),
        ("signals_by_status", {"status": "PROCESSING", "limit": 20}, "ix_signals_queue"),
        ("signals_by_whale", {"whale_id": 7, "status": "PENDING", "limit": 20}, "ix_signals_whale_status"),
        ("active_followers", {"whale_id": 7}, "ix_follows_whale"),
        ("get_trade", {"id": 77}, "trades_pkey"),
        ("get_trade_by_key", {"command_key": "x"}, "uq_trades_command"),
        ("open_positions", {"user_id": 7}, "ix_positions_user"),
        ("profit", {"user_id": 7}, "_positions_"),
        ("accounts", {"user_id": 7}, "account_equity"),
        ("equity_points", {"user_id": 7, "since": NOW - timedelta(days=20), "until": NOW, "limit": 10}, "equity_curve_2026_10_pkey"),
        ("queue_counts", {}, "ix_signals_queue"),
    ],
)
def test_named_queries_use_their_index(full: psycopg.Connection[Any], name: str, parameters: dict[str, Any], index: str) -> None:
    assert index in (found := plan(full, query(name), parameters)), found
    assert "Seq Scan on whale_signals" not in found and "Seq Scan on trades" not in found and "Seq Scan on positions" not in found, found


@pytest.mark.parametrize(
    ("name", "filters", "before", "index"),
    [
        ("list_signals", {}, None, "ix_signals_detected"),
        ("list_signals", {}, (NOW, 9), "ix_signals_detected"),
        ("list_signals", {"status": ["PENDING", "pending"]}, None, "ix_signals_queue"),
        ("list_trades", {}, None, "ix_trades_created"),
        ("list_trades", {}, (NOW, 9), "ix_trades_created"),
        ("list_trades", {"user_id": 7}, (NOW, 9), "ix_trades_user"),
        ("list_trades", {"signal_key": "s7"}, None, "ix_trades_signal"),
        ("list_decisions", {}, None, "_decided_at_idx"),
        ("list_decisions", {"user_id": 7}, (NOW, 9, 9), "_user_id_decided_at_signal_id_idx"),
        ("list_decisions", {"signal_key": "s7"}, None, "_pkey"),
        ("list_positions", {}, (9,), "positions_pkey"),
        ("list_positions", {"user_id": 7, "status": "open"}, None, "ix_positions_user"),
    ],
)
def test_lists_use_their_index(
    full: psycopg.Connection[Any], name: str, filters: dict[str, Any], before: tuple[Any, ...] | None, index: str
) -> None:
    statement, parameters = listing(name, filters, before, 50)
    assert index in (found := plan(full, statement, parameters)), found
    assert "Seq Scan" not in found, found


def test_orders_of_a_cause_are_found_by_it(full: psycopg.Connection[Any]) -> None:
    """What explains a signal or an order asks by the cause, which need not be a signal."""
    statement = load("dashboard.sql")["story_orders"]
    assert "ix_trades_cause" in (found := plan(full, statement, {"cause": "s77", "follower": None})), found
