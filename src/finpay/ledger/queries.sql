-- name: list_accounts_of_users
SELECT user_id, id, balance, held, currency, status, version, sequence,
       ledger.limits_object(a)::text AS limits, created_at
FROM ledger.accounts a WHERE user_id = ANY($1::uuid[])

-- name: list_entries
-- Newest first, before a version; one more than asked tells whether there are more.
SELECT e.account_id, e.transaction_id, e.version, e.amount, e.balance_after, e.created_at
FROM ledger.entries e
WHERE e.account_id = $1 AND e.version < $2
  AND ($3::timestamptz IS NULL OR e.created_at >= $3)
  AND ($4::timestamptz IS NULL OR e.created_at < $4)
ORDER BY e.version DESC
LIMIT $5

-- name: list_transactions
-- The account's history, newest first: two index ranges (what moved, what failed) merged by
-- sequence. $2 and $3 are the cursor, $4 and $5 the floor; a branch stops at the page's length.
WITH steps AS (
    (SELECT e.transaction_id, e.version AS entry_version, e.sequence, e.balance_after, e.held_after
     FROM ledger.entries e JOIN ledger.transactions t ON t.id = e.transaction_id
     WHERE e.account_id = $1 AND e.version < $2 AND e.version >= $4
       AND $7 IS DISTINCT FROM 'failed'  -- known without a look at each
       AND ($6::text IS NULL OR (e.amount < 0) = ($6 = 'sent'))
       AND ($7::text IS NULL OR t.status::text = $7)
       AND ($8::timestamptz IS NULL OR e.created_at >= $8)
       AND ($9::timestamptz IS NULL OR e.created_at < $9)
       AND ($10::bigint IS NULL OR t.amount >= $10)
       AND ($11::bigint IS NULL OR t.amount <= $11)
       AND ($12::uuid IS NULL OR ($12 <> $1 AND $12 IN (t.sender_id, t.receiver_id)))
     ORDER BY e.version DESC LIMIT $13)
    UNION ALL
    (SELECT f.transaction_id, f.version + 1, f.sequence, f.balance_after, f.held_after
     FROM ledger.failed_transactions f JOIN ledger.transactions t ON t.id = f.transaction_id
     WHERE f.account_id = $1 AND f.sequence < $3 AND f.sequence >= $5
       AND COALESCE($7, 'failed') = 'failed'
       AND ($6::text IS NULL OR $6 = 'sent')
       AND ($7::text IS NULL OR t.status::text = $7)
       AND ($8::timestamptz IS NULL OR f.created_at >= $8)
       AND ($9::timestamptz IS NULL OR f.created_at < $9)
       AND ($10::bigint IS NULL OR t.amount >= $10)
       AND ($11::bigint IS NULL OR t.amount <= $11)
       AND ($12::uuid IS NULL OR ($12 <> $1 AND $12 IN (t.sender_id, t.receiver_id)))
     ORDER BY f.sequence DESC LIMIT $13)
    ORDER BY sequence DESC LIMIT $13
)
SELECT t.id, t.type, t.status, t.sender_id, t.receiver_id, t.amount, t.currency, t.description,
       t.metadata, t.failure_code, t.created_at, s.entry_version, s.sequence, s.balance_after,
       COALESCE(s.held_after, 0) AS held_after, t.origin_type, t.origin_id, t.scheduled_for,
       COALESCE(t.refunded_amount, 0) AS refunded_amount,
       a.sequence AS account_sequence
FROM ledger.accounts a  -- so that an empty page still tells the account's sequence
LEFT JOIN (steps s JOIN ledger.transactions t ON t.id = s.transaction_id) ON true
WHERE a.id = $1
ORDER BY s.sequence DESC

-- name: list_first_pages
-- The first page of several accounts, each newest first and as long as it was asked for, as
-- transactions_page without filters. OFFSET 0 keeps each look-up a look-up by key: for many of them
-- the planner would rather read the whole table once.
SELECT t.id, t.type, t.status, t.sender_id, t.receiver_id, t.amount, t.currency, t.description,
       t.metadata, t.failure_code, t.created_at, s.entry_version, s.sequence, s.balance_after,
       COALESCE(s.held_after, 0) AS held_after, t.origin_type, t.origin_id, t.scheduled_for,
       COALESCE(t.refunded_amount, 0) AS refunded_amount,
       a.sequence AS account_sequence, asked.place
FROM unnest($1::uuid[], $2::integer[]) WITH ORDINALITY AS asked (account_id, most, place)
CROSS JOIN LATERAL (
    SELECT sequence FROM ledger.accounts WHERE id = asked.account_id OFFSET 0
) a
LEFT JOIN LATERAL (
    (SELECT e.transaction_id, e.version AS entry_version, e.sequence, e.balance_after, e.held_after
     FROM ledger.entries e
     WHERE e.account_id = asked.account_id ORDER BY e.version DESC LIMIT asked.most)
    UNION ALL
    (SELECT f.transaction_id, f.version + 1, f.sequence, f.balance_after, f.held_after
     FROM ledger.failed_transactions f
     WHERE f.account_id = asked.account_id ORDER BY f.sequence DESC LIMIT asked.most)
    ORDER BY sequence DESC LIMIT asked.most
) s ON true
LEFT JOIN LATERAL (
    SELECT * FROM ledger.transactions WHERE id = s.transaction_id OFFSET 0
) t ON true
ORDER BY asked.place, s.sequence DESC

-- name: get_transaction
-- One transaction as one of its parties sees it; a failed one is its sender's alone.
SELECT t.id, t.type, t.status, t.sender_id, t.receiver_id, t.amount, t.currency, t.description,
       t.metadata, t.failure_code, t.created_at,
       COALESCE(e.version, f.version + 1) AS entry_version,
       COALESCE(e.sequence, f.sequence) AS sequence,
       COALESCE(e.balance_after, f.balance_after) AS balance_after,
       COALESCE(e.held_after, f.held_after, 0) AS held_after, t.origin_type, t.origin_id,
       t.scheduled_for, COALESCE(t.refunded_amount, 0) AS refunded_amount
FROM ledger.transactions t
LEFT JOIN ledger.entries e ON e.account_id = $2
    AND e.version = CASE $2 WHEN t.sender_id THEN t.sender_version
                            WHEN t.receiver_id THEN t.receiver_version END
LEFT JOIN ledger.failed_transactions f
    ON f.account_id = t.sender_id AND f.sequence = t.failure_sequence
    AND t.sender_id = $2
WHERE t.id = $1 AND COALESCE(e.version, f.version) IS NOT NULL

-- name: get_history_range_of_key
-- What the user's own idempotency key made: a transaction, or a range of the history.
SELECT k.transaction_id, b.version_from, b.sequence_from, b.version_to, b.sequence_to
FROM ledger.idempotency_keys k
LEFT JOIN ledger.transfer_batches b ON b.principal_id = k.principal_id AND b.key = k.key
WHERE k.principal_id = $1 AND k.key = $2

-- name: post_transfers
SELECT outcomes::text[], http_statuses, answers, stored_fingerprints, transaction_ids,
       sender_sequences,
       item_outcomes::text[], receiver_users, receiver_sequences, queued
FROM ledger.post_transfers(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
    $22
)
