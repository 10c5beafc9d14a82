-- What has to be true of the money. Each query is one check and finds what breaks it: no row means
-- that it holds. A row is one sentence, in which an id stands as `txn:uuid`; verify.py gives it the
-- public form. Every check reads its tables a fixed number of times, in joins and windows that
-- spill to disk, so the time grows with the number of rows and the memory doesn't.
-- OFFSET 0 keeps a window from walking an index instead of sorting: rows lie in the order of time,
-- so each would be fetched from a page of its own, which took five times as long over 20 million.
-- Sums and differences are numeric, so that no corrupt value can overflow the proof itself.

-- name: totals
-- Money is only moved: with the system accounts all balances of a currency sum to zero.
SELECT format('The balances in %s sum to %s, not to 0.', currency, sum(balance)) AS sentence
FROM ledger.accounts
GROUP BY currency
HAVING sum(balance) <> 0

-- name: double_entry
-- A completed transaction has two entries that sum to zero, a failed one none.
SELECT CASE WHEN t.id IS NULL
            THEN format('There is no transaction txn:%s, but %s entries of it.',
                        e.transaction_id, e.entries)
            ELSE format('The transaction txn:%s is %s and has %s entries, which sum to %s.',
                        t.id, t.status, COALESCE(e.entries, 0), COALESCE(e.total, 0))
       END AS sentence
FROM ledger.transactions t
FULL JOIN (
    SELECT transaction_id, count(*) AS entries, sum(amount) AS total
    FROM ledger.entries GROUP BY transaction_id
) e ON e.transaction_id = t.id
WHERE COALESCE(e.total, 0) <> 0
   OR COALESCE(e.entries, 0) <> CASE WHEN t.status IN ('completed', 'reversed') THEN 2 ELSE 0 END

-- name: entries
-- Each entry is one side of its transaction, at the place that the transaction names.
SELECT format('The entry %s of acc:%s has %s of %s, but its transaction txn:%s sends %s of %s '
              'from acc:%s (entry %s) to acc:%s (entry %s).',
              e.version, e.account_id, e.amount, e.created_at, t.id, t.amount, t.created_at,
              t.sender_id, t.sender_version, t.receiver_id, t.receiver_version) AS sentence
FROM ledger.entries e
JOIN ledger.transactions t ON t.id = e.transaction_id
WHERE e.created_at <> t.created_at
   OR CASE e.account_id
          WHEN t.sender_id THEN e.version IS DISTINCT FROM t.sender_version
                             OR e.amount::numeric <> -t.amount::numeric
          WHEN t.receiver_id THEN e.version IS DISTINCT FROM t.receiver_version
                               OR e.amount <> t.amount
          ELSE true
      END

-- name: balances
-- A balance is the sum of the account's entries, and what its last entry left.
SELECT CASE WHEN a.id IS NULL
            THEN format('There is no account acc:%s, but entries of it that sum to %s.',
                        e.account_id, e.total)
            ELSE format('The balance of acc:%s is %s, but its entries sum to %s and the last one '
                        'left %s.', a.id, a.balance, COALESCE(e.total, 0), COALESCE(last.left, 0))
       END AS sentence
FROM ledger.accounts a
FULL JOIN (
    SELECT account_id, sum(amount) AS total, max(version) AS version
    FROM ledger.entries GROUP BY account_id
) e ON e.account_id = a.id
LEFT JOIN LATERAL (
    SELECT l.balance_after AS left FROM ledger.entries l
    WHERE l.account_id = e.account_id AND l.version = e.version
) last ON true
WHERE a.id IS NULL OR a.balance <> COALESCE(e.total, 0) OR a.balance <> COALESCE(last.left, 0)

-- name: running_balances
-- Each entry leaves what the one before it left, plus its own amount.
SELECT format('The entry %s of acc:%s left %s, but %s and its amount %s make %s.',
              version, account_id, balance_after, before, amount, before::numeric + amount)
           AS sentence
FROM (
    SELECT account_id, version, amount, balance_after,
           lag(balance_after, 1, 0::bigint) OVER (PARTITION BY account_id ORDER BY version)
               AS before
    FROM (SELECT * FROM ledger.entries OFFSET 0) scanned
) e
WHERE balance_after <> before::numeric + amount

-- name: versions
-- An account's entries are numbered 1, 2, … up to its version, and were seen in that order.
SELECT format('The entries of acc:%s go from version %s (sequence %s) to version %s (sequence %s).',
              account_id, before, seen_before, version, sequence) AS sentence
FROM (
    SELECT account_id, version, sequence, lag(version, 1, 0::bigint) OVER account AS before,
           lag(sequence, 1, 0::bigint) OVER account AS seen_before
    FROM (SELECT * FROM ledger.entries OFFSET 0) scanned
    WINDOW account AS (PARTITION BY account_id ORDER BY version)
) e
WHERE version <> before + 1 OR sequence <= seen_before
UNION ALL
SELECT format('The version of acc:%s is %s, but its last entry is %s.',
              a.id, a.version, COALESCE(e.last, 0))
FROM ledger.accounts a
LEFT JOIN (SELECT account_id, max(version) AS last FROM ledger.entries GROUP BY account_id) e
    ON e.account_id = a.id
WHERE a.version <> COALESCE(e.last, 0)

-- name: sequences
-- Every number up to a user account's sequence is on one event, save those up to where retention
-- removed them. A system account has no events, and counts entries alone.
SELECT format('The events of acc:%s go from sequence %s to %s.', account_id, before, sequence)
           AS sentence
FROM (
    SELECT account_id, e.sequence, COALESCE(p.up_to_sequence, 0) AS pruned,
           lag(e.sequence, 1, 0::bigint) OVER (PARTITION BY account_id ORDER BY e.sequence)
               AS before
    FROM (SELECT * FROM outbox.events OFFSET 0) e
    LEFT JOIN outbox.retention_watermarks p USING (account_id)
) e
WHERE sequence > pruned AND sequence <> GREATEST(before, pruned) + 1
UNION ALL
SELECT format('The sequence of acc:%s is %s, but its last event is %s and they are pruned up to '
              '%s.', a.id, a.sequence, COALESCE(e.last, 0), COALESCE(p.up_to_sequence, 0))
FROM ledger.accounts a
LEFT JOIN (SELECT account_id, max(sequence) AS last FROM outbox.events GROUP BY account_id) e
    ON e.account_id = a.id
LEFT JOIN outbox.retention_watermarks p ON p.account_id = a.id
WHERE a.user_id IS NOT NULL
  AND a.sequence <> GREATEST(COALESCE(e.last, 0), COALESCE(p.up_to_sequence, 0))
UNION ALL
SELECT format('There is no user account acc:%s, but its events are pruned up to %s.',
              p.account_id, p.up_to_sequence)
FROM outbox.retention_watermarks p
LEFT JOIN ledger.accounts a ON a.id = p.account_id AND a.user_id IS NOT NULL
WHERE a.id IS NULL
UNION ALL
SELECT format('The system account acc:%s has the sequence %s and the version %s.',
              id, sequence, version)
FROM ledger.accounts
WHERE user_id IS NULL AND sequence <> version
UNION ALL
SELECT format('The entry %s of the system account acc:%s has the sequence %s.',
              e.version, e.account_id, e.sequence)
FROM ledger.entries e
JOIN ledger.accounts a ON a.id = e.account_id AND a.user_id IS NULL
WHERE e.sequence <> e.version

-- name: events
-- The steps of a user's account and its events are the same, number by number.
SELECT format('The number %s of acc:%s is txn:%s in its history and txn:%s in its events.',
              COALESCE(h.sequence, e.sequence), COALESCE(h.account_id, e.account_id),
              h.transaction_id, e.transaction_id) AS sentence
FROM (
    SELECT account_id, sequence, transaction_id FROM ledger.entries
    WHERE account_id <> ALL (ARRAY(SELECT id FROM ledger.accounts WHERE user_id IS NULL))
    UNION ALL
    SELECT account_id, sequence, transaction_id FROM ledger.failed_transactions
) h
FULL JOIN (
    SELECT account_id, sequence, transaction_id FROM outbox.events
    WHERE transaction_id IS NOT NULL AND type <> 'transaction.refunded'
) e ON e.account_id = h.account_id AND e.sequence = h.sequence
LEFT JOIN outbox.retention_watermarks p ON p.account_id = h.account_id
WHERE h.transaction_id IS DISTINCT FROM e.transaction_id
  AND (e.sequence IS NOT NULL OR h.sequence > COALESCE(p.up_to_sequence, 0))
UNION ALL
SELECT format('The event %s of acc:%s says %s by usr:%s at %s, but the transaction txn:%s is %s '
              'since %s and acc:%s made it.', e.sequence, e.account_id, e.type, e.actor_id,
              e.created_at, t.id, t.status, t.created_at, t.actor_account)
FROM outbox.events e
JOIN (
    -- A capture is made by its receiver, everything else by its sender.
    SELECT *, CASE WHEN origin_type = 'hold' THEN receiver_id ELSE sender_id END AS actor_account
    FROM ledger.transactions
) t ON t.id = e.transaction_id AND e.type <> 'transaction.refunded'
LEFT JOIN ledger.accounts s ON s.id = t.actor_account
WHERE e.type <> CASE t.status WHEN 'failed' THEN 'transaction.failed'
                              ELSE 'transaction.completed' END
   OR (e.actor_id IS DISTINCT FROM CASE e.account_id WHEN t.actor_account THEN s.user_id END
       AND NOT (t.type IN ('withdrawal', 'refund') AND e.actor_id IS NULL))
   OR e.created_at <> t.created_at
UNION ALL
SELECT CASE WHEN a.id IS NULL
            THEN format('There is no user account acc:%s, but its event %s.',
                        e.account_id, e.sequence)
            ELSE format('The event %s of acc:%s says %s about txn:%s, by usr:%s with the request '
                        '%s and the key %s.', e.sequence, e.account_id, e.type, e.transaction_id,
                        e.actor_id, e.request_id, e.idempotency_key)
       END
FROM outbox.events e
LEFT JOIN ledger.accounts a ON a.id = e.account_id AND a.user_id IS NOT NULL
WHERE a.id IS NULL
   OR (e.transaction_id IS NULL) = (e.type LIKE 'transaction.%')
   OR (e.hold_id IS NULL) = (e.type LIKE 'hold.%')
   -- only the event of the user who caused it names the request
   OR (e.actor_id IS NULL AND COALESCE(e.request_id, e.idempotency_key) IS NOT NULL)

-- name: failed_transactions
-- A failed transaction stands in its sender's history once, between the right two entries, with the
-- balance of that moment.
SELECT CASE WHEN t.id IS NULL
            THEN format('There is no failed transaction txn:%s, but its failure %s of acc:%s.',
                        f.transaction_id, f.sequence, f.account_id)
            WHEN f.account_id IS NULL
            THEN format('The failed transaction txn:%s is not in the history of acc:%s.',
                        t.id, t.sender_id)
            ELSE format('The transaction txn:%s failed at %s as number %s of acc:%s, but it stands '
                        'at %s as number %s of acc:%s, after entry %s, with a balance of %s.',
                        t.id, t.created_at, t.failure_sequence, t.sender_id,
                        f.created_at, f.sequence, f.account_id, f.version, f.balance_after)
       END AS sentence
FROM ledger.failed_transactions f
FULL JOIN (SELECT * FROM ledger.transactions WHERE status = 'failed') t ON t.id = f.transaction_id
LEFT JOIN ledger.entries before ON before.account_id = f.account_id AND before.version = f.version
LEFT JOIN ledger.entries after
    ON after.account_id = f.account_id AND after.version = f.version + 1
WHERE f.account_id IS DISTINCT FROM t.sender_id
   OR f.sequence IS DISTINCT FROM t.failure_sequence
   OR f.created_at IS DISTINCT FROM t.created_at
   OR f.balance_after <> COALESCE(before.balance_after, 0)
   OR f.sequence <= COALESCE(before.sequence, 0)
   OR f.sequence >= after.sequence
   OR (f.version <> 0 AND before.version IS NULL)
UNION ALL
SELECT format('The transaction txn:%s is %s, but names the entries %s and %s and the failure %s.',
              id, status, sender_version, receiver_version, failure_sequence)
FROM ledger.transactions
WHERE CASE status WHEN 'failed' THEN sender_version IS NOT NULL OR receiver_version IS NOT NULL
                  ELSE failure_sequence IS NOT NULL END

-- name: overdrafts
-- No user account is or was below zero, or above what a client can read exactly.
SELECT format('acc:%s has %s, of which %s are held.', id, balance, held) AS sentence
FROM ledger.accounts
WHERE user_id IS NOT NULL
  AND (balance::numeric - held < 0 OR balance > 9007199254740991)
UNION ALL
SELECT format('The entry %s of acc:%s left %s.', version, account_id, balance_after)
FROM ledger.entries
WHERE (balance_after < 0 OR balance_after > 9007199254740991)
  AND account_id <> ALL (ARRAY(SELECT id FROM ledger.accounts WHERE user_id IS NULL))

-- name: amounts
-- An amount is a whole number that every client can read exactly.
SELECT format('The transaction txn:%s has the amount %s.', id, amount) AS sentence
FROM ledger.transactions
WHERE amount NOT BETWEEN 1 AND 9007199254740991

-- name: parties
-- A transfer and a refund go from user to user, a funding and a deposit from the system to a user,
-- a withdrawal from a user to the system; the refund of one of these goes the other way.
SELECT format('The %s txn:%s of %s goes from acc:%s (%s) to acc:%s (%s).',
              t.type, t.id, t.currency,
              t.sender_id, CASE WHEN s.id IS NULL THEN 'missing'
                                WHEN s.user_id IS NULL THEN 'system, ' || s.currency
                                ELSE 'user, ' || s.currency END,
              t.receiver_id, CASE WHEN r.id IS NULL THEN 'missing'
                                  WHEN r.user_id IS NULL THEN 'system, ' || r.currency
                                  ELSE 'user, ' || r.currency END) AS sentence
FROM ledger.transactions t
LEFT JOIN ledger.accounts s ON s.id = t.sender_id
LEFT JOIN ledger.accounts r ON r.id = t.receiver_id
LEFT JOIN ledger.transactions o ON t.type = 'refund' AND o.id = t.origin_id
WHERE s.id IS NULL
   OR r.id IS NULL
   OR t.sender_id = t.receiver_id
   OR CASE WHEN o.id IS NOT NULL
           THEN t.sender_id <> o.receiver_id OR t.receiver_id <> o.sender_id
           ELSE (s.user_id IS NULL) <> (t.type IN ('funding', 'deposit'))
                OR (r.user_id IS NULL) <> (t.type = 'withdrawal') END
   OR s.currency <> t.currency
   OR r.currency <> t.currency

-- name: owners
-- Every user has one account, which knows whether the user's e-mail address is verified, and no
-- account belongs to an unknown user.
SELECT CASE WHEN a.id IS NULL THEN format('usr:%s has no account.', u.id)
            WHEN u.id IS NULL
                THEN format('acc:%s belongs to usr:%s, who is not there.', a.id, a.user_id)
            ELSE format('acc:%s does not say whether the e-mail address of usr:%s is verified.',
                        a.id, u.id)
       END AS sentence
FROM identity.users u
FULL JOIN (SELECT id, user_id, email_verified FROM ledger.accounts WHERE user_id IS NOT NULL) a
    ON a.user_id = u.id
WHERE a.id IS NULL OR u.id IS NULL OR a.email_verified <> (u.email_verified_at IS NOT NULL)
