-- What is read from the older system, whole rows as JSON: it may have our columns or not. Rows of the log are none of its own.

-- name: older_users
SELECT row_to_json(t)::text FROM users AS t WHERE coalesce(to_jsonb(t) ->> 'origin', 'legacy') = 'legacy' ORDER BY t.id

-- name: older_follows
SELECT row_to_json(t)::text FROM user_whale_follows AS t
WHERE coalesce(to_jsonb(t) ->> 'origin', 'legacy') = 'legacy' ORDER BY t.user_id, t.whale_id

-- name: pending_signals
SELECT row_to_json(t)::text FROM whale_signals AS t
WHERE t.status IN ('pending', 'PENDING') AND coalesce(to_jsonb(t) ->> 'origin', 'legacy') = 'legacy' AND to_jsonb(t) ->> 'last_event_at' IS NULL
ORDER BY t.detected_at, t.id
