-- Named queries of finpay.ledger.withdrawals.

-- name: get_withdrawal
SELECT id, account_id, status, amount, currency, destination::text, description, reference, reason,
       transaction_id, created_at
FROM ledger.withdrawals WHERE account_id = $1 AND id = $2

-- name: list_withdrawals
-- Newest first, before an id. The status has no index, so it stops after 10 000 rows: see
-- get_scanned_withdrawal.
SELECT id, account_id, status, amount, currency, destination::text, description, reference, reason,
       transaction_id, created_at
FROM (SELECT * FROM ledger.withdrawals
      WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT 10000) w
WHERE $3::text IS NULL OR status::text = $3
ORDER BY id DESC
LIMIT $4

-- name: get_scanned_withdrawal
-- How far list_withdrawals reads: null where it comes to the end.
SELECT id FROM ledger.withdrawals
WHERE account_id = $1 AND id < $2 ORDER BY id DESC OFFSET 9999 LIMIT 1
