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

-- name: record_revoked_sessions
-- The audit log names the operator, the user's events do not.
SELECT audit.record_each($3, 'session.revoked', $2, $4, $5,
                         json_build_object('reason', 'revoked')),
       outbox.record_events($1, 'session.revoked', array_agg(json_build_object(
           'id', ledger.type_id('ses', s.id), 'object', 'session',
           'created_at', ledger.format_timestamp(s.created_at),
           'ended_at', ledger.format_timestamp(s.ended_at),
           'reason', s.end_reason) ORDER BY s.id),
       NULL, NULL, '{"ended_at":null,"reason":null}')
FROM identity.sessions s WHERE s.id = ANY ($2)
HAVING count(*) > 0
