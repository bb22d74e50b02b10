-- Followers, whales, accounts and curves as the API lists them, each statement under its name. `{filters}` as in `queries.sql`.

-- name: list_followers
SELECT
    t.id, t.follower_key, t.copy_trading_enabled, t.paused, t.mode, t.preferred_exchange, t.leverage_limit, t.limits, t.config_version,
    t.created_at, t.updated_at, t.version,
    (SELECT count(*) FROM user_whale_follows AS f WHERE f.user_id = t.id AND f.unfollowed_at IS NULL) AS follows
FROM users AS t
WHERE t.follower_key IS NOT NULL {filters}
ORDER BY t.id
LIMIT %(limit)s

-- name: follows_of
SELECT whale_key, auto_copy_enabled, sizing, terms, config_version, created_at, updated_at, unfollowed_at, version
FROM user_whale_follows
WHERE user_id = %(user_id)s AND whale_key IS NOT NULL
ORDER BY unfollowed_at IS NOT NULL, whale_key
LIMIT 1000

-- name: get_position
SELECT id, follower_key, whale_key, mode, exchange, symbol, side, status FROM positions WHERE id = %(id)s AND origin = 'log'

-- name: list_whales
-- One step of an index for each whale, however many signals it has: first those of the signals, then those that are only followed.
WITH RECURSIVE seen AS (
    (SELECT whale_id FROM whale_signals WHERE whale_id > %(after)s ORDER BY whale_id LIMIT 1)
    UNION ALL
    SELECT (SELECT s.whale_id FROM whale_signals AS s WHERE s.whale_id > seen.whale_id ORDER BY s.whale_id LIMIT 1)
    FROM seen WHERE seen.whale_id IS NOT NULL
), followed AS (
    (SELECT whale_id FROM user_whale_follows WHERE whale_id > %(after)s ORDER BY whale_id LIMIT 1)
    UNION ALL
    SELECT (SELECT f.whale_id FROM user_whale_follows AS f WHERE f.whale_id > followed.whale_id ORDER BY f.whale_id LIMIT 1)
    FROM followed WHERE followed.whale_id IS NOT NULL
), known AS (
    (SELECT whale_id FROM seen WHERE whale_id IS NOT NULL LIMIT %(limit)s)
    UNION
    (SELECT whale_id FROM followed WHERE whale_id IS NOT NULL LIMIT %(limit)s)
), chosen AS (SELECT whale_id FROM known ORDER BY whale_id LIMIT %(limit)s)
SELECT
    c.whale_id, coalesce(last.whale_key, follow.whale_key) AS whale_key, coalesce(follow.followers, 0) AS followers,
    last.signal_key AS last_signal, last.detected_at AS last_detected_at, last.symbol AS last_symbol
FROM chosen AS c
LEFT JOIN LATERAL (
    SELECT max(f.whale_key) AS whale_key, count(*) FILTER (WHERE f.unfollowed_at IS NULL) AS followers
    FROM user_whale_follows AS f WHERE f.whale_id = c.whale_id
) AS follow ON true
LEFT JOIN LATERAL (
    SELECT u.whale_key, u.signal_key, u.detected_at, u.symbol
    FROM unnest(ARRAY['PENDING', 'PROCESSING', 'PROCESSED', 'FAILED', 'EXPIRED']) AS q (status)
    CROSS JOIN LATERAL (
        SELECT s.whale_key, s.signal_key, s.detected_at, s.symbol FROM whale_signals AS s
        WHERE s.whale_id = c.whale_id AND s.status = q.status ORDER BY s.detected_at DESC LIMIT 1
    ) AS u
    ORDER BY u.detected_at DESC LIMIT 1
) AS last ON true
ORDER BY c.whale_id

-- name: whale_counts
-- What became of a whale's signals since a time, by status.
SELECT upper(status) AS status, count(*) AS signals, coalesce(sum(copied), 0) AS copied, coalesce(sum(trades_executed), 0) AS trades_executed
FROM whale_signals WHERE whale_id = %(whale_id)s AND detected_at >= %(since)s
GROUP BY 1 ORDER BY 1

-- name: whale_holds
-- The newest position of a whale on each symbol, as its last signals told it.
SELECT DISTINCT ON (l.symbol) l.symbol, l.position_after AS position, l.detected_at, l.signal_key
FROM unnest(ARRAY['PENDING', 'PROCESSING', 'PROCESSED', 'FAILED', 'EXPIRED']) AS q (status)
CROSS JOIN LATERAL (
    SELECT s.symbol, s.position_after, s.detected_at, s.signal_key FROM whale_signals AS s
    WHERE s.whale_id = %(whale_id)s AND s.status = q.status ORDER BY s.detected_at DESC LIMIT 500
) AS l
WHERE l.position_after IS NOT NULL
ORDER BY l.symbol, l.detected_at DESC

-- name: list_accounts
SELECT t.user_id, t.venue, t.follower_key, t.equity, t.available, t.reported_at, t.updated_at, t.version
FROM account_equity AS t
WHERE true {filters}
ORDER BY t.user_id, t.venue
LIMIT %(limit)s

-- name: equity_page
-- A curve, newest first.
SELECT t.venue, t.bucket_at, t.equity, t.available
FROM equity_curve AS t
WHERE true {filters}
ORDER BY t.bucket_at DESC, t.venue DESC
LIMIT %(limit)s

-- name: lag
SELECT
    topic, partition, notification_id AS position, end_offset, lag_seconds, event_at,
    (extract(epoch FROM now() - checked_at) * 1000)::bigint AS checked_ms_ago
FROM projection_positions
ORDER BY topic, partition
