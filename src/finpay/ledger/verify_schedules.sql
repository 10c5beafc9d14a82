-- What has to be true of payment requests and schedules. See the comment at the top of
-- verify.sql.

-- name: payment_requests
-- Both sides of a request have the same values, its audit rows are those of its status, and a paid
-- one has a completed transfer from its payer to its requester.
SELECT format('The sides of the payment request prq:%s differ: %s.', COALESCE(r.id, p.id),
              CASE WHEN r.id IS NULL THEN 'its requester has none'
                   WHEN p.id IS NULL THEN 'its payer acc:' || r.payer_id || ' has none'
                   ELSE 'one is ' || r.status || ', the other ' || p.status END) AS sentence
FROM (SELECT * FROM ledger.payment_requests WHERE account_id = requester_id) r
FULL JOIN (SELECT * FROM ledger.payment_requests WHERE account_id <> requester_id) p
    ON p.id = r.id AND p.account_id = r.payer_id AND p.requester_id = r.requester_id
WHERE CASE WHEN p.id IS NULL THEN r.payer_id IS NOT NULL
           WHEN r.id IS NULL THEN true
           ELSE (p.payer_id, p.transaction_id, p.amount, p.expires_at, p.created_at, p.status,
                 p.currency, p.payer_email, p.description, p.metadata::text)
                IS DISTINCT FROM
                (r.payer_id, r.transaction_id, r.amount, r.expires_at, r.created_at, r.status,
                 r.currency, r.payer_email, r.description, r.metadata::text) END
UNION ALL
SELECT format('The payment request prq:%s asks for %s for acc:%s and is paid by txn:%s, which is '
              '%s of %s from acc:%s to acc:%s.', r.id, r.amount, r.requester_id, r.transaction_id,
              t.status, t.amount, t.sender_id, t.receiver_id)
FROM ledger.payment_requests r
LEFT JOIN ledger.transactions t ON t.id = r.transaction_id
WHERE r.status = 'paid' AND r.account_id = r.requester_id
  AND (t.status IN ('completed', 'reversed') AND t.origin_id = r.id AND t.amount = r.amount
       AND t.sender_id = r.payer_id
       AND t.receiver_id = r.requester_id AND t.currency = r.currency) IS NOT TRUE
UNION ALL
SELECT format('The transaction txn:%s is completed and pays the payment request prq:%s, which '
              'names txn:%s.', t.id, t.origin_id, r.transaction_id)
FROM ledger.transactions t
LEFT JOIN ledger.payment_requests r ON r.account_id = t.receiver_id AND r.id = t.origin_id
WHERE t.origin_type = 'payment_request' AND t.status <> 'failed'
  AND r.transaction_id IS DISTINCT FROM t.id
UNION ALL
SELECT format('The payment request prq:%s is %s, and its audit rows say %s.', r.id, r.status,
              COALESCE(l.actions, 'nothing'))
FROM ledger.payment_requests r
LEFT JOIN (
    SELECT subject_id, string_agg(action, ', ' ORDER BY id) AS actions
    FROM audit.log WHERE action LIKE 'payment\_request.%' GROUP BY subject_id
) l ON l.subject_id = r.id
WHERE r.account_id = r.requester_id
  AND l.actions IS DISTINCT FROM 'payment_request.created'
      || CASE r.status WHEN 'open' THEN '' ELSE ', payment_request.' || r.status END

-- name: schedules
-- The runs of a schedule are those of its keys, numbered by occurrences that came before the next
-- one, each with the transaction that its rule says. Its next occurrence is due when its rule says.
SELECT format('The schedule sch:%s is due at %s, but its occurrence %s is due at %s.', s.id,
              s.next_at, s.next_occurrence, o.due) AS sentence
FROM ledger.schedules s
CROSS JOIN LATERAL (
    SELECT ledger.occurrence(s.start_at, s.every_count, s.every_unit, s.timezone,
                             s.next_occurrence) AS due
) o
WHERE s.status <> 'ended' AND (s.next_at IS DISTINCT FROM o.due OR s.next_at > s.until
                               OR s.runs >= s.occurrences)
UNION ALL
SELECT format('The schedule sch:%s has %s runs before occurrence %s and last txn:%s, but %s keys '
              'up to %s and last txn:%s.', s.id, s.runs, s.next_occurrence, s.last_transaction_id,
              COALESCE(k.runs, 0), k.last, k.transaction_id)
FROM ledger.schedules s
LEFT JOIN (
    SELECT principal_id, count(*) AS runs, max(key::integer) AS last,
           (array_agg(transaction_id ORDER BY key::integer DESC)
                FILTER (WHERE transaction_id IS NOT NULL))[1] AS transaction_id
    FROM ledger.idempotency_keys
    WHERE principal_id IN (SELECT id FROM ledger.schedules) AND key ~ '^[0-9]{1,9}$'
    GROUP BY principal_id
) k ON k.principal_id = s.id
WHERE s.runs <> COALESCE(k.runs, 0) OR k.last >= s.next_occurrence
   OR s.last_transaction_id IS DISTINCT FROM k.transaction_id
UNION ALL
SELECT format('The transaction txn:%s is a run of sch:%s for %s, but sends %s from acc:%s to '
              'acc:%s under the key %s.', t.id, t.origin_id, t.scheduled_for, t.amount, t.sender_id,
              t.receiver_id, k.key)
FROM ledger.transactions t
LEFT JOIN ledger.schedules s ON s.account_id = t.sender_id AND s.id = t.origin_id
LEFT JOIN ledger.idempotency_keys k ON k.transaction_id = t.id AND k.principal_id = s.id
WHERE (t.origin_type = 'schedule' OR t.scheduled_for IS NOT NULL)
  AND (s.receiver_id = t.receiver_id AND s.amount = t.amount AND s.currency = t.currency
       AND t.scheduled_for = ledger.occurrence(s.start_at, s.every_count, s.every_unit, s.timezone,
                                               k.key::integer)) IS NOT TRUE
UNION ALL
SELECT format('The schedule sch:%s sends %s from acc:%s (%s) to acc:%s (%s).', s.id, s.currency,
              s.account_id, a.currency, s.receiver_id, r.currency)
FROM ledger.schedules s
LEFT JOIN ledger.accounts a ON a.id = s.account_id AND a.user_id IS NOT NULL
LEFT JOIN ledger.accounts r ON r.id = s.receiver_id AND r.user_id IS NOT NULL
WHERE a.currency IS DISTINCT FROM s.currency OR r.currency IS DISTINCT FROM s.currency
UNION ALL
SELECT format('The schedule sch:%s has %s audit rows of its creation.', s.id, COALESCE(l.rows, 0))
FROM ledger.schedules s
LEFT JOIN (
    SELECT subject_id, count(*) AS rows FROM audit.log WHERE action = 'schedule.created'
    GROUP BY subject_id
) l ON l.subject_id = s.id
WHERE COALESCE(l.rows, 0) <> 1
