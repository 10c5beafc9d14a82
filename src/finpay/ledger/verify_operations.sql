-- What has to be true of holds, refunds, withdrawals and limits. See the comment at the top
-- of verify.sql.

-- name: holds
-- What an account holds is what is left of its open holds and pending withdrawals.
SELECT format('acc:%s holds %s, but its open holds and pending withdrawals are %s.',
              COALESCE(a.id, o.account_id), COALESCE(a.held, 0), COALESCE(o.total, 0)) AS sentence
FROM ledger.accounts a
FULL JOIN (
    SELECT account_id, sum(amount) AS total
    FROM (
        SELECT account_id, amount - captured_amount AS amount FROM ledger.holds
        WHERE status = 'open' AND account_id = sender_id
        UNION ALL
        SELECT account_id, amount FROM ledger.withdrawals WHERE status = 'pending'
    ) open
    GROUP BY account_id
) o ON o.account_id = a.id
WHERE COALESCE(a.held, 0)::numeric <> COALESCE(o.total, 0)
UNION ALL
-- The last change of what it holds led to that, or its last entry, whichever came later.
SELECT format('acc:%s holds %s, but the last change led to %s.', a.id, a.held, c.held)
FROM ledger.accounts a
LEFT JOIN (
    SELECT DISTINCT ON (account_id) account_id, sequence, held FROM ledger.held_changes
    ORDER BY account_id, created_at DESC, sequence DESC
) h ON h.account_id = a.id
LEFT JOIN ledger.entries e ON e.account_id = a.id AND e.version = a.version
CROSS JOIN LATERAL (
    SELECT COALESCE(CASE WHEN h.sequence > e.sequence THEN h.held
                         WHEN e.sequence IS NOT NULL THEN e.held_after ELSE h.held END, 0) AS held
) c
WHERE a.held <> c.held
UNION ALL
-- A hold has a row for each of its parties. They are the same, but for the expiry of one of them.
SELECT format('The hold hld:%s of acc:%s is %s with %s captured, but acc:%s has %s with %s.',
              s.id, s.sender_id, s.status, s.captured_amount, s.receiver_id,
              COALESCE(r.status::text, 'none'), COALESCE(r.captured_amount, 0))
FROM ledger.holds s
LEFT JOIN ledger.holds r ON r.account_id = s.receiver_id AND r.id = s.id
WHERE s.account_id = s.sender_id
  AND (r.id IS NULL OR s.sender_id = s.receiver_id
       OR (s.sender_id, s.amount, s.captured_amount, s.created_at, s.expires_at, s.currency,
           s.description, s.metadata::text)
          IS DISTINCT FROM
          (r.sender_id, r.amount, r.captured_amount, r.created_at, r.expires_at, r.currency,
           r.description, r.metadata::text)
       OR (s.status <> r.status AND NOT (s.status IN ('open', 'expired')
                                         AND r.status IN ('open', 'expired'))))
UNION ALL
SELECT format('The row of the hold hld:%s belongs to acc:%s, but it is from acc:%s to acc:%s.',
              h.id, h.account_id, h.sender_id, h.receiver_id)
FROM ledger.holds h
LEFT JOIN ledger.holds s ON s.account_id = h.sender_id AND s.id = h.id
WHERE h.account_id NOT IN (h.sender_id, h.receiver_id) OR s.id IS NULL
UNION ALL
-- What was captured of a hold is what its transactions moved, between its parties.
SELECT format('Of the hold hld:%s of %s, which is %s, %s are captured, but %s have moved.',
              COALESCE(h.id, t.origin_id), h.amount, h.status, h.captured_amount,
              COALESCE(t.total, 0))
FROM (SELECT * FROM ledger.holds WHERE account_id = sender_id) h
FULL JOIN (
    SELECT origin_id, sender_id, receiver_id, sum(amount) AS total FROM ledger.transactions
    WHERE origin_type = 'hold' GROUP BY origin_id, sender_id, receiver_id
) t ON t.origin_id = h.id AND t.sender_id = h.sender_id AND t.receiver_id = h.receiver_id
WHERE h.id IS NULL OR h.captured_amount::numeric <> COALESCE(t.total, 0)
   OR (h.status = 'open' AND h.captured_amount >= h.amount)
   OR (h.status = 'captured' AND h.captured_amount = 0)

-- name: hold_expiries
-- Every open row of a hold has its expiry, at the hold's own time, and no expiry is that of no row.
-- Closed ones have it until its time.
SELECT CASE WHEN h.id IS NULL
            THEN format('The expiry of hld:%s of acc:%s at %s is that of no hold.',
                        x.hold_id, x.account_id, x.expires_at)
            ELSE format('The open hold hld:%s of acc:%s has no expiry at %s.',
                        h.id, h.account_id, h.expires_at)
       END AS sentence
FROM ledger.holds h
FULL JOIN ledger.hold_expiries x
    ON x.account_id = h.account_id AND x.hold_id = h.id AND x.expires_at = h.expires_at
WHERE h.id IS NULL OR (h.status = 'open' AND x.hold_id IS NULL)

-- name: refunds
-- What was refunded of a transaction is what its refunds moved; all of it is refunded in a reversed
-- one, and in no other.
SELECT format('The transaction txn:%s of %s is %s with %s refunded, but its refunds are %s.',
              COALESCE(t.id, r.origin_id), t.amount, t.status, COALESCE(t.refunded_amount, 0),
              COALESCE(r.total, 0)) AS sentence
FROM ledger.transactions t
FULL JOIN (
    SELECT origin_id, sum(amount) AS total FROM ledger.transactions
    WHERE type = 'refund' AND status <> 'failed' GROUP BY origin_id
) r ON r.origin_id = t.id
WHERE t.id IS NULL
   OR COALESCE(t.refunded_amount, 0)::numeric <> COALESCE(r.total, 0)
   OR COALESCE(t.refunded_amount, 0) NOT BETWEEN 0 AND t.amount
   OR (t.status = 'reversed') <> (t.refunded_amount IS NOT DISTINCT FROM t.amount)
UNION ALL
SELECT format('The %s txn:%s has the origin %s %s.', type, id, origin_type, origin_id)
FROM ledger.transactions
WHERE (origin_id IS NULL) <> (origin_type IS NULL)
   OR (type = 'refund') <> (origin_type IS NOT DISTINCT FROM 'transaction')
   OR (type = 'withdrawal') <> (origin_type IS NOT DISTINCT FROM 'withdrawal')
UNION ALL
-- Both parties have an event of each refund.
SELECT format('Refunds of txn:%s have %s events of acc:%s, but there are %s refunds.',
              COALESCE(r.origin_id, e.transaction_id), COALESCE(e.events, 0),
              COALESCE(r.account_id, e.account_id), COALESCE(r.refunds, 0))
FROM (
    SELECT t.origin_id, side.account_id, count(*) AS refunds
    FROM ledger.transactions t
    CROSS JOIN LATERAL (VALUES (t.sender_id), (t.receiver_id)) AS side (account_id)
    JOIN ledger.accounts a ON a.id = side.account_id AND a.user_id IS NOT NULL
    LEFT JOIN outbox.retention_watermarks p ON p.account_id = side.account_id
    WHERE t.type = 'refund' AND t.status <> 'failed' AND p.account_id IS NULL
    GROUP BY t.origin_id, side.account_id
) r
FULL JOIN (
    SELECT e.transaction_id, e.account_id, count(*) AS events FROM outbox.events e
    LEFT JOIN outbox.retention_watermarks p ON p.account_id = e.account_id
    WHERE e.type = 'transaction.refunded' AND p.account_id IS NULL
    GROUP BY e.transaction_id, e.account_id
) e ON e.transaction_id = r.origin_id AND e.account_id = r.account_id
WHERE r.refunds IS DISTINCT FROM e.events

-- name: withdrawals
-- A completed withdrawal has its transaction and its reference, and no other has.
SELECT format('The withdrawal wdr:%s of %s is %s with the transaction txn:%s of %s.',
              COALESCE(w.id, t.origin_id), w.amount, w.status, t.id, t.amount) AS sentence
FROM ledger.withdrawals w
FULL JOIN (SELECT * FROM ledger.transactions WHERE type = 'withdrawal') t ON t.origin_id = w.id
WHERE w.id IS NULL
   OR (w.status = 'completed') <> (t.id IS NOT NULL)
   OR w.transaction_id IS DISTINCT FROM t.id
   OR w.amount <> t.amount OR w.account_id <> t.sender_id
   OR (w.status = 'completed') <> (w.reference IS NOT NULL)
   OR (w.status = 'rejected') <> (w.reason IS NOT NULL)

-- name: references
-- Every deposit and every completed withdrawal has its own reference, and no reference is for
-- nothing: it waits for an approval, or belongs to one payment of its currency.
SELECT format('The %s reference %s in %s is for txn:%s and the approval apr:%s, which is %s.',
              r.space, r.reference, r.currency, r.transaction_id, r.approval_id, p.status)
           AS sentence
FROM ledger.payment_references r
LEFT JOIN ledger.transactions t ON t.id = r.transaction_id
LEFT JOIN ledger.approvals p ON p.id = r.approval_id
WHERE CASE WHEN r.transaction_id IS NOT NULL
           THEN t.type::text IS DISTINCT FROM r.space OR t.currency <> r.currency
           ELSE p.reference IS DISTINCT FROM r.reference OR p.status = 'approved' END
UNION ALL
SELECT format('The %s txn:%s has %s references.', t.type, t.id, COALESCE(r.number, 0))
FROM ledger.transactions t
LEFT JOIN (
    SELECT transaction_id, count(*) AS number FROM ledger.payment_references
    GROUP BY transaction_id
) r ON r.transaction_id = t.id
WHERE (t.type IN ('deposit', 'withdrawal')) <> (COALESCE(r.number, 0) = 1)
UNION ALL
SELECT format('The approval apr:%s of %s is %s by usr:%s with txn:%s of %s.', p.id, p.amount,
              p.status, p.decided_by, t.id, t.amount)
FROM ledger.approvals p
LEFT JOIN ledger.transactions t ON t.id = p.transaction_id
WHERE (p.status = 'approved') <> (t.id IS NOT NULL)
   OR (p.status = 'pending') <> (p.decided_by IS NULL)
   OR p.decided_by = p.requested_by AND p.status = 'approved'
   OR t.amount <> p.amount OR t.currency <> p.currency OR t.type::text <> p.action

-- name: limits
-- What an account sent today is what it paid, held and asked to withdraw, less what was released of
-- that. Captures count as part of their holds.
WITH today AS (
    SELECT (now() AT TIME ZONE 'UTC')::date AS day,
           date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS begins_at
)
SELECT format('acc:%s counts %s as sent on %s, but today has %s.', a.id, a.sent_today, a.sent_on,
              COALESCE(d.total, 0)) AS sentence
FROM ledger.accounts a
CROSS JOIN today
LEFT JOIN (
    SELECT account_id, sum(amount) AS total
    FROM (
        SELECT sender_id AS account_id, amount FROM ledger.transactions, today
        WHERE created_at >= begins_at AND status <> 'failed' AND type = 'transfer'
          AND origin_type IS DISTINCT FROM 'hold'
        UNION ALL
        SELECT account_id, CASE status WHEN 'open' THEN amount ELSE captured_amount END
        FROM ledger.holds, today WHERE created_at >= begins_at AND account_id = sender_id
        UNION ALL
        SELECT account_id, amount FROM ledger.withdrawals, today
        WHERE created_at >= begins_at AND status IN ('pending', 'completed')
    ) sent
    GROUP BY account_id
) d ON d.account_id = a.id
WHERE a.user_id IS NOT NULL AND a.sent_today < 4611686018427387903
  AND CASE WHEN a.sent_on = today.day THEN a.sent_today ELSE 0 END <> COALESCE(d.total, 0)
