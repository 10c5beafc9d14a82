-- Named queries of finpay.identity.cleanup: rows that no response depends on.
--
-- Locked rows are skipped and a chunk is small, so no request waits.

-- name: delete_expired_refresh_tokens
-- An expired token is refused like an unknown one. $1: lifetime of an access token in seconds,
-- because one may have been issued with it; $2: maximum number of rows. now() is stable, so the
-- index on expires_at can be used; clock_timestamp() is volatile.
WITH old AS (
    SELECT hash FROM identity.refresh_tokens
    WHERE expires_at < now() - make_interval(secs => $1)
    ORDER BY expires_at LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM identity.refresh_tokens t USING old WHERE t.hash = old.hash RETURNING t.session_id

-- name: delete_old_requests
-- $1: days for which they are shown; $2: maximum number of rows.
WITH old AS (
    SELECT user_id, created_at, number FROM identity.requests
    WHERE created_at < now() - make_interval(days => $1)
    ORDER BY created_at LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM identity.requests r USING old
WHERE (r.user_id, r.created_at, r.number) = (old.user_id, old.created_at, old.number)
RETURNING 1 AS deleted

-- name: delete_expired_challenges
DELETE FROM identity.login_challenges WHERE hash IN (
    SELECT hash FROM identity.login_challenges WHERE expires_at < now()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
