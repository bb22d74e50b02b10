-- What the projector writes. Staged rows come from `stage_*`, temporary tables that empty themselves at commit.

-- name: stage_users
CREATE TEMP TABLE IF NOT EXISTS stage_users (
    id bigint, follower_key text, copy_trading_enabled boolean, preferred_exchange text, max_leverage integer, mode text, paused boolean,
    leverage_limit numeric, limits jsonb, config_version integer, created_at timestamptz, updated_at timestamptz, version integer
) ON COMMIT DELETE ROWS

-- name: stage_follows
CREATE TEMP TABLE IF NOT EXISTS stage_follows (
    id bigint, user_id bigint, whale_id bigint, follower_key text, whale_key text, auto_copy_enabled boolean, trade_size_usdt numeric,
    trade_size_percent numeric, sizing text, terms jsonb, config_version integer, unfollowed_at timestamptz, created_at timestamptz,
    updated_at timestamptz, version integer
) ON COMMIT DELETE ROWS

-- name: stage_signals
CREATE TEMP TABLE IF NOT EXISTS stage_signals (
    id bigint, signal_key text, whale_id bigint, whale_key text, symbol text, side text, quantity numeric, fill_price numeric, detected_at timestamptz,
    source text, trade_type text, priority text, action text, whale_order_id text, position_before numeric, position_after numeric,
    whale_equity numeric, leverage numeric, expires_at timestamptz, whale_time timestamptz, published_at timestamptz, received_at timestamptz,
    source_partition integer, source_offset bigint, held text
) ON COMMIT DELETE ROWS

-- name: stage_signal_sums
CREATE TEMP TABLE IF NOT EXISTS stage_signal_sums (
    signal_key text, admitted integer, decided integer, expired integer, released integer, followers integer, copied integer,
    orders_sent integer, orders_ended integer, orders_filled integer, events integer, first_at timestamptz, last_at timestamptz, reason text
) ON COMMIT DELETE ROWS

-- name: stage_trade_ends
CREATE TEMP TABLE IF NOT EXISTS stage_trade_ends (
    command_key text, status text, price numeric, exchange_order_id text, executed_at timestamptz, filled numeric, lot_quantity numeric,
    average_price numeric, fee_base numeric, fee_quote numeric, realized_pnl numeric, slippage_bps numeric, reason text, raw_code text,
    attempts integer, attempted_at timestamptz, acknowledged_at timestamptz, settled_at timestamptz, updated_at timestamptz
) ON COMMIT DELETE ROWS

-- name: stage_attempts
CREATE TEMP TABLE IF NOT EXISTS stage_attempts (
    command_key text, status text, attempts integer, attempted_at timestamptz, unknown_at timestamptz, reason text, events integer
) ON COMMIT DELETE ROWS

-- name: stage_positions
CREATE TEMP TABLE IF NOT EXISTS stage_positions (
    id bigint, user_id bigint, exchange text, symbol text, side text, quantity numeric, entry_price numeric, leverage integer, status text,
    realized_pnl numeric, opened_at timestamptz, closed_at timestamptz, follower_key text, whale_key text, mode text, filled numeric,
    pending numeric, reserved numeric, cost numeric, realized numeric, fee_base numeric, fee_quote numeric, funding numeric, dust numeric, drift numeric,
    updated_at timestamptz, version integer
) ON COMMIT DELETE ROWS

-- name: stage_equity
CREATE TEMP TABLE IF NOT EXISTS stage_equity (
    user_id bigint, venue text, follower_key text, equity numeric, available numeric, reported_at timestamptz, updated_at timestamptz,
    version integer
) ON COMMIT DELETE ROWS

-- name: stage_curve
CREATE TEMP TABLE IF NOT EXISTS stage_curve (
    user_id bigint, follower_key text, venue text, bucket_at timestamptz, equity numeric, available numeric
) ON COMMIT DELETE ROWS

-- name: merge_users
-- A row of older code that the log now tells about as well starts to count here.
INSERT INTO users AS t (
    id, follower_key, copy_trading_enabled, preferred_exchange, max_leverage, mode, paused, leverage_limit, limits, config_version,
    created_at, updated_at, version, origin
)
SELECT
    id, follower_key, copy_trading_enabled, preferred_exchange, max_leverage, mode, paused, leverage_limit, limits, config_version,
    created_at, updated_at, version, 'log'
FROM stage_users
ON CONFLICT (id) DO UPDATE SET
    follower_key = excluded.follower_key, copy_trading_enabled = excluded.copy_trading_enabled,
    preferred_exchange = excluded.preferred_exchange, max_leverage = excluded.max_leverage, mode = excluded.mode,
    paused = excluded.paused, leverage_limit = excluded.leverage_limit, limits = excluded.limits,
    config_version = excluded.config_version, updated_at = excluded.updated_at,
    version = CASE WHEN t.follower_key IS NULL THEN excluded.version ELSE t.version + excluded.version END

-- name: merge_follows
INSERT INTO user_whale_follows AS t (
    id, user_id, whale_id, follower_key, whale_key, auto_copy_enabled, trade_size_usdt, trade_size_percent, sizing, terms, config_version,
    unfollowed_at, created_at, updated_at, version, origin
)
SELECT
    id, user_id, whale_id, follower_key, whale_key, auto_copy_enabled,
    CASE WHEN trade_size_usdt < 1e12 THEN trade_size_usdt END, trade_size_percent, sizing, terms, config_version,
    unfollowed_at, created_at, updated_at, version, 'log'
FROM stage_follows
ON CONFLICT (user_id, whale_id) DO UPDATE SET
    follower_key = excluded.follower_key, whale_key = excluded.whale_key, auto_copy_enabled = excluded.auto_copy_enabled,
    trade_size_usdt = CASE WHEN excluded.terms IS NULL THEN t.trade_size_usdt ELSE excluded.trade_size_usdt END,
    trade_size_percent = CASE WHEN excluded.terms IS NULL THEN t.trade_size_percent ELSE excluded.trade_size_percent END,
    sizing = coalesce(excluded.sizing, t.sizing), terms = coalesce(excluded.terms, t.terms), config_version = excluded.config_version,
    unfollowed_at = excluded.unfollowed_at, updated_at = excluded.updated_at,
    version = CASE WHEN t.follower_key IS NULL THEN excluded.version ELSE t.version + excluded.version END

-- name: insert_signals
-- A row of the older system that was bridged becomes the signal's own; a signal that is told again keeps its row.
INSERT INTO whale_signals AS t (
    id, signal_key, whale_id, whale_key, symbol, side, quantity, fill_price, amount, price, detected_at, source, trade_type, priority, action, whale_order_id,
    position_before, position_after, whale_equity, leverage, expires_at, whale_time, published_at, received_at, source_partition,
    source_offset, held, status, origin, version
)
SELECT
    id, signal_key, whale_id, whale_key, symbol, side, quantity, fill_price, CASE WHEN quantity < 1e18 THEN quantity END,
    CASE WHEN fill_price < 1e18 THEN fill_price END, detected_at, source, trade_type, priority, action, whale_order_id,
    position_before, position_after, whale_equity, leverage, expires_at, whale_time, published_at, received_at, source_partition,
    source_offset, held, 'PENDING', 'log', 0
FROM stage_signals AS s
WHERE NOT EXISTS (SELECT 1 FROM whale_signals AS w WHERE w.signal_key = s.signal_key)
ORDER BY signal_key
ON CONFLICT (id) DO UPDATE SET
    signal_key = excluded.signal_key, whale_id = excluded.whale_id, whale_key = excluded.whale_key, symbol = excluded.symbol,
    side = excluded.side, quantity = excluded.quantity, fill_price = excluded.fill_price, amount = excluded.amount, price = excluded.price, detected_at = excluded.detected_at, source = excluded.source,
    trade_type = excluded.trade_type, priority = excluded.priority, action = excluded.action, whale_order_id = excluded.whale_order_id,
    position_before = excluded.position_before, position_after = excluded.position_after, whale_equity = excluded.whale_equity,
    leverage = excluded.leverage, expires_at = excluded.expires_at, whale_time = excluded.whale_time,
    published_at = excluded.published_at, received_at = excluded.received_at, source_partition = excluded.source_partition,
    source_offset = excluded.source_offset, held = excluded.held, status = excluded.status, trades_executed = 0,
    processed_at = NULL, error_message = NULL, version = 0
WHERE t.origin = 'legacy' AND t.signal_key IS NULL

-- name: lock_signals
SELECT count(*) FROM (
    SELECT 1 FROM whale_signals WHERE signal_key IN (SELECT signal_key FROM stage_signal_sums) ORDER BY signal_key FOR NO KEY UPDATE
) AS locked

-- name: add_signal_sums
UPDATE whale_signals AS t SET
    shards_admitted = n.admitted, shards_decided = n.decided, shards_expired = n.expired, followers = n.followers, copied = n.copied,
    orders_sent = n.sent, orders_ended = n.ended, trades_executed = n.filled, last_event_at = n.last_at, version = t.version + n.events,
    received_at = n.received_at, held = CASE WHEN n.released > 0 OR n.decided > 0 OR n.expired > 0 THEN '' ELSE t.held END,
    status = n.status,
    processed_at = CASE WHEN n.status IN ('PROCESSED', 'FAILED', 'EXPIRED') THEN n.last_at END,
    error_message = n.reason
FROM (
    SELECT
        sums.*,
        CASE
            WHEN expired >= %(shards)s THEN 'EXPIRED'
            WHEN decided + expired < %(shards)s THEN CASE WHEN decided + expired + sent > 0 THEN 'PROCESSING' ELSE 'PENDING' END
            WHEN ended < sent THEN 'PROCESSING'
            WHEN sent > 0 AND filled = 0 THEN 'FAILED'
            ELSE 'PROCESSED'
        END AS status
    FROM (
        SELECT
            w.id, s.events, s.released,
            w.shards_admitted + s.admitted AS admitted, w.shards_decided + s.decided AS decided, w.shards_expired + s.expired AS expired,
            w.followers + s.followers AS followers, w.copied + s.copied AS copied, w.orders_sent + s.orders_sent AS sent,
            w.orders_ended + s.orders_ended AS ended, w.trades_executed + s.orders_filled AS filled,
            greatest(w.last_event_at, s.last_at) AS last_at, least(w.received_at, s.first_at) AS received_at,
            greatest(w.error_message, nullif(s.reason, '')) AS reason
        FROM stage_signal_sums AS s JOIN whale_signals AS w ON w.signal_key = s.signal_key
    ) AS sums
) AS n
WHERE t.id = n.id

-- name: signal_numbers
SELECT signal_key, id FROM whale_signals WHERE signal_key = ANY(%s)

-- name: requested_orders
SELECT command_key, trim_scale(quantity), mode FROM trades WHERE command_key = ANY(%s)

-- name: end_trades
UPDATE trades AS t SET
    status = CASE WHEN t.mode = 'shadow' THEN t.status ELSE s.status END, price = coalesce(s.price, t.price),
    exchange_order_id = s.exchange_order_id, executed_at = s.executed_at, filled = s.filled, lot_quantity = s.lot_quantity,
    average_price = s.average_price, fee_base = s.fee_base, fee_quote = s.fee_quote, realized_pnl = s.realized_pnl,
    slippage_bps = s.slippage_bps, reason = s.reason, raw_code = s.raw_code, attempts = s.attempts, attempted_at = s.attempted_at,
    acknowledged_at = s.acknowledged_at, settled_at = s.settled_at, updated_at = s.updated_at, version = t.version + 1
FROM stage_trade_ends AS s
WHERE t.command_key = s.command_key

-- name: attempt_trades
UPDATE trades AS t SET
    status = CASE WHEN t.settled_at IS NULL THEN s.status ELSE t.status END,
    attempts = CASE WHEN t.settled_at IS NULL THEN greatest(t.attempts, s.attempts) ELSE t.attempts END,
    attempted_at = CASE WHEN t.settled_at IS NULL THEN coalesce(s.attempted_at, t.attempted_at) ELSE t.attempted_at END,
    unknown_at = coalesce(s.unknown_at, t.unknown_at),
    reason = CASE WHEN t.settled_at IS NULL THEN s.reason ELSE t.reason END,
    version = t.version + s.events
FROM stage_attempts AS s
WHERE t.command_key = s.command_key

-- name: known_commands
SELECT command_key FROM trades WHERE command_key = ANY(%s)

-- name: load_lots
SELECT
    p.user_id, p.exchange, p.symbol, p.side, p.mode, p.whale_key,
    p.id, p.leverage, p.realized, p.filled, p.pending, p.reserved, p.cost, p.fee_base, p.fee_quote, p.funding, p.dust, p.drift,
    p.opened_at::text, p.closed_at::text
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) AS k (user_id, exchange, symbol, side, mode, whale_key)
JOIN positions AS p ON p.user_id = k.user_id AND p.exchange = k.exchange AND p.symbol = k.symbol AND p.side = k.side AND p.mode = k.mode
    AND p.whale_key = k.whale_key AND p.origin = 'log'

-- name: merge_positions
INSERT INTO positions AS t (
    id, user_id, exchange, symbol, side, quantity, entry_price, leverage, status, realized_pnl, opened_at, closed_at, follower_key,
    whale_key, mode, filled, pending, reserved, cost, realized, fee_base, fee_quote, funding, dust, drift, updated_at, version, origin
)
SELECT
    id, user_id, exchange, symbol, side, quantity, entry_price, leverage, status, realized_pnl, opened_at, closed_at, follower_key,
    whale_key, mode, filled, pending, reserved, cost, realized, fee_base, fee_quote, funding, dust, drift, updated_at, version, 'log'
FROM stage_positions
ON CONFLICT (id) DO UPDATE SET
    quantity = excluded.quantity, entry_price = excluded.entry_price, leverage = excluded.leverage, status = excluded.status,
    realized_pnl = excluded.realized_pnl, opened_at = excluded.opened_at, closed_at = excluded.closed_at, filled = excluded.filled,
    pending = excluded.pending, reserved = excluded.reserved, cost = excluded.cost, realized = excluded.realized, fee_base = excluded.fee_base,
    fee_quote = excluded.fee_quote, funding = excluded.funding, dust = excluded.dust, drift = excluded.drift,
    updated_at = excluded.updated_at, version = t.version + excluded.version

-- name: merge_equity
INSERT INTO account_equity AS t (user_id, venue, follower_key, equity, available, reported_at, updated_at, version)
SELECT user_id, venue, follower_key, equity, available, reported_at, updated_at, version FROM stage_equity
ON CONFLICT (user_id, venue) DO UPDATE SET
    equity = excluded.equity, available = excluded.available, reported_at = excluded.reported_at, updated_at = excluded.updated_at,
    version = t.version + excluded.version

-- name: merge_curve
INSERT INTO equity_curve AS t (user_id, venue, bucket_at, equity, available)
SELECT user_id, venue, bucket_at, equity, available FROM stage_curve
ON CONFLICT (user_id, venue, bucket_at) DO UPDATE SET equity = excluded.equity, available = excluded.available

-- name: claim_generation
SELECT live FROM public.projection_generation FOR SHARE

-- name: oldest_month
SELECT live, oldest_month FROM public.projection_generation

-- name: advance_position
UPDATE projection_positions SET
    topic = %(topic)s, partition = %(partition)s, epoch = %(epoch)s, inbox_position = %(inbox_position)s, digest = %(digest)s,
    next_id = %(next_id)s, sources = %(sources)s, event_at = coalesce(%(event_at)s, event_at)
WHERE application_name = %(application_name)s AND notification_id = %(notification_id)s

-- name: begin_positions
INSERT INTO projection_positions (application_name, notification_id, topic, partition, epoch, inbox_position, digest, next_id)
SELECT %(topic)s || '[' || p || ']', 0, %(topic)s, p, -1, 0, %(digest)s, 1 FROM unnest(%(partitions)s::int[]) AS p
ON CONFLICT (application_name) DO NOTHING

-- name: load_positions
SELECT application_name, notification_id, epoch, inbox_position, digest, next_id FROM projection_positions WHERE topic = ANY(%s)

-- name: take_partition
SELECT pg_try_advisory_lock(%s, %s)

-- name: note_lag
UPDATE projection_positions SET end_offset = %(end_offset)s, lag_seconds = %(lag_seconds)s, checked_at = now()
WHERE application_name = %(application_name)s

-- name: lock_positions
SELECT application_name, notification_id FROM projection_positions WHERE application_name = ANY(%s) ORDER BY application_name FOR UPDATE

-- name: marks_from
SELECT coalesce(max(position) + 1, 0) FROM market_marks

-- name: merge_marks
INSERT INTO market_marks AS t (venue, symbol, price, marked_at, position)
SELECT venue, symbol, price, marked_at, position
FROM unnest(%s::text[], %s::text[], %s::numeric[], %s::timestamptz[], %s::bigint[]) AS m (venue, symbol, price, marked_at, position)
ON CONFLICT (venue, symbol) DO UPDATE SET price = excluded.price, marked_at = excluded.marked_at, position = excluded.position
WHERE t.marked_at <= excluded.marked_at
