-- What `remora shadow diff` reads: orders of mode shadow beside trades of a reference, summed by follower, signal and side.

-- name: shadow_orders
SELECT follower_key AS follower, cause AS signal, side, min(symbol) AS symbol, sum(quantity) AS quantity,
    sum(quantity * coalesce(reference_price, price)) / nullif(sum(quantity), 0) AS price, 'shadow' AS status, min(created_at) AS at
FROM trades
WHERE origin = 'log' AND mode = 'shadow' AND signal_id IS NOT NULL AND created_at >= now() - make_interval(hours => %(hours)s)
    AND (%(follower)s::text IS NULL OR follower_key = %(follower)s)
GROUP BY 1, 2, 3

-- name: trades_of
SELECT follower_key AS follower, cause AS signal, side, min(symbol) AS symbol, sum(quantity) AS quantity,
    sum(filled * average_price) / nullif(sum(filled), 0) AS price, string_agg(DISTINCT status, ', ') AS status, min(created_at) AS at
FROM trades
WHERE origin = 'log' AND mode <> 'shadow' AND signal_id IS NOT NULL AND created_at >= now() - make_interval(hours => %(hours)s)
    AND follower_key = %(follower)s
GROUP BY 1, 2, 3

-- name: older_trades
-- Of the older system, in its database or in ours; the follower and the signal under the names that they have with us.
SELECT 'legacy-' || t.user_id AS follower, 'legacy-' || t.signal_id AS signal, t.side, min(t.symbol) AS symbol, sum(t.quantity) AS quantity,
    sum(t.quantity * t.price) / nullif(sum(t.quantity) FILTER (WHERE t.price IS NOT NULL), 0) AS price,
    string_agg(DISTINCT t.status, ', ') AS status, min(t.created_at) AS at
FROM trades AS t
WHERE coalesce(to_jsonb(t) ->> 'origin', 'legacy') = 'legacy' AND t.signal_id IS NOT NULL
    AND t.created_at >= now() - make_interval(hours => %(hours)s)
    AND (%(follower)s::text IS NULL OR 'legacy-' || t.user_id = %(follower)s)
GROUP BY t.user_id, t.signal_id, t.side

-- name: decided
SELECT signal_key AS signal, outcome, reason FROM copy_decisions WHERE follower_key = %(follower)s AND signal_key = ANY(%(signals)s)
