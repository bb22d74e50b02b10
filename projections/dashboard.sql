-- What the dashboard's pages and `remora explain` read, each statement under its name. `since` is the begin of the window that is shown.

-- name: story_signal
SELECT id, signal_key, whale_key, symbol, side, action, amount, price, priority, status, held, position_before, position_after,
    whale_order_id, source_partition, source_offset, whale_time, detected_at, expires_at, published_at, received_at, processed_at,
    error_message
FROM whale_signals
WHERE signal_key = %(subject)s OR signal_key = (SELECT cause FROM trades WHERE command_key = %(subject)s)

-- name: story_decisions
SELECT d.follower_key, d.outcome, d.reason, d.limit_value, d.found_value, d.venue, d.venue_symbol, d.direction, d.sizing, d.inputs,
    d.wanted_quote, d.final_quote, d.quantity, d.cuts, d.config_version, now.version AS current_version, d.decided_at,
    d.position >> 52 & 1023 AS shard, d.position >> 8 & ((1::bigint << 44) - 1) AS event_offset
FROM copy_decisions AS d
LEFT JOIN LATERAL (
    SELECT greatest(u.config_version, max(f.config_version)) AS version
    FROM users AS u LEFT JOIN user_whale_follows AS f ON f.follower_key = u.follower_key
    WHERE u.follower_key = d.follower_key GROUP BY u.config_version
) AS now ON true
WHERE d.signal_id = %(signal)s AND (%(follower)s::text IS NULL OR d.follower_key = %(follower)s)
ORDER BY d.follower_key

-- name: story_orders
SELECT follower_key, command_key, kind, side, quantity, status, reason, raw_code, exchange_order_id, filled, average_price, reference_price,
    slippage_bps, fee_base, fee_quote, realized_pnl, attempts, decided_at, attempted_at, acknowledged_at, settled_at, created_at
FROM trades
WHERE cause = %(cause)s AND (%(follower)s::text IS NULL OR follower_key = %(follower)s)
ORDER BY follower_key, decided_at, leg

-- name: board_gap
-- By whale: the parts of decision 0078. `perfect` less the parts is `actual`, which is summed on its own.
WITH orders AS (
    SELECT t.whale_key, t.user_id, t.exchange, t.symbol, t.signal_id, t.kind, t.filled, t.reference_price AS whale_price,
        t.average_price AS fill_price, t.decided_at <= t.detected_at + interval '1 second' AS prompt,
        CASE t.side WHEN 'buy' THEN 1 ELSE -1 END AS sign, (t.side = 'buy') = (t.kind = 'open') AS is_long,
        t.fee_quote + t.fee_base * coalesce(t.average_price, 0) AS fees,
        coalesce(m.price, first_value(t.reference_price) OVER (
            PARTITION BY t.exchange, t.symbol ORDER BY t.created_at DESC, t.id DESC
        )) AS last_price,
        row_number() OVER (PARTITION BY t.signal_id, t.user_id, t.kind ORDER BY t.leg) AS nth
    FROM trades AS t
    LEFT JOIN market_marks AS m ON m.venue = t.exchange AND m.symbol = t.symbol
    WHERE t.created_at >= %(since)s AND t.origin = 'log' AND t.signal_id IS NOT NULL AND t.mode <> 'shadow' AND t.reference_price > 0
        AND t.settled_at IS NOT NULL AND (%(follower)s::text IS NULL OR t.follower_key = %(follower)s)
), marked AS (
    SELECT o.*, coalesce((d.inputs ->> 'mark')::numeric, CASE WHEN o.prompt THEN o.whale_price END) AS mark,
        CASE WHEN o.nth = 1 AND o.kind = 'open' THEN d.wanted_quote / o.whale_price ELSE 0 END AS wanted
    FROM orders AS o
    LEFT JOIN copy_decisions AS d ON d.signal_id = o.signal_id AND d.user_id = o.user_id
), lots AS (
    SELECT whale_key, user_id, exchange, symbol, is_long, count(*) FILTER (WHERE filled > 0) AS fills,
        coalesce(sum(filled * fill_price), 0) AS notional,
        sum(sign * filled * (last_price - whale_price)) AS base,
        coalesce(sum(sign * filled * (mark - whale_price)), 0) AS delay,
        coalesce(sum(sign * filled * (fill_price - mark)), 0) AS slippage,
        coalesce(sum(sign * filled * (fill_price - whale_price)) FILTER (WHERE mark IS NULL), 0) AS unsplit,
        sum(fees) AS fees,
        coalesce(sum(sign * filled * (last_price - fill_price)), 0) - sum(fees) AS actual,
        sum(filled) FILTER (WHERE kind = 'open') AS got, sum(wanted) AS wanted
    FROM marked
    GROUP BY whale_key, user_id, exchange, symbol, is_long
), ideal AS (
    SELECT *, CASE WHEN got > 0 AND wanted > 0 THEN base * wanted / got ELSE base END AS perfect FROM lots
)
SELECT whale_key, sum(fills)::bigint AS fills, sum(notional) AS notional, sum(perfect) AS perfect, sum(perfect - base) AS sizing,
    sum(delay) AS delay, sum(slippage) AS slippage, sum(unsplit) AS unsplit, sum(fees) AS fees, sum(actual) AS actual
FROM ideal
GROUP BY whale_key
ORDER BY whale_key

-- name: board_funnel
SELECT count(*) AS valid, count(*) FILTER (WHERE shards_decided > 0) AS decided, count(*) FILTER (WHERE orders_sent > 0) AS sent,
    count(*) FILTER (WHERE trades_executed > 0) AS filled, coalesce(sum(followers), 0)::bigint AS decisions,
    coalesce(sum(copied), 0)::bigint AS copied, coalesce(sum(orders_sent), 0)::bigint AS orders_sent,
    coalesce(sum(trades_executed), 0)::bigint AS orders_filled, count(*) FILTER (WHERE upper(status) = 'PENDING') AS pending
FROM whale_signals
WHERE detected_at >= %(since)s AND signal_key IS NOT NULL

-- name: board_skips
SELECT reason, count(*) AS decisions
FROM copy_decisions
WHERE decided_at >= %(since)s AND outcome = 'skipped' AND (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
GROUP BY reason ORDER BY decisions DESC, reason LIMIT 8

-- name: board_latency
-- Milliseconds between stages of orders that a signal caused, and from the first to the last: p50 and p99.
SELECT count(*) AS orders,
    percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM published_at - detected_at) * 1000) AS published,
    percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM decided_at - published_at) * 1000) AS decided,
    percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM attempted_at - decided_at) * 1000) AS attempted,
    percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - attempted_at) * 1000) AS acknowledged,
    percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - published_at) * 1000) AS whole
FROM trades
WHERE created_at >= %(since)s AND origin = 'log' AND signal_id IS NOT NULL AND acknowledged_at IS NOT NULL

-- name: board_equity
-- The sum over all accounts at each five minutes: an account counts with its last report until the next one.
SELECT bucket_at, sum(change) OVER (ORDER BY bucket_at) AS equity
FROM (
    SELECT bucket_at, sum(equity - before) AS change
    FROM (
        SELECT greatest(bucket_at, %(since)s) AS bucket_at, equity,
            lag(equity, 1, 0) OVER (PARTITION BY user_id, venue ORDER BY c.bucket_at) AS before
        FROM equity_curve AS c
        WHERE c.bucket_at >= %(since)s::timestamptz - interval '1 day' AND (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
    ) AS reports
    GROUP BY bucket_at
) AS changes
ORDER BY bucket_at

-- name: board_equity_now
SELECT count(*) AS accounts, sum(equity) AS equity, sum(available) AS available, max(reported_at) AS reported_at
FROM account_equity
WHERE %(user_id)s::bigint IS NULL OR user_id = %(user_id)s

-- name: board_fills
SELECT command_key, follower_key, whale_key, exchange, symbol, side, kind, filled, average_price, slippage_bps, settled_at, mode,
    (extract(epoch FROM settled_at - published_at) * 1000)::bigint AS took_ms
FROM trades
WHERE created_at >= %(since)s AND filled > 0 AND (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s

-- name: board_whales
WITH told AS (
    SELECT whale_key, count(*) AS signals, max(detected_at) AS last_at, sum(followers)::bigint AS decisions, sum(copied)::bigint AS copied,
        sum(trades_executed)::bigint AS filled
    FROM whale_signals WHERE detected_at >= %(since)s AND whale_key IS NOT NULL GROUP BY whale_key
), followed AS (
    SELECT whale_key, count(*) FILTER (WHERE unfollowed_at IS NULL) AS followers
    FROM user_whale_follows WHERE whale_key IS NOT NULL GROUP BY whale_key
)
SELECT whale_key, coalesce(signals, 0) AS signals, last_at, coalesce(decisions, 0) AS decisions, coalesce(copied, 0) AS copied,
    coalesce(filled, 0) AS filled, coalesce(followers, 0) AS followers
FROM told FULL JOIN followed USING (whale_key)
ORDER BY last_at DESC NULLS LAST, whale_key LIMIT %(limit)s

-- name: board_whale_fills
SELECT id, signal_key, symbol, action, side, coalesce(quantity, amount) AS quantity, coalesce(fill_price, price) AS price, position_before,
    position_after, status, followers, copied, orders_sent, trades_executed, detected_at
FROM whale_signals
WHERE whale_id = %(whale_id)s AND (%(before)s::timestamptz IS NULL OR (detected_at, id) < (%(before)s, %(before_id)s::bigint))
ORDER BY detected_at DESC, id DESC LIMIT %(limit)s

-- name: board_copies
-- The copies under some signals, at most `each` of one.
SELECT c.*
FROM unnest(%(signals)s::bigint[]) AS s (id)
CROSS JOIN LATERAL (
    SELECT t.signal_id, t.command_key, t.follower_key, t.exchange, t.side, t.kind, t.quantity, t.filled, t.average_price, t.slippage_bps,
        t.status, t.reason, (extract(epoch FROM t.settled_at - t.published_at) * 1000)::bigint AS took_ms
    FROM trades AS t WHERE t.signal_id = s.id ORDER BY t.id LIMIT %(each)s
) AS c

-- name: board_whale_follows
SELECT follower_key, auto_copy_enabled, sizing, trade_size_usdt, trade_size_percent, terms, unfollowed_at
FROM user_whale_follows
WHERE whale_id = %(whale_id)s ORDER BY unfollowed_at NULLS FIRST, follower_key LIMIT %(limit)s

-- name: board_followers
SELECT u.id, u.follower_key, u.mode, u.preferred_exchange, u.copy_trading_enabled, u.paused, e.equity, p.markets, f.whales
FROM users AS u
LEFT JOIN account_equity AS e ON e.user_id = u.id AND e.venue = u.preferred_exchange
LEFT JOIN LATERAL (SELECT count(*) AS markets FROM positions AS p WHERE p.user_id = u.id AND p.status = 'open') AS p ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS whales FROM user_whale_follows AS f WHERE f.user_id = u.id AND f.unfollowed_at IS NULL
) AS f ON true
WHERE u.follower_key > %(after)s AND (%(only)s::text IS NULL OR u.follower_key = %(only)s)
    AND (%(search)s::text IS NULL OR strpos(lower(u.follower_key), lower(%(search)s)) > 0)
ORDER BY u.follower_key LIMIT %(limit)s

-- name: board_follower
SELECT u.id, u.follower_key, u.mode, u.preferred_exchange, u.copy_trading_enabled, u.paused, u.leverage_limit, u.limits, u.config_version,
    u.created_at, u.updated_at
FROM users AS u WHERE u.follower_key = %(follower)s

-- name: board_follows
SELECT whale_key, auto_copy_enabled, sizing, trade_size_usdt, trade_size_percent, terms, unfollowed_at, config_version
FROM user_whale_follows WHERE user_id = %(user_id)s ORDER BY unfollowed_at NULLS FIRST, whale_key LIMIT 200

-- name: board_lots
-- `open_result`: what is held at the newest mark less what it did cost.
SELECT p.id, p.whale_key, p.mode, p.exchange, p.symbol, p.side, p.status, p.filled, p.pending, p.reserved, p.entry_price, p.cost,
    p.realized, p.fee_quote, p.funding, p.leverage, p.opened_at,
    CASE p.side WHEN 'short' THEN -1 ELSE 1 END * (p.filled * m.price - p.cost) AS open_result
FROM positions AS p
LEFT JOIN market_marks AS m ON m.venue = p.exchange AND m.symbol = p.symbol
WHERE p.user_id = %(user_id)s AND (p.status <> 'closed' OR p.realized <> 0)
ORDER BY p.whale_key, p.status = 'closed', p.symbol LIMIT 200

-- name: board_used
-- What stands against a follower's limits: notional by market, orders under way included; today's realised result; the last open; the
-- equity of the account that copies, now and at its best.
WITH account AS (SELECT id AS user_id, preferred_exchange AS venue FROM users WHERE id = %(user_id)s)
SELECT
    (SELECT coalesce(jsonb_agg(m.quote), '[]') FROM (
        SELECT sum(cost + pending * coalesce(cost / nullif(filled, 0), 0))::text AS quote FROM positions
        WHERE user_id = %(user_id)s AND status <> 'closed' AND mode <> 'shadow' GROUP BY exchange, symbol
    ) AS m) AS markets,
    (SELECT coalesce(sum(realized_pnl - fee_quote - fee_base * coalesce(average_price, 0)), 0) FROM trades
        WHERE user_id = %(user_id)s AND created_at >= date_trunc('day', now()) AND mode <> 'shadow') AS today,
    (SELECT (extract(epoch FROM now() - max(created_at)) * 1000)::bigint FROM trades
        WHERE user_id = %(user_id)s AND kind = 'open' AND created_at >= now() - interval '1 day') AS since_open_ms,
    (SELECT max(slippage_bps) FROM trades
        WHERE user_id = %(user_id)s AND kind = 'open' AND created_at >= now() - interval '1 day') AS worst_bps,
    (SELECT equity FROM account_equity JOIN account USING (user_id, venue)) AS equity,
    (SELECT max(equity) FROM equity_curve JOIN account USING (user_id, venue) WHERE bucket_at >= now() - interval '90 days') AS best

-- name: board_order
SELECT t.*, d.outcome, d.reason AS open_reason, d.limit_value, d.found_value, d.sizing, d.wanted_quote, d.final_quote, d.inputs, d.cuts,
    d.config_version, d.position >> 52 & 1023 AS shard, d.position >> 8 & ((1::bigint << 44) - 1) AS event_offset,
    t.id >> 52 & 1023 AS order_shard, t.id >> 8 & ((1::bigint << 44) - 1) AS order_offset
FROM (
    SELECT id, user_id, signal_id, command_key, follower_key, whale_key, cause, kind, leg, mode, exchange, symbol, side, quantity, status,
        reason, raw_code, exchange_order_id, filled, average_price, limit_price, reference_price, slippage_bps, fee_base, fee_quote,
        realized_pnl, requested_leverage, attempts, detected_at, published_at, received_at, decided_at, attempted_at, unknown_at,
        acknowledged_at, settled_at, expires_at, created_at
    FROM trades WHERE command_key = %(order)s
) AS t
LEFT JOIN copy_decisions AS d ON d.signal_id = t.signal_id AND d.user_id = t.user_id

-- name: board_actions
SELECT id, action FROM whale_signals WHERE id = ANY(%(signals)s)
