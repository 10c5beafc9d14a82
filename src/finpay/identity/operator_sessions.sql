-- Named queries of finpay.identity.operator_sessions.

-- name: record_end
-- Of the user, also where no session was active.
SELECT audit.record($2, 'sessions.ended', $1, $3, $4, json_build_object('reason', $5::text))
