-- What the harness reads from PostgreSQL, without the proxy and without the API.

-- name: sum_balances
-- All accounts in one statement: users, users and system accounts, the least that is available, and
-- what operators brought in, less what they paid out, after a version of the system account.
WITH world AS (
    SELECT id, version FROM ledger.accounts WHERE user_id IS NULL AND currency = 'ZAR'
)
SELECT COALESCE(sum(balance) FILTER (WHERE user_id IS NOT NULL), 0)::bigint AS users,
       COALESCE(sum(balance), 0)::bigint AS everything,
       COALESCE(min(balance - held) FILTER (WHERE user_id IS NOT NULL), 0)::bigint AS lowest,
       (SELECT version FROM world) AS version,
       (SELECT COALESCE(-sum(e.amount), 0)::bigint FROM ledger.entries e
        WHERE e.account_id = (SELECT id FROM world) AND e.version > $1
          AND (SELECT t.type IN ('deposit', 'withdrawal', 'refund')
               FROM ledger.transactions t WHERE t.id = e.transaction_id)) AS brought_in
FROM ledger.accounts

-- name: get_deadlocks
SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()

-- name: list_accounts
SELECT id, public_id, user_id IS NULL AS is_system, balance, held::bigint FROM ledger.accounts

-- name: list_transactions
SELECT id, status, sender_id, receiver_id, amount, description, origin_type, origin_id,
       scheduled_for, COALESCE(refunded_amount, 0), type::text
FROM ledger.transactions

-- name: list_history
-- Each account's history in its own order: entries, and failed transactions with amount 0.
SELECT account_id, sequence, transaction_id, amount, balance_after, COALESCE(held_after, 0)
FROM ledger.entries
UNION ALL
SELECT account_id, sequence, transaction_id, 0, balance_after, COALESCE(held_after, 0)
FROM ledger.failed_transactions
ORDER BY account_id, sequence

-- name: list_audit_rows
SELECT subject_id, action FROM audit.log
WHERE action LIKE 'transaction.%' AND subject_id IS NOT NULL

-- name: list_audit_rows_of_objects
SELECT ledger.type_id(CASE split_part(action, '.', 1) WHEN 'hold' THEN 'hld' ELSE 'wdr' END,
                      subject_id), action
FROM audit.log WHERE action IN ('hold.voided', 'withdrawal.canceled', 'withdrawal.rejected')

-- name: list_events
SELECT account_id, sequence, transaction_id, type FROM outbox.events
WHERE type IN ('transaction.completed', 'transaction.failed')

-- name: list_other_events
-- Those of operations, which are delivered as well.
SELECT account_id, sequence, type FROM outbox.events
WHERE type = 'transaction.refunded'
   OR split_part(type, '.', 1) IN ('hold', 'withdrawal', 'payment_request', 'schedule')

-- name: list_held_steps
-- What changed the amount that an account has on hold, in the account's own order. The amount is
-- what was captured so far, of a new object its whole amount.
SELECT e.account_id, e.sequence, ledger.type_id('hld', h.id), e.type,
       COALESCE((e.data->>'captured_amount')::bigint, h.amount),
       COALESCE(e.data->>'status', 'open')
FROM outbox.events e
JOIN ledger.holds h ON h.account_id = e.account_id AND h.id = e.hold_id
WHERE h.account_id = h.sender_id
UNION ALL
SELECT account_id, sequence, data->>'id', type, (data->>'amount')::bigint, data->>'status'
FROM outbox.events WHERE type LIKE 'withdrawal.%'

-- name: list_objects
-- Holds, withdrawals, payment requests and schedules, as the side that made them has them.
SELECT 'hold', ledger.type_id('hld', id), sender_id, receiver_id, amount, captured_amount,
       status::text, description
FROM ledger.holds WHERE account_id = sender_id
UNION ALL
SELECT 'withdrawal', ledger.type_id('wdr', id), account_id, NULL, amount, 0, status::text,
       description
FROM ledger.withdrawals
UNION ALL
SELECT 'payment_request', ledger.type_id('prq', id), requester_id, payer_id, amount, 0,
       status::text, description
FROM ledger.payment_requests WHERE account_id = requester_id
UNION ALL
SELECT 'schedule', ledger.type_id('sch', id), account_id, receiver_id, amount, runs, status::text,
       description
FROM ledger.schedules

-- name: list_approvals
SELECT ledger.type_id('apr', id), COALESCE(reference, description), amount, status,
       COALESCE(ledger.type_id(CASE action WHEN 'withdrawal' THEN 'wdr' ELSE 'txn' END, target_id),
                ''),
       ledger.type_id('txn', transaction_id)
FROM ledger.approvals

-- name: count_overdue
-- What a worker should have expired or run within five seconds; closed holds too, whose expiry it
-- should have deleted.
SELECT (SELECT count(*) FROM ledger.hold_expiries
        WHERE expires_at < clock_timestamp() - interval '5 s')
       + (SELECT count(*) FROM ledger.holds
          WHERE status = 'open' AND expires_at < clock_timestamp() - interval '5 s') AS holds,
       (SELECT count(*) FROM ledger.payment_requests
        WHERE status = 'open' AND expires_at < clock_timestamp() - interval '5 s') AS requests,
       (SELECT count(*) FROM ledger.schedules
        WHERE status = 'active' AND next_at < clock_timestamp() - interval '5 s') AS schedules

-- name: count_sessions
-- Connections of the API and the worker, and those of them that left a transaction open.
SELECT count(*) AS open,
       count(*) FILTER (WHERE state LIKE 'idle in transaction%'
                          AND state_change < clock_timestamp() - interval '1 s') AS idle
FROM pg_stat_activity
WHERE usename IN ('finpay_app', 'finpay_operator') AND datname = current_database()
