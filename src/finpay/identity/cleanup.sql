-- Named queries of finpay.identity.cleanup: what no answer depends on any more.
--
-- Rows that a request has locked are skipped, and a chunk is taken at a time, so nobody waits.

-- name: delete_expired_refresh_tokens
-- An expired token and an unknown one get the same answer. $1: seconds that an access token lives,
-- which may have been made with it; $2: how many at most. now() and not clock_timestamp(), which is
-- no bound for an index.
WITH old AS (
    SELECT hash FROM identity.refresh_tokens
    WHERE expires_at < now() - make_interval(secs => $1)
    ORDER BY expires_at LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM identity.refresh_tokens t USING old WHERE t.hash = old.hash RETURNING t.session_id
