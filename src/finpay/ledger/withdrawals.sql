-- name: get_withdrawal
SELECT id, account_id, status, amount, currency, destination::text, description, reference, reason,
       transaction_id, created_at
FROM ledger.withdrawals WHERE account_id = $1 AND id = $2

-- name: list_withdrawals
-- Newest first, before an id.
SELECT id, account_id, status, amount, currency, destination::text, description, reference, reason,
       transaction_id, created_at
FROM ledger.withdrawals
WHERE account_id = $1 AND id < $2 AND ($3::text IS NULL OR status::text = $3)
ORDER BY id DESC
LIMIT $4
