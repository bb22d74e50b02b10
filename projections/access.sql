-- API keys, sessions and remembered answers (schema `access`), each statement under its name. Only hashes are stored.

-- name: find_key
SELECT key_id, secret_hash, name, scopes, follower_id, expires_at, revoked_at, last_used_at,
    coalesce(revoked_at <= now(), false) AS revoked, coalesce(expires_at <= now(), false) AS expired
FROM access.api_keys
WHERE key_id = %(key_id)s

-- name: find_session
SELECT k.key_id, k.name, k.scopes, k.follower_id, s.expires_at,
    coalesce(k.revoked_at <= now(), false) AS revoked, s.expires_at <= now() OR coalesce(k.expires_at <= now(), false) AS expired
FROM access.sessions AS s
JOIN access.api_keys AS k USING (key_id)
WHERE s.token_hash = %(token_hash)s

-- name: note_use
-- At most one write a minute and key.
UPDATE access.api_keys SET last_used_at = now()
WHERE key_id = %(key_id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
RETURNING key_id

-- name: add_key
INSERT INTO access.api_keys (key_id, secret_hash, name, scopes, follower_id, expires_at)
VALUES (%(key_id)s, %(secret_hash)s, %(name)s, %(scopes)s, %(follower_id)s, %(expires_at)s)
RETURNING key_id, name, scopes, follower_id, created_at, expires_at, revoked_at, last_used_at

-- name: list_keys
SELECT key_id, name, scopes, follower_id, created_at, expires_at, revoked_at, last_used_at FROM access.api_keys ORDER BY created_at, key_id

-- name: revoke_key
UPDATE access.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %(key_id)s
RETURNING key_id, name, scopes, follower_id, created_at, expires_at, revoked_at, last_used_at

-- name: add_session
-- Old ones go on the way.
WITH gone AS (DELETE FROM access.sessions WHERE expires_at < now())
INSERT INTO access.sessions (token_hash, key_id, expires_at)
SELECT %(token_hash)s, key_id, least(now() + make_interval(secs => %(seconds)s), expires_at) FROM access.api_keys WHERE key_id = %(key_id)s
RETURNING expires_at

-- name: end_session
DELETE FROM access.sessions WHERE token_hash = %(token_hash)s RETURNING key_id

-- name: claim_answer
-- Who gets `mine` answers the request. One that nobody answered can be taken over once its time is up. Remembered for a week.
WITH gone AS (DELETE FROM access.answers WHERE created_at < now() - interval '7 days' AND request_key <> %(request_key)s),
claimed AS (
    INSERT INTO access.answers AS a (request_key, request_hash, busy_until)
    VALUES (%(request_key)s, %(request_hash)s, now() + make_interval(secs => %(seconds)s))
    ON CONFLICT (request_key) DO UPDATE SET busy_until = excluded.busy_until
    WHERE a.answer IS NULL AND a.request_hash = excluded.request_hash AND a.busy_until < now()
    RETURNING request_hash, answer, created_at, true AS mine, xmax = 0 AS fresh
)
SELECT request_hash, answer, created_at, mine, fresh FROM claimed
UNION ALL
SELECT request_hash, answer, created_at, false, false FROM access.answers
WHERE request_key = %(request_key)s AND NOT EXISTS (SELECT FROM claimed)

-- name: keep_answer
-- The first answer stays.
UPDATE access.answers SET answer = coalesce(answer, %(answer)s) WHERE request_key = %(request_key)s RETURNING answer

-- name: free_answer
-- The request may have come to nothing: whoever asks again may answer at once.
UPDATE access.answers SET busy_until = now() - interval '1 second' WHERE request_key = %(request_key)s AND answer IS NULL RETURNING request_key

-- name: drop_answer
-- The request was refused: nothing was done, nothing is remembered.
DELETE FROM access.answers WHERE request_key = %(request_key)s AND answer IS NULL RETURNING request_key
