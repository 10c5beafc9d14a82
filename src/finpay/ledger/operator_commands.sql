-- Each command begins with its origin: operator (null on the command line), key, fingerprint,
-- request id, address, the amounts above which a second operator has to approve, and the problems
-- of refusals.

-- name: create_deposit
SELECT outcome, http_status, answer, fingerprint, transaction_id, users
FROM ledger.deposit(
    ROW($1, $2, $3, $4, $5, $6, $7)::ledger.operator_origin, $8, $9, $10, $11, $12)

-- name: end_withdrawal
SELECT outcome, http_status, answer, fingerprint, transaction_id, users
FROM ledger.complete_withdrawal(
    ROW($1, $2, $3, $4, $5, $6, $7)::ledger.operator_origin, $8, $9, $10)

-- name: cancel_withdrawal
SELECT outcome, http_status, answer, fingerprint, transaction_id, users
FROM ledger.reject_withdrawal(
    ROW($1, $2, $3, $4, $5, $6, $7)::ledger.operator_origin, $8, $9)

-- name: create_refund
SELECT outcome, http_status, answer, fingerprint, transaction_id, users
FROM ledger.refund_transaction(
    ROW($1, $2, $3, $4, $5, $6, $7)::ledger.operator_origin, $8, $9, $10, $11)

-- name: release_hold
SELECT outcome, http_status, answer, fingerprint, transaction_id, users
FROM ledger.void_hold(
    ROW($1, $2, $3, $4, $5, $6, $7)::ledger.operator_origin, $8)

-- name: set_limits
SELECT outcome, http_status, answer, fingerprint, transaction_id, users
FROM ledger.set_limits(
    ROW($1, $2, $3, $4, $5, $6, $7)::ledger.operator_origin, $8, $9, $10, $11, $12)

-- name: set_status
SELECT outcome, http_status, answer, fingerprint, transaction_id, users
FROM ledger.change_status(
    ROW($1, $2, $3, $4, $5, $6, $7)::ledger.operator_origin, $8, $9, $10)

-- name: end_approval
SELECT outcome, http_status, answer, fingerprint, transaction_id, users
FROM ledger.decide_approval(
    ROW($1, $2, $3, $4, $5, $6, $7)::ledger.operator_origin, $8, $9, $10)

-- name: list_withdrawals_of_all
-- Newest first, before an id; those that wait are read by their own index.
SELECT w.id, w.account_id, w.status, w.amount, w.currency, w.destination::text, w.description,
       w.reference, w.reason, w.transaction_id, w.created_at
FROM ledger.withdrawals w
WHERE w.id < $1 AND ($2::text IS NULL OR w.status::text = $2)
  AND ($2::text IS DISTINCT FROM 'pending' OR w.status = 'pending')
ORDER BY w.id DESC
LIMIT $3

-- name: get_account
SELECT a.id, a.balance, a.held, a.currency, a.status, a.version, a.sequence,
       ledger.limits_object(a)::text AS limits, a.created_at
FROM ledger.accounts a WHERE a.id = $1 AND a.user_id IS NOT NULL

-- name: get_account_id_by_email
-- Where FinPay sends mails, an address is that of the user who has verified it.
SELECT a.id FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
WHERE u.email = $1 AND identity.can_be_found(u.email_verified_at)
