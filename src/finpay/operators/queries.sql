-- Named queries of finpay.operators. Lists are newest first, before an id. A filter without an
-- index reads at most 10 000 rows.

-- name: list_users
-- Those whose account is not active have an index of their own.
SELECT u.id, u.email, u.name, u.role, a.id AS account_id, a.status, a.currency, u.created_at,
       u.email_verified_at IS NOT NULL AS email_verified, u.second_factor
FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
WHERE u.id < $1
  AND ($2::text IS NULL OR u.email = $2)
  AND ($3::text IS NULL OR a.status = $3::ledger.account_status)
ORDER BY u.id DESC
LIMIT $4

-- name: list_users_not_active
SELECT u.id, u.email, u.name, u.role, a.id AS account_id, a.status, a.currency, u.created_at,
       u.email_verified_at IS NOT NULL AS email_verified, u.second_factor
FROM ledger.accounts a JOIN identity.users u ON u.id = a.user_id
WHERE a.user_id < $1
  AND ($2::text IS NULL OR u.email = $2)
  AND a.status <> 'active' AND a.status = $3::ledger.account_status
ORDER BY a.user_id DESC
LIMIT $4

-- name: get_user
SELECT u.id, u.email, u.name, u.role, a.id AS account_id, a.status, a.currency, u.created_at,
       u.email_verified_at IS NOT NULL AS email_verified, u.second_factor
FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
WHERE u.id = $1

-- name: get_account
SELECT a.id, a.balance, a.held, a.currency, a.status, a.version, a.sequence,
       ledger.limits_object(a)::text AS limits, a.created_at, a.user_id
FROM ledger.accounts a WHERE a.id = $1 AND a.user_id IS NOT NULL

-- name: get_account_id_by_email
-- Where FinPay sends mails, an address is that of the user who has verified it.
SELECT a.id FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
WHERE u.email = $1 AND identity.can_be_found(u.email_verified_at)

-- name: list_status_changes
-- Of one account, before a sequence.
SELECT sequence, status, reason, operator_id, created_at
FROM ledger.status_changes WHERE account_id = $1 AND sequence < $2
ORDER BY sequence DESC
LIMIT $3

-- name: get_transaction
SELECT ledger.operator_transaction(
    t, COALESCE((SELECT r.reference FROM ledger.payment_references r WHERE r.transaction_id = $1), (
        SELECT w.reference FROM ledger.withdrawals w
        WHERE t.type = 'withdrawal' AND w.id = t.origin_id))) AS answer
FROM ledger.transactions t
WHERE t.id = $1

-- name: list_transactions
-- $2: an id below all of the time range. The ids of one process rise with their time.
WITH page AS (
    SELECT t.*
    FROM (SELECT * FROM ledger.transactions WHERE id < $1 AND id >= $2
          ORDER BY id DESC LIMIT 10000) t
    WHERE ($3::text IS NULL OR t.type::text = $3)
      AND ($4::text IS NULL OR t.status::text = $4)
      AND ($5::text IS NULL OR t.currency = $5)
      AND ($6::timestamptz IS NULL OR t.created_at >= $6)
      AND ($7::timestamptz IS NULL OR t.created_at < $7)
      AND ($8::bigint IS NULL OR t.amount >= $8)
      AND ($9::bigint IS NULL OR t.amount <= $9)
    ORDER BY t.id DESC LIMIT $10
)
SELECT t.id, ledger.operator_transaction(
    t, COALESCE(r.reference, (
        SELECT w.reference FROM ledger.withdrawals w
        WHERE t.type = 'withdrawal' AND w.id = t.origin_id))) AS answer
FROM page p
CROSS JOIN LATERAL (SELECT * FROM ledger.transactions WHERE id = p.id OFFSET 0) t
LEFT JOIN LATERAL (
    SELECT reference FROM ledger.payment_references WHERE transaction_id = p.id OFFSET 0) r ON true
ORDER BY p.id DESC

-- name: get_scanned_transaction
-- How far list_transactions reads with its first two arguments; no row if it reads all.
SELECT id FROM ledger.transactions WHERE id < $1 AND id >= $2
ORDER BY id DESC OFFSET 9999 LIMIT 1

-- name: list_approvals
SELECT p.id, ledger.approval_object(p) AS answer
FROM ledger.approvals p
CROSS JOIN LATERAL (
    SELECT CASE WHEN p.status = 'pending' AND p.expires_at <= statement_timestamp()
                THEN 'expired' ELSE p.status END AS status
) s
WHERE p.id < $1
  AND ($2::text IS NULL OR s.status = $2)
  AND ($2::text IS DISTINCT FROM 'pending' OR p.status = 'pending')
ORDER BY p.id DESC
LIMIT $3

-- name: get_approval
SELECT ledger.approval_object(p) AS answer FROM ledger.approvals p WHERE p.id = $1

-- name: get_withdrawal
SELECT w.id, w.account_id, w.status, w.amount, w.currency, w.destination::text, w.description,
       w.reference, w.reason, w.transaction_id, w.created_at
FROM ledger.withdrawals w WHERE w.id = $1

-- name: list_audit_rows
-- Of a range of time, $2 and $3 are bounds of its ids.
WITH page AS (
    SELECT l.*
    FROM (SELECT * FROM audit.log WHERE id < LEAST($1::bigint, $3::bigint) AND id >= $2
          ORDER BY id DESC LIMIT 10000) l
    WHERE l.created_at >= $4 AND l.created_at < $5
      AND ($6::text IS NULL OR l.action = $6)
      AND ($7::uuid IS NULL OR l.actor_id = $7)
      AND ($8::uuid IS NULL OR l.subject_id = $8)
      AND ($9::text IS NULL OR l.request_id = $9)
    ORDER BY l.id DESC LIMIT $10
)
SELECT p.id, p.created_at, p.actor_id, p.subject_id, k.subject, p.action, p.request_id, p.address,
       p.detail::text
FROM page p JOIN audit.actions k ON k.action = p.action
ORDER BY p.id DESC

-- name: get_scanned_audit_row
-- How far list_audit_rows reads with its first three arguments; no row if it reads all.
SELECT id FROM audit.log WHERE id < LEAST($1::bigint, $3::bigint) AND id >= $2
ORDER BY id DESC OFFSET 9999 LIMIT 1

-- name: get_audit_bounds
-- Ids rise with the time of their rows but for the length of a transaction, which is bounded.
SELECT audit.first_id_since($1::timestamptz - interval '2 minutes') AS low,
       audit.first_id_since($2::timestamptz + interval '2 minutes') AS high

-- name: get_integrity
SELECT violations, messages, checked_through, checked_at, succeeded_at,
       checked_at IS NOT NULL AND due_at > clock_timestamp() - interval '2 minutes'
           AS checked_recently
FROM ledger.verification_state

-- name: get_overview
SELECT clock_timestamp() AS as_of,
       (SELECT count(*) FROM identity.users) AS users,
       (SELECT count(*) FROM ledger.accounts WHERE status <> 'active') AS accounts_not_active,
       (SELECT count(*) FROM ledger.approvals
        WHERE status = 'pending' AND expires_at > clock_timestamp()) AS pending_approvals

-- name: list_currencies
-- What all users of a currency have is what its system account is short of.
SELECT a.currency, -a.balance AS users_balance, COALESCE(w.count, 0) AS pending_withdrawals,
       COALESCE(w.amount, 0) AS pending_withdrawals_amount
FROM ledger.accounts a
LEFT JOIN (
    SELECT w.currency, count(*) AS count, sum(w.amount)::bigint AS amount
    FROM ledger.withdrawals w WHERE w.status = 'pending' GROUP BY w.currency
) w ON w.currency = a.currency
WHERE a.user_id IS NULL
ORDER BY a.currency

-- name: list_system_ranges
-- The versions that the system account of each currency reached at two moments.
SELECT a.id, a.currency, ledger.version_at(a.id, $1) AS version_from,
       ledger.version_at(a.id, $2) AS version_to
FROM ledger.accounts a WHERE a.user_id IS NULL ORDER BY a.currency

-- name: list_outside_payments
-- What moved between users and the outside world: the entries of a system account, oldest first. A
-- refund has the reference of what it gives back.
SELECT e.version, t.id, t.type, o.type AS origin_type, e.amount, t.created_at,
       CASE WHEN e.amount < 0 THEN t.receiver_id ELSE t.sender_id END AS account_id,
       COALESCE(r.reference, w.reference) AS reference
FROM (SELECT * FROM ledger.entries
      WHERE account_id = $1 AND version > $2 AND version <= $3
      ORDER BY version LIMIT $4) e
JOIN ledger.transactions t ON t.id = e.transaction_id
LEFT JOIN ledger.transactions o ON t.type = 'refund' AND o.id = t.origin_id
LEFT JOIN ledger.payment_references r
    ON r.transaction_id = CASE t.type WHEN 'refund' THEN o.id ELSE t.id END
LEFT JOIN ledger.withdrawals w
    ON w.id = CASE WHEN t.type = 'withdrawal' THEN t.origin_id
                   WHEN o.type = 'withdrawal' THEN o.origin_id END
ORDER BY e.version
