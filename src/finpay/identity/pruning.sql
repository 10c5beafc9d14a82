-- Named queries of finpay.identity.pruning: what no answer depends on any more.
--
-- Both skip rows that a request has locked, and take a chunk at a time, so nobody waits for them.

-- name: prune_refresh_tokens
-- An expired token and an unknown one get the same answer. $1: seconds that an access token lives,
-- which may have been made with it; $2: how many at most.
WITH old AS (
    SELECT hash FROM identity.refresh_tokens
    WHERE expires_at < clock_timestamp() - make_interval(secs => $1)
    ORDER BY expires_at LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM identity.refresh_tokens t USING old WHERE t.hash = old.hash RETURNING t.session_id

-- name: prune_sessions
-- Of these, the sessions that have no refresh token left: nothing can prolong them, and the last
-- access token has ended. The audit log keeps that they were. FOR UPDATE first, so that a token
-- which is made meanwhile, with a lock on its session, is seen.
WITH candidate AS (
    SELECT id FROM identity.sessions WHERE id = ANY($1::uuid[])
    ORDER BY id FOR UPDATE SKIP LOCKED
)
DELETE FROM identity.sessions s USING candidate c
WHERE s.id = c.id
  AND NOT EXISTS (SELECT FROM identity.refresh_tokens t WHERE t.session_id = s.id)
RETURNING s.id
