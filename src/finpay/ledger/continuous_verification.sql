-- The continuous check: the rules of verify.sql for one slice of transactions and accounts, each
-- answered by probes of primary keys, so that it costs the same however long the history is. A row
-- is what breaks a rule, and one sentence about it. Sums are numeric, as in verify.sql.

-- name: claim_slice
SELECT * FROM ledger.claim_integrity($1)

-- name: save_progress
SELECT ledger.note_integrity($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: get_state
-- Two minutes after it was due somebody should have begun: else nobody checks any more.
SELECT violations, checked_through, succeeded_at,
       checked_at IS NOT NULL AND due_at > clock_timestamp() - interval '2 minutes' AS watched
FROM ledger.integrity

-- name: list_next_transactions
-- Ids begin with their time, so this is the order of time, and the edge is a moment.
SELECT id, created_at, sender_id, receiver_id FROM ledger.transactions
WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3

-- name: list_next_accounts
SELECT id FROM ledger.accounts WHERE id > $1 ORDER BY id LIMIT $2

-- name: check_totals
SELECT NULL::uuid AS id, format('The balances in %s sum to %s, not to 0.', currency, sum(balance))
           AS sentence
FROM ledger.accounts GROUP BY currency HAVING sum(balance) <> 0

-- name: check_transactions
-- Both sides of each, what came before them in their accounts, and what was told of them.
SELECT suspect.id, format('The transaction txn:%s %s.', suspect.id, rule.broken) AS sentence
FROM unnest($1::uuid[]) AS suspect (id)
LEFT JOIN ledger.transactions t ON t.id = suspect.id
LEFT JOIN ledger.accounts s ON s.id = t.sender_id
LEFT JOIN ledger.accounts r ON r.id = t.receiver_id
LEFT JOIN ledger.entries sent ON sent.account_id = t.sender_id AND sent.version = t.sender_version
LEFT JOIN ledger.entries got ON got.account_id = t.receiver_id AND got.version = t.receiver_version
LEFT JOIN ledger.entries had ON had.account_id = t.sender_id AND had.version = t.sender_version - 1
LEFT JOIN ledger.entries was
    ON was.account_id = t.receiver_id AND was.version = t.receiver_version - 1
LEFT JOIN ledger.failed_transactions f ON f.account_id = t.sender_id AND f.sequence = t.failure_sequence
LEFT JOIN ledger.entries before ON before.account_id = f.account_id AND before.version = f.version
LEFT JOIN outbox.events told_s
    ON told_s.account_id = t.sender_id AND told_s.sequence = COALESCE(sent.sequence, f.sequence)
LEFT JOIN outbox.events told_r
    ON told_r.account_id = t.receiver_id AND told_r.sequence = got.sequence
LEFT JOIN outbox.retention_watermarks old_s ON old_s.account_id = t.sender_id
LEFT JOIN outbox.retention_watermarks old_r ON old_r.account_id = t.receiver_id
CROSS JOIN LATERAL (VALUES
    (t.id IS NULL, 'is gone'),
    (t.amount NOT BETWEEN 1 AND 9007199254740991, 'has an amount that no client can read'),
    (t.id IS NOT NULL AND (
        s.id IS NULL OR r.user_id IS NULL OR t.sender_id = t.receiver_id
        OR (s.user_id IS NULL) <> (t.type = 'funding')
        OR s.currency <> t.currency OR r.currency <> t.currency),
     'goes between parties that can not trade'),
    (CASE WHEN t.status IN ('completed', 'reversed')
          THEN sent.transaction_id IS DISTINCT FROM t.id OR got.transaction_id IS DISTINCT FROM t.id
              OR sent.amount::numeric <> -t.amount::numeric OR got.amount <> t.amount
              OR sent.created_at <> t.created_at OR got.created_at <> t.created_at
          ELSE COALESCE(t.sender_version, t.receiver_version) IS NOT NULL END,
     'has not the entries of its status: two that sum to zero, or none'),
    (sent.balance_after <> COALESCE(had.balance_after, 0)::numeric + sent.amount
     OR got.balance_after <> COALESCE(was.balance_after, 0)::numeric + got.amount,
     'left balances that do not follow from those before'),
    ((sent.version > 1 AND had.version IS NULL) OR (got.version > 1 AND was.version IS NULL)
     OR had.sequence >= sent.sequence OR was.sequence >= got.sequence,
     'has entries that do not follow upon those before'),
    ((s.user_id IS NOT NULL AND sent.balance_after < 0)
     OR got.balance_after NOT BETWEEN 0 AND 9007199254740991,
     'left a balance that no user account may have'),
    (t.status = 'failed' AND (
        f.transaction_id IS DISTINCT FROM t.id OR f.created_at <> t.created_at
        OR f.balance_after <> COALESCE(before.balance_after, 0)),
     'failed, but stands otherwise in its sender''s history'),
    ((s.user_id IS NOT NULL AND told_s.transaction_id IS DISTINCT FROM t.id
      AND COALESCE(sent.sequence, f.sequence) > COALESCE(old_s.up_to_sequence, 0))
     OR (told_r.transaction_id IS DISTINCT FROM t.id
         AND got.sequence > COALESCE(old_r.up_to_sequence, 0)),
     'was not told to both parties')
) AS rule (holds_not, broken)
WHERE rule.holds_not

-- name: check_accounts
-- Each against its last entry and its last event.
SELECT suspect.id, format('The account acc:%s %s.', suspect.id, rule.broken) AS sentence
FROM unnest($1::uuid[]) AS suspect (id)
LEFT JOIN ledger.accounts a ON a.id = suspect.id
LEFT JOIN LATERAL (
    SELECT e.version, e.balance_after, e.transaction_id FROM ledger.entries e
    WHERE e.account_id = suspect.id ORDER BY e.version DESC LIMIT 1
) last ON true
LEFT JOIN ledger.transactions t ON t.id = last.transaction_id
LEFT JOIN LATERAL (
    SELECT e.sequence FROM outbox.events e
    WHERE e.account_id = suspect.id ORDER BY e.sequence DESC LIMIT 1
) told ON true
LEFT JOIN outbox.retention_watermarks p ON p.account_id = suspect.id
CROSS JOIN LATERAL (VALUES
    (a.id IS NULL, 'is gone'),
    (a.balance <> COALESCE(last.balance_after, 0), 'has not the balance that its last entry left'),
    (a.version <> COALESCE(last.version, 0), 'has not the version of its last entry'),
    (last.version IS NOT NULL AND t.id IS NULL, 'has a last entry of no transaction'),
    (a.user_id IS NOT NULL AND (a.balance::numeric - a.held < 0 OR a.balance > 9007199254740991),
     'has a balance that no user account may have'),
    (a.user_id IS NOT NULL
     AND a.sequence <> GREATEST(COALESCE(told.sequence, 0), COALESCE(p.up_to_sequence, 0)),
     'has not the sequence of its last event')
) AS rule (holds_not, broken)
WHERE rule.holds_not
