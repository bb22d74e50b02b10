-- What is read, each statement under its name. Columns are named: a prepared `SELECT *` fails after a column is added.
-- `{filters}` stands for conditions that `projections/queries.py` composes from its own list.

-- name: get_signal
SELECT
    id, signal_key, whale_id, whale_key, source, symbol, trade_type, action, side, coalesce(quantity, amount) AS quantity,
    coalesce(fill_price, price) AS price, priority, status, held, trades_executed,
    followers, copied, orders_sent, orders_ended, shards_decided, shards_expired, detected_at, published_at, received_at, expires_at,
    processed_at, error_message, origin, version
FROM whale_signals
WHERE id = %(id)s

-- name: get_signal_by_key
SELECT
    id, signal_key, whale_id, whale_key, source, symbol, trade_type, action, side, coalesce(quantity, amount) AS quantity,
    coalesce(fill_price, price) AS price, priority, status, held, trades_executed,
    followers, copied, orders_sent, orders_ended, shards_decided, shards_expired, detected_at, published_at, received_at, expires_at,
    processed_at, error_message, origin, version
FROM whale_signals
WHERE signal_key = %(signal_key)s

-- name: pending_signals
-- The queue: PENDING (older code: pending) by priority, then age. `lowest` is the last priority that is wanted.
SELECT
    s.id, s.signal_key, s.whale_id, s.whale_key, s.source, s.symbol, s.trade_type, s.action, s.side,
    coalesce(s.quantity, s.amount) AS quantity, coalesce(s.fill_price, s.price) AS price, s.priority,
    s.status, s.held, s.detected_at, s.expires_at, s.version
FROM (VALUES ('high', 0), ('medium', 1), ('low', 2)) AS p (priority, rank)
CROSS JOIN (VALUES ('PENDING'), ('pending')) AS q (status)
CROSS JOIN LATERAL (
    SELECT * FROM whale_signals AS w WHERE w.status = q.status AND w.priority = p.priority ORDER BY w.detected_at LIMIT %(limit)s
) AS s
WHERE p.rank <= CASE %(lowest)s WHEN 'high' THEN 0 WHEN 'medium' THEN 1 ELSE 2 END
ORDER BY p.rank, s.detected_at, s.id
LIMIT %(limit)s

-- name: signals_by_status
-- By priority (not by its letters), then age.
SELECT
    s.id, s.signal_key, s.whale_id, s.whale_key, s.source, s.symbol, s.trade_type, s.action, s.side,
    coalesce(s.quantity, s.amount) AS quantity, coalesce(s.fill_price, s.price) AS price, s.priority, s.status, s.held, s.trades_executed,
    s.detected_at, s.processed_at, s.error_message, s.version
FROM (VALUES ('high', 0), ('medium', 1), ('low', 2)) AS p (priority, rank)
CROSS JOIN LATERAL (
    SELECT * FROM whale_signals AS w WHERE w.status = %(status)s AND w.priority = p.priority ORDER BY w.detected_at LIMIT %(limit)s
) AS s
ORDER BY p.rank, s.detected_at, s.id
LIMIT %(limit)s

-- name: signals_by_whale
SELECT
    id, signal_key, whale_id, whale_key, source, symbol, trade_type, action, side, coalesce(quantity, amount) AS quantity,
    coalesce(fill_price, price) AS price, priority, status, held, trades_executed,
    detected_at, processed_at, error_message, version
FROM whale_signals
WHERE whale_id = %(whale_id)s AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY detected_at DESC
LIMIT %(limit)s

-- name: active_followers
-- Who copies a whale now, and how.
SELECT
    u.id, u.follower_key, u.mode, u.preferred_exchange, u.leverage_limit, f.sizing, f.trade_size_usdt, f.trade_size_percent, f.terms,
    f.config_version, f.version
FROM user_whale_follows AS f
JOIN users AS u ON u.id = f.user_id
WHERE f.whale_id = %(whale_id)s AND f.auto_copy_enabled AND f.unfollowed_at IS NULL AND u.copy_trading_enabled AND u.paused IS NOT TRUE
ORDER BY u.id

-- name: get_trade
SELECT
    id, user_id, signal_id, command_key, follower_key, whale_key, cause, kind, leg, mode, exchange, symbol, side, quantity, status, reason,
    raw_code, exchange_order_id, filled, lot_quantity, average_price, limit_price, reference_price, slippage_bps, fee_base, fee_quote,
    realized_pnl, requested_leverage, attempts, detected_at, published_at, received_at, decided_at, attempted_at, unknown_at,
    acknowledged_at, settled_at, created_at, updated_at, origin, version
FROM trades
WHERE id = %(id)s

-- name: get_trade_by_key
SELECT
    id, user_id, signal_id, command_key, follower_key, whale_key, cause, kind, leg, mode, exchange, symbol, side, quantity, status, reason,
    raw_code, exchange_order_id, filled, lot_quantity, average_price, limit_price, reference_price, slippage_bps, fee_base, fee_quote,
    realized_pnl, requested_leverage, attempts, detected_at, published_at, received_at, decided_at, attempted_at, unknown_at,
    acknowledged_at, settled_at, created_at, updated_at, origin, version
FROM trades
WHERE command_key = %(command_key)s

-- name: open_positions
-- Profit that is not realised is against the newest mark, whose age says how new: none without a mark.
SELECT
    t.id, t.user_id, t.follower_key, t.whale_key, t.mode, t.exchange, t.symbol, t.side, t.status, t.filled, t.pending, t.reserved, t.entry_price,
    t.cost, t.realized, t.fee_base, t.fee_quote, t.funding,
    m.price AS mark_price, (extract(epoch FROM now() - m.marked_at) * 1000)::bigint AS mark_age_ms,
    CASE WHEN t.filled > 0 THEN (t.filled * m.price - t.cost) * CASE t.side WHEN 'short' THEN -1 ELSE 1 END END AS unrealised_pnl,
    t.opened_at, t.updated_at, t.version
FROM positions AS t
LEFT JOIN market_marks AS m ON m.venue = t.exchange AND m.symbol = t.symbol
WHERE t.user_id = %(user_id)s AND t.status = 'open'
ORDER BY t.opened_at, t.id

-- name: profit
-- Realised profit, fees and funding of a follower, by whale.
SELECT whale_key, sum(realized) AS realized, sum(fee_quote) AS fee_quote, sum(funding) AS funding, sum(realized - fee_quote + funding) AS net
FROM positions
WHERE user_id = %(user_id)s AND origin = 'log' AND mode IS DISTINCT FROM 'shadow'
GROUP BY whale_key
ORDER BY whale_key

-- name: equity_points
SELECT venue, bucket_at, equity, available
FROM equity_curve
WHERE user_id = %(user_id)s AND bucket_at >= %(since)s AND bucket_at < %(until)s
ORDER BY bucket_at, venue
LIMIT %(limit)s

-- name: accounts
SELECT venue, equity, available, reported_at, updated_at, version FROM account_equity WHERE user_id = %(user_id)s ORDER BY venue

-- name: queue_counts
-- One index scan: `ix_signals_queue` begins with both columns.
SELECT upper(status) AS status, priority, count(*) AS signals FROM whale_signals
WHERE status IN ('PENDING', 'pending', 'PROCESSING', 'processing')
GROUP BY 1, 2 ORDER BY 1, 2

-- name: queue_oldest
-- The first of each status and priority by `ix_signals_queue`: going by time alone would pass every signal that was ever done.
SELECT min(s.detected_at) AS oldest
FROM (VALUES ('PENDING'), ('pending')) AS q (status)
CROSS JOIN (VALUES ('high'), ('medium'), ('low')) AS p (priority)
CROSS JOIN LATERAL (
    SELECT w.detected_at FROM whale_signals AS w WHERE w.status = q.status AND w.priority = p.priority ORDER BY w.detected_at LIMIT 1
) AS s

-- name: queue_done
-- What ended lately, by status.
SELECT upper(status) AS status, count(*) AS signals FROM whale_signals
WHERE detected_at >= now() - make_interval(mins => %(minutes)s) GROUP BY 1 ORDER BY 1

-- name: freshness
SELECT
    topic, partition, notification_id AS position, end_offset, lag_seconds, event_at, sources,
    (extract(epoch FROM now() - checked_at) * 1000)::bigint AS checked_ms_ago
FROM projection_positions
WHERE topic = ANY(%(topics)s)
ORDER BY topic, partition

-- name: list_signals
SELECT
    t.id, t.signal_key, t.whale_key, t.source, t.symbol, t.trade_type, t.action, t.side, coalesce(t.quantity, t.amount) AS quantity,
    coalesce(t.fill_price, t.price) AS price, t.priority, t.status, t.held,
    t.trades_executed, t.followers, t.copied, t.orders_sent, t.orders_ended, t.detected_at, t.published_at, t.received_at, t.expires_at,
    t.processed_at, t.error_message, t.origin, t.version
FROM whale_signals AS t
WHERE true {filters}
ORDER BY t.detected_at DESC, t.id DESC
LIMIT %(limit)s

-- name: list_trades
SELECT
    t.id, t.command_key, t.follower_key, t.whale_key, t.cause, t.kind, t.leg, t.mode, t.exchange, t.symbol, t.side, t.quantity, t.status,
    t.reason, t.raw_code, t.exchange_order_id, t.filled, t.average_price, t.limit_price, t.reference_price, t.slippage_bps, t.fee_base,
    t.fee_quote, t.realized_pnl, t.attempts, t.detected_at, t.published_at, t.received_at, t.decided_at, t.attempted_at,
    t.acknowledged_at, t.settled_at, t.created_at, t.origin, t.version
FROM trades AS t
WHERE true {filters}
ORDER BY t.created_at DESC, t.id DESC
LIMIT %(limit)s

-- name: list_decisions
SELECT
    t.signal_id, t.user_id, t.decided_at, t.signal_key, t.follower_key, t.whale_key, t.symbol, t.outcome, t.reason, t.limit_value,
    t.found_value, t.venue, t.venue_symbol, t.direction, t.sizing, t.wanted_quote, t.final_quote, t.quantity, t.inputs, t.cuts, t.orders,
    t.config_version
FROM copy_decisions AS t
WHERE true {filters}
ORDER BY t.decided_at DESC, t.signal_id DESC, t.user_id DESC
LIMIT %(limit)s

-- name: list_positions
SELECT
    t.id, t.follower_key, t.whale_key, t.mode, t.exchange, t.symbol, t.side, t.status, t.filled, t.pending, t.reserved, t.entry_price,
    t.realized, t.fee_base, t.fee_quote, t.funding, t.dust, t.drift, t.leverage,
    m.price AS mark_price, (extract(epoch FROM now() - m.marked_at) * 1000)::bigint AS mark_age_ms,
    CASE WHEN t.filled > 0 THEN (t.filled * m.price - t.cost) * CASE t.side WHEN 'short' THEN -1 ELSE 1 END END AS unrealised_pnl,
    t.opened_at, t.closed_at, t.updated_at, t.origin, t.version
FROM positions AS t
LEFT JOIN market_marks AS m ON m.venue = t.exchange AND m.symbol = t.symbol
WHERE true {filters}
ORDER BY t.id DESC
LIMIT %(limit)s
