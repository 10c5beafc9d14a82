-- Named queries of finpay.identity.operator_sessions.

-- name: lock_user
-- A login locks the same row: its session is among the revoked, or it begins afterwards.
SELECT id FROM identity.users WHERE id = $1 FOR NO KEY UPDATE

-- name: revoke_all_sessions
UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = 'revoked'
WHERE user_id = $1 AND ended_at IS NULL RETURNING id

-- name: record_end
-- Of the user, also where no session was active.
SELECT audit.record($2, 'sessions.ended', $1, $3, $4, json_build_object('reason', $5::text))
