-- Named queries of finpay.ledger.continuous_verification.

-- name: verify_slice
SELECT is_done, violations, messages FROM ledger.verify_slice($1, $2, $3)

-- name: get_state
-- A worker begins within seconds of due_at: two minutes later none is verifying.
SELECT violations, checked_through, succeeded_at,
       checked_at IS NOT NULL AND due_at > clock_timestamp() - interval '2 minutes'
           AS checked_recently
FROM ledger.verification_state
