-- The rules of the records of requests: their keys and the audit log. See the comment at
-- the top of verify.sql.

-- name: idempotency_keys
-- Every transaction has one key, of its sender, with the status that it ended in. The key of a
-- transfer batch has those of a range of its sender's history.
WITH of_batches AS (
    SELECT b.principal_id, b.key, b.created_at, b.mode, a.id AS account_id, n AS number,
           h.transaction_id, h.version
    FROM ledger.transfer_batches b
    CROSS JOIN LATERAL generate_series(b.sequence_from, b.sequence_to - 1) n
    LEFT JOIN ledger.accounts a ON a.user_id = b.principal_id
    LEFT JOIN (
        SELECT account_id, sequence, transaction_id, version FROM ledger.entries
        UNION ALL
        SELECT account_id, sequence, transaction_id, NULL FROM ledger.failed_transactions
    ) h ON h.account_id = a.id AND h.sequence = n
)
SELECT format('The transaction txn:%s has %s idempotency keys.', t.id, COALESCE(k.keys, 0))
           AS sentence
FROM ledger.transactions t
LEFT JOIN (
    SELECT transaction_id, count(*) AS keys
    FROM (SELECT transaction_id FROM ledger.idempotency_keys
          UNION ALL SELECT transaction_id FROM of_batches) named
    GROUP BY transaction_id
) k ON k.transaction_id = t.id
WHERE COALESCE(k.keys, 0) <> 1
UNION ALL
SELECT format('The key %s of %s names the transaction txn:%s, which is not there.', k.key,
              CASE WHEN s.id IS NULL THEN 'usr:' ELSE 'acc:' END || k.principal_id,
              k.transaction_id)
FROM ledger.idempotency_keys k
LEFT JOIN ledger.transactions t ON t.id = k.transaction_id
LEFT JOIN ledger.accounts s ON s.id = k.principal_id
WHERE k.transaction_id IS NOT NULL AND t.id IS NULL
UNION ALL
SELECT format('The key %s of %s answers %s since %s, but its transaction txn:%s is %s since %s and '
              'acc:%s made it.', k.key,
              CASE WHEN k.principal_id = s.id THEN 'acc:' ELSE 'usr:' END || k.principal_id,
              k.http_status, k.created_at, t.id, t.status, t.created_at, s.id)
FROM ledger.idempotency_keys k
JOIN ledger.transactions t ON t.id = k.transaction_id
-- A capture is made by its receiver, a withdrawal is completed by an operator.
LEFT JOIN ledger.accounts s
    ON s.id = CASE WHEN t.origin_type = 'hold' OR t.type = 'withdrawal' THEN t.receiver_id
                   ELSE t.sender_id END
LEFT JOIN ledger.accounts system ON system.currency = t.currency AND system.user_id IS NULL
LEFT JOIN identity.users o ON o.id = k.principal_id
WHERE k.principal_id IS DISTINCT FROM CASE t.origin_type WHEN 'schedule' THEN t.origin_id
                                           ELSE COALESCE(s.user_id, s.id) END
      -- An operator acts under an own key, and for others, or under one of the system account.
      AND NOT (t.type IN ('deposit', 'withdrawal', 'refund')
               AND COALESCE(o.id, CASE k.principal_id WHEN system.id THEN system.id END)
                   IS NOT NULL
               AND NOT EXISTS (SELECT FROM ledger.accounts p WHERE p.user_id = k.principal_id
                               AND p.id IN (t.sender_id, t.receiver_id)))
   OR k.http_status <> CASE t.status WHEN 'failed' THEN 402 ELSE 201 END
   OR k.created_at <> t.created_at
UNION ALL
SELECT format('The key %s of %s answers %s without a transaction.', k.key,
              CASE WHEN s.id IS NOT NULL THEN 'acc:' || s.id
                   WHEN u.id IS NOT NULL THEN 'usr:' || k.principal_id
                   ELSE 'usr:' || k.principal_id || ', who is not there,' END, k.http_status)
FROM ledger.idempotency_keys k
LEFT JOIN ledger.transfer_batches b ON b.principal_id = k.principal_id AND b.key = k.key
LEFT JOIN ledger.accounts u ON u.user_id = k.principal_id
LEFT JOIN ledger.accounts s ON s.id = k.principal_id AND s.user_id IS NULL
LEFT JOIN ledger.schedules c ON c.id = k.principal_id
-- What the key made or changed, if it moved no money, has an audit row of the same moment.
LEFT JOIN (
    SELECT DISTINCT actor_id, created_at FROM audit.log
    WHERE action IN ('hold.created', 'hold.voided', 'withdrawal.created', 'withdrawal.canceled',
                     'payment_request.created', 'schedule.created', 'withdrawal.rejected',
                     'approval.requested', 'approval.rejected', 'account.updated')
) l ON l.actor_id = k.principal_id AND l.created_at = k.created_at
WHERE k.transaction_id IS NULL AND b.key IS NULL
  AND (COALESCE(u.id, s.id, c.id) IS NULL
       OR CASE WHEN s.id IS NOT NULL THEN k.http_status NOT IN (200, 402, 403, 404, 409, 422)
               WHEN k.http_status IN (200, 201, 202) THEN l.actor_id IS NULL
               ELSE k.http_status NOT IN (402, 403, 404, 409, 412, 422) END)
UNION ALL
SELECT format('The %s transfer batch %s of usr:%s has %s items since %s, of which %s were '
              'refused, but its key answers %s since %s.', b.mode, b.key, b.principal_id,
              b.items, b.created_at, b.refused, k.http_status, k.created_at)
FROM ledger.transfer_batches b
LEFT JOIN ledger.idempotency_keys k ON k.principal_id = b.principal_id AND k.key = b.key
WHERE k.created_at IS DISTINCT FROM b.created_at
   OR k.transaction_id IS NOT NULL
   OR CASE WHEN b.mode = 'independent' THEN k.http_status <> 200
           WHEN b.refused = 0 THEN k.http_status <> 201
           ELSE k.http_status NOT IN (402, 403, 404, 422) END
UNION ALL
SELECT format('The %s transfer batch %s of usr:%s has the number %s since %s, but that is '
              'txn:%s, %s since %s.', b.mode, b.key, b.principal_id, b.number,
              b.created_at, b.transaction_id, t.status, t.created_at)
FROM of_batches b
LEFT JOIN ledger.transactions t ON t.id = b.transaction_id
WHERE t.sender_id IS DISTINCT FROM b.account_id
   OR t.created_at IS DISTINCT FROM b.created_at
   OR (b.mode = 'atomic' AND t.status = 'failed')
UNION ALL
SELECT format('The transfer batch %s of usr:%s has the entries %s to %s, but the first of its %s '
              'is %s.',
              b.key, b.principal_id, b.version_from, b.version_to - 1, i.entries, i.first)
FROM ledger.transfer_batches b
LEFT JOIN (
    SELECT principal_id, key, count(version) AS entries, min(version) AS first
    FROM of_batches GROUP BY principal_id, key
) i ON i.principal_id = b.principal_id AND i.key = b.key
WHERE COALESCE(i.entries, 0) <> b.version_to - b.version_from
   OR i.first <> b.version_from
UNION ALL
SELECT format('The event %s of acc:%s names the key %s, but the key of txn:%s is %s.',
              e.sequence, e.account_id, e.idempotency_key, t.id, k.key)
FROM ledger.transactions t
JOIN outbox.events e ON e.transaction_id = t.id AND e.type <> 'transaction.refunded'
    AND e.account_id = CASE WHEN t.origin_type = 'hold' THEN t.receiver_id ELSE t.sender_id END
    AND e.actor_id IS NOT NULL
JOIN (SELECT transaction_id, key FROM ledger.idempotency_keys
      UNION ALL SELECT transaction_id, key FROM of_batches) k ON k.transaction_id = t.id
WHERE e.idempotency_key IS DISTINCT FROM CASE t.origin_type WHEN 'schedule' THEN NULL ELSE k.key END

-- name: audit
-- Every transaction and every refusal has one audit row, and each row has a known subject.
SELECT CASE WHEN t.id IS NULL
            THEN format('There is no transaction txn:%s, but %s audit rows of it.',
                        l.subject_id, l.rows)
            ELSE format('The transaction txn:%s has %s audit rows.', t.id, COALESCE(l.rows, 0))
       END AS sentence
FROM ledger.transactions t
FULL JOIN (
    SELECT subject_id, count(*) AS rows FROM audit.log
    WHERE action IN ('transaction.completed', 'transaction.failed') GROUP BY subject_id
) l ON l.subject_id = t.id
WHERE t.id IS NULL OR COALESCE(l.rows, 0) <> 1
UNION ALL
SELECT format('The audit row %s says %s by usr:%s at %s, but the transaction txn:%s is %s since %s '
              'and acc:%s made it.', l.id, l.action, l.actor_id, l.created_at,
              t.id, t.status, t.created_at, s.id)
FROM audit.log l
JOIN ledger.transactions t ON t.id = l.subject_id
LEFT JOIN ledger.accounts s
    ON s.id = CASE WHEN t.origin_type = 'hold' OR t.type = 'withdrawal' THEN t.receiver_id
                   ELSE t.sender_id END
WHERE l.action LIKE 'transaction.%'  -- another object may have been given the same id
  AND (l.action <> CASE t.status WHEN 'failed' THEN 'transaction.failed'
                                 ELSE 'transaction.completed' END
       -- An operator is another user, or no user on the command line.
       OR (l.actor_id IS DISTINCT FROM s.user_id
           AND t.type NOT IN ('deposit', 'withdrawal', 'refund'))
       OR l.created_at <> t.created_at)
UNION ALL
SELECT format('usr:%s was refused %s transfers at %s, and the audit log has %s of them.',
              COALESCE(k.principal_id, l.actor_id), COALESCE(k.refusals, 0),
              COALESCE(k.created_at, l.created_at), COALESCE(l.rows, 0))
FROM (
    SELECT COALESCE(o.user_id, k.principal_id) AS principal_id, k.created_at,
           sum(COALESCE(b.refused, 1)) AS refusals
    FROM ledger.idempotency_keys k
    LEFT JOIN ledger.schedules c ON c.id = k.principal_id
    LEFT JOIN ledger.accounts o ON o.id = c.account_id
    -- The command line has no user, and keys of the system account.
    LEFT JOIN ledger.transfer_batches b ON b.principal_id = k.principal_id AND b.key = k.key
    WHERE CASE WHEN b.key IS NULL THEN k.transaction_id IS NULL AND k.http_status >= 400
               ELSE b.refused > 0 END
    GROUP BY COALESCE(o.user_id, k.principal_id), k.created_at
) k
FULL JOIN (
    SELECT COALESCE(l.actor_id, k.principal_id) AS actor_id, l.created_at, count(*) AS rows
    FROM audit.log l
    LEFT JOIN ledger.idempotency_keys k
        ON l.actor_id IS NULL AND k.created_at = l.created_at
        AND l.request_id = 'operator:' || k.key
    WHERE l.action IN ('transaction.refused', 'payment_request.refused', 'schedule.refused')
    GROUP BY COALESCE(l.actor_id, k.principal_id), l.created_at
) l ON l.actor_id = k.principal_id AND l.created_at = k.created_at
WHERE k.refusals IS DISTINCT FROM l.rows
UNION ALL
SELECT format('The audit row %s says %s of %s, which is not there.', l.id, l.action,
              CASE split_part(l.action, '.', 1) WHEN 'account' THEN 'acc:'
                                                WHEN 'api_key' THEN 'key:'
                                                WHEN 'session' THEN 'ses:'
                                                WHEN 'webhook_endpoint' THEN 'whe:'
                                                WHEN 'payment_request' THEN 'prq:'
                                                WHEN 'schedule' THEN 'sch:'
                                                WHEN 'hold' THEN 'hld:'
                                                WHEN 'withdrawal' THEN 'wdr:'
                                                ELSE 'usr:' END || l.subject_id)
FROM audit.log l
LEFT JOIN ledger.accounts a ON a.id = l.subject_id
LEFT JOIN identity.users u ON u.id = l.subject_id
LEFT JOIN identity.sessions s ON s.id = l.subject_id
LEFT JOIN identity.api_keys k ON k.id = l.subject_id
LEFT JOIN webhooks.endpoints w ON w.id = l.subject_id  -- deleted ones stay as rows
LEFT JOIN ledger.payment_requests r ON r.id = l.subject_id AND r.account_id = r.requester_id
LEFT JOIN ledger.schedules c ON c.id = l.subject_id
LEFT JOIN ledger.holds h ON h.account_id = h.sender_id AND h.id = l.subject_id
LEFT JOIN ledger.withdrawals d ON d.id = l.subject_id
WHERE l.subject_id IS NOT NULL AND l.action NOT LIKE 'transaction.%'
  AND COALESCE(a.id, u.id, s.id, k.id, w.id, r.id, c.id, h.id, d.id) IS NULL
