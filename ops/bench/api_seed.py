"""A million trades and what belongs to them, made by Postgres itself: for `remora bench api`.

Enters: a migrated database. Leaves: followers, follows, signals, fifty copies of each, decisions, lots, equity. Deterministic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, LiteralString

import psycopg

from engine.config import Settings
from engine.topology import EVENTS
from projections.ids import user_id
from projections.staging import Conn

FOLLOWERS: Final = 1_000
COPIES: Final = 50
WHALES: Final = 20
WAITING: Final = 50
"""Signals at the end that are still pending."""

STATEMENTS: Final[tuple[LiteralString, ...]] = (
    "INSERT INTO users (id, copy_trading_enabled, preferred_exchange, follower_key, mode, leverage_limit, limits, config_version, origin,"
    " updated_at) SELECT id, true, 'binanceusdm', key, 'paper', 3, '{\"max_open_positions\": 5}', 2, 'log', now() FROM f",
    "INSERT INTO user_whale_follows (id, user_id, whale_id, auto_copy_enabled, trade_size_usdt, follower_key, whale_key, sizing, terms,"
    " config_version, origin) SELECT f.id, f.id, n %% %(whales)s + 1, true, 100, key, (n %% %(whales)s + 1)::text,"
    " 'fixed_quote', '{}', 2, 'log'"
    " FROM f",
    "INSERT INTO whale_signals (id, signal_key, whale_id, whale_key, symbol, side, quantity, fill_price, status, trades_executed,"
    " detected_at, published_at, received_at, processed_at, source, trade_type, priority, action, followers, copied, orders_sent,"
    " orders_ended, origin, version)"
    " SELECT (1::bigint << 62) + s * 256, 'signal-' || s, s %% %(whales)s + 1, (s %% %(whales)s + 1)::text,"
    " 'BTC/USDC:USDC', 'buy', 1.25 + s,"
    " 60000.5, CASE WHEN s >= %(signals)s - %(waiting)s THEN 'PENDING' ELSE 'PROCESSED' END, %(copies)s, t, t, t, t, 'whale', 'futures',"
    " (ARRAY['high', 'medium', 'low'])[s %% 3 + 1], 'open', %(copies)s, %(copies)s, %(copies)s, %(copies)s, 'log', 3"
    " FROM generate_series(0, %(signals)s - 1) AS s, LATERAL (SELECT now() - (%(signals)s - s) * interval '10 seconds' AS t) AS at",
    "INSERT INTO trades (id, user_id, signal_id, exchange, symbol, side, quantity, price, status, exchange_order_id,"
    " created_at, executed_at,"
    " command_key, follower_key, whale_key, cause, kind, leg, mode, priority, requested_leverage, limit_price, reference_price, filled,"
    " lot_quantity, average_price, fee_quote, slippage_bps, attempts, detected_at, published_at, received_at, decided_at, attempted_at,"
    " acknowledged_at, settled_at, expires_at, updated_at, origin, version)"
    " SELECT w.id + k, f.id, w.id, 'binanceusdm', 'BTC/USDT:USDT', 'buy', 0.002, 60001.5, 'filled', (w.id + k)::text, w.detected_at,"
    " w.detected_at, md5(w.signal_key || '/' || k), f.key, w.whale_key, w.signal_key, 'open', 0, 'paper', 'medium', 3,"
    " 60300, 60000.5, 0.002,"
    " 0.002, 60001.5, 0.0240006, 0.17, 1, w.detected_at, w.detected_at, w.detected_at, w.detected_at, w.detected_at, w.detected_at,"
    " w.detected_at, w.detected_at, w.detected_at, 'log', 2"
    " FROM whale_signals AS w, generate_series(0, %(copies)s - 1) AS k, f WHERE f.n = ((w.id / 256 + k * 20) %% %(followers)s)",
    "SELECT remora_month_partition('public', 'copy_decisions', m::date), remora_month_partition('public', 'equity_curve', m::date)"
    " FROM generate_series(date_trunc('month', now() - interval '2 months'), now(), interval '1 month') AS m",
    "INSERT INTO copy_decisions (signal_id, user_id, decided_at, signal_key, follower_key, whale_key, symbol, outcome, reason, venue,"
    " venue_symbol, direction, sizing, wanted_quote, final_quote, quantity, inputs, cuts, orders, config_version, position)"
    " SELECT signal_id, user_id, created_at, cause, follower_key, whale_key, 'BTC/USDC:USDC', 'reduced', '', exchange, symbol, 'long',"
    ' \'fixed_quote\', 120, 100.5, quantity, \'{"trade_size_usdt": "120"}\', \'[["max_position", "120", "100.5"]]\', 1, 2, id FROM trades',
    "INSERT INTO positions (id, user_id, exchange, symbol, side, quantity, status, opened_at, follower_key, whale_key, mode, filled, cost,"
    " realized, fee_quote, updated_at, origin, version)"
    " SELECT f.id + k, f.id, 'binanceusdm', 'M' || k || '/USDT:USDT', 'long', 1.5,"
    " CASE WHEN k < 10 THEN 'open' ELSE 'closed' END, now(), key,"
    " (k %% %(whales)s + 1)::text, 'paper', 1.5, 90000, 12.5, 0.25, now(), 'log', 4 FROM f, generate_series(0, 39) AS k",
    "INSERT INTO account_equity (user_id, venue, follower_key, equity, available, reported_at, updated_at, version)"
    " SELECT id, 'binanceusdm', key, 9999.51, 9900.12, now(), now(), 9 FROM f",
    "INSERT INTO equity_curve (user_id, venue, bucket_at, equity, available)"
    " SELECT id, 'binanceusdm', date_bin('5 minutes', now(), '2020-01-01') - k * interval '5 minutes', 9999.51 + k, 9900.12"
    " FROM f, generate_series(0, 287) AS k",
    "INSERT INTO projection_positions (application_name, topic, partition, notification_id, event_at, end_offset, lag_seconds, checked_at)"
    " SELECT %(topic)s || '[' || p || ']', %(topic)s, p, 0, now(), 0, 0, now() FROM generate_series(0, %(partitions)s - 1) AS p",
    "ANALYZE",
)


def names() -> list[str]:
    """The followers."""
    return [f"follower-{number}" for number in range(FOLLOWERS)]


def seed(conn: Conn, settings: Settings, trades: int) -> int:
    """Fill the tables; gives the number of signals."""
    signals = trades // COPIES
    conn.execute("CREATE TEMP TABLE f (n int PRIMARY KEY, id bigint NOT NULL, key text NOT NULL)")
    with conn.cursor().copy("COPY f FROM STDIN") as copy:
        for number, name in enumerate(names()):
            copy.write_row((number, user_id(name), name))
    values = {
        "signals": signals,
        "copies": COPIES,
        "whales": WHALES,
        "waiting": WAITING,
        "followers": FOLLOWERS,
        "topic": settings.topic(EVENTS),
        "partitions": settings.partitions,
    }
    run(conn, STATEMENTS, values)
    return signals


def run(conn: Conn, statements: Iterable[LiteralString], values: dict[str, object]) -> None:
    """One after the other, values written into the text: a statement is planned for its numbers."""
    with psycopg.ClientCursor(conn) as cursor:
        for statement in statements:
            cursor.execute(statement, values)
