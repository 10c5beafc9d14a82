-- Named queries of finpay.ledger: accounts, entries, transactions, keys, and the calls of the
-- functions that post payments, try them and change limits. The other files have a module's name.

-- name: list_accounts_of_users
SELECT user_id, id, balance, held, currency, status, version, sequence,
       ledger.limits_object(a)::text AS limits, created_at
FROM ledger.accounts a WHERE user_id = ANY($1::uuid[])

-- name: list_entries
-- Newest first, before a version; one more than the page shows whether there are more. Times rise
-- with versions, so a period is a range of versions: see ledger.version_at.
SELECT e.account_id, e.transaction_id, e.version, e.amount, e.balance_after, e.created_at
FROM ledger.entries e
WHERE e.account_id = $1
  AND e.version < LEAST($2, ledger.version_at($1, $4::timestamptz - interval '1 microsecond') + 1)
  AND e.version > COALESCE(ledger.version_at($1, $3::timestamptz - interval '1 microsecond'), 0)
ORDER BY e.version DESC
LIMIT $5

-- name: list_transactions
-- The account's history, newest first: two index ranges (what moved, what failed) merged by
-- sequence. $2 and $3 are the cursor, $4 and $5 the lower bound; a branch stops at the page's
-- length, and after 10 000 rows, as the filters have no index: see get_scanned_position.
WITH steps AS (
    (SELECT e.transaction_id, e.version AS entry_version, e.sequence, e.balance_after, e.held_after
     FROM (SELECT * FROM ledger.entries
           WHERE account_id = $1 AND version < $2 AND version >= $4
           ORDER BY version DESC LIMIT 10000) e
     CROSS JOIN LATERAL (
         SELECT * FROM ledger.transactions WHERE id = e.transaction_id OFFSET 0) t
     WHERE $7 IS DISTINCT FROM 'failed'  -- known without reading each
       AND ($6::text IS NULL OR (e.amount < 0) = ($6 = 'sent'))
       AND ($7::text IS NULL OR t.status::text = $7)
       AND ($8::timestamptz IS NULL OR e.created_at >= $8)
       AND ($9::timestamptz IS NULL OR e.created_at < $9)
       AND ($10::bigint IS NULL OR t.amount >= $10)
       AND ($11::bigint IS NULL OR t.amount <= $11)
       AND ($12::uuid IS NULL OR ($12 <> $1 AND $12 IN (t.sender_id, t.receiver_id)))
       AND ($13::text IS NULL OR t.type::text = $13)
       AND ($14::text IS NULL OR (t.origin_type::text = $14 AND t.origin_id = $15::uuid))
       AND ($16::text IS NULL OR t.metadata ->> $16 = $17::text)
     ORDER BY e.version DESC LIMIT $18)
    UNION ALL
    (SELECT f.transaction_id, f.version + 1, f.sequence, f.balance_after, f.held_after
     FROM (SELECT * FROM ledger.failed_transactions
           WHERE account_id = $1 AND sequence < $3 AND sequence >= $5
           ORDER BY sequence DESC LIMIT 10000) f
     CROSS JOIN LATERAL (
         SELECT * FROM ledger.transactions WHERE id = f.transaction_id OFFSET 0) t
     WHERE COALESCE($7, 'failed') = 'failed'
       AND ($6::text IS NULL OR $6 = 'sent')
       AND ($8::timestamptz IS NULL OR f.created_at >= $8)
       AND ($9::timestamptz IS NULL OR f.created_at < $9)
       AND ($10::bigint IS NULL OR t.amount >= $10)
       AND ($11::bigint IS NULL OR t.amount <= $11)
       AND ($12::uuid IS NULL OR ($12 <> $1 AND $12 IN (t.sender_id, t.receiver_id)))
       AND ($13::text IS NULL OR t.type::text = $13)
       AND ($14::text IS NULL OR (t.origin_type::text = $14 AND t.origin_id = $15::uuid))
       AND ($16::text IS NULL OR t.metadata ->> $16 = $17::text)
     ORDER BY f.sequence DESC LIMIT $18)
    ORDER BY sequence DESC LIMIT $18
)
SELECT t.id, t.type, t.status, t.sender_id, t.receiver_id, t.amount, t.currency, t.description,
       t.metadata, t.failure_code, t.created_at, s.entry_version, s.sequence, s.balance_after,
       COALESCE(s.held_after, 0) AS held_after, t.origin_type, t.origin_id, t.scheduled_for,
       COALESCE(t.refunded_amount, 0) AS refunded_amount,
       a.sequence AS account_sequence
FROM ledger.accounts a  -- so that an empty page still has the account's sequence
LEFT JOIN (steps s JOIN ledger.transactions t ON t.id = s.transaction_id) ON true
WHERE a.id = $1
ORDER BY s.sequence DESC

-- name: get_scanned_position
-- How far list_transactions reads: where one of its two ranges ends after 10 000 rows, the later of
-- the two; null where neither does. What lies before it was not read. The arguments are the first
-- five of it.
WITH scanned AS (
    SELECT max(ends.sequence) AS sequence
    FROM (
        (SELECT sequence FROM ledger.entries
         WHERE account_id = $1 AND version < $2 AND version >= $4
         ORDER BY version DESC OFFSET 9999 LIMIT 1)
        UNION ALL
        (SELECT sequence FROM ledger.failed_transactions
         WHERE account_id = $1 AND sequence < $3 AND sequence >= $5
         ORDER BY sequence DESC OFFSET 9999 LIMIT 1)
    ) ends
)
SELECT s.sequence, COALESCE((
    SELECT min(e.version)
    FROM (SELECT version, sequence FROM ledger.entries
          WHERE account_id = $1 AND version < $2 ORDER BY version DESC LIMIT 10000) e
    WHERE e.sequence >= s.sequence), $2) AS version
FROM scanned s WHERE s.sequence IS NOT NULL

-- name: list_first_pages
-- The first page of several accounts, each newest first and as long as it was asked for, as
-- transactions_page without filters. OFFSET 0 keeps each look-up a look-up by key: for many of them
-- the planner would rather read the whole table once.
SELECT t.id, t.type, t.status, t.sender_id, t.receiver_id, t.amount, t.currency, t.description,
       t.metadata, t.failure_code, t.created_at, s.entry_version, s.sequence, s.balance_after,
       COALESCE(s.held_after, 0) AS held_after, t.origin_type, t.origin_id, t.scheduled_for,
       COALESCE(t.refunded_amount, 0) AS refunded_amount,
       a.sequence AS account_sequence, asked.number
FROM unnest($1::uuid[], $2::integer[]) WITH ORDINALITY AS asked (account_id, most, number)
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
ORDER BY asked.number, s.sequence DESC

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
-- The transaction or the range of the history that the user's own idempotency key made.
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
    $22, $23
)

-- name: get_idempotency_key
SELECT key, http_status, answer, transaction_id, created_at
FROM ledger.idempotency_keys WHERE principal_id = $1 AND key = $2

-- name: check_payment
-- What would become of a transfer, hold or refund now. Nothing happens, but unknown receivers are
-- counted.
SELECT outcome, amount, currency, balance, available, limits::text
FROM ledger.dry_run($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: update_limits
SELECT (r.account).id, (r.account).balance, (r.account).held, (r.account).currency,
       (r.account).status, (r.account).version, (r.account).sequence,
       r.limits::text, (r.account).created_at, r.fault
FROM ledger.change_limits($1, $2, $3, $4, $5, $6, $7) r

-- name: update_pending_limits
SELECT ledger.apply_pending_limits($1) AS applied
