-- What the harness reads from PostgreSQL, without the proxy and without the API.

-- name: sum_balances
-- All accounts in one statement: users, users and system accounts, the lowest user.
SELECT COALESCE(sum(balance) FILTER (WHERE user_id IS NOT NULL), 0)::bigint AS users,
       COALESCE(sum(balance), 0)::bigint AS everything,
       COALESCE(min(balance) FILTER (WHERE user_id IS NOT NULL), 0)::bigint AS lowest
FROM ledger.accounts

-- name: get_deadlocks
SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()

-- name: list_accounts
SELECT id, public_id, user_id IS NULL AS is_system, balance FROM ledger.accounts

-- name: list_transactions
SELECT id, status, sender_id, receiver_id, amount, description FROM ledger.transactions

-- name: list_history
-- Each account's history in its own order: entries, and failed transactions with amount 0.
SELECT account_id, sequence, transaction_id, amount, balance_after FROM ledger.entries
UNION ALL
SELECT account_id, sequence, transaction_id, 0, balance_after FROM ledger.failed_transactions
ORDER BY account_id, sequence

-- name: list_audit_rows
SELECT subject_id, action FROM audit.log
WHERE action LIKE 'transaction.%' AND subject_id IS NOT NULL

-- name: list_events
SELECT account_id, sequence, transaction_id, type FROM outbox.events
WHERE transaction_id IS NOT NULL

-- name: count_sessions
-- Connections of the API and the worker, and those of them that left a transaction open.
SELECT count(*) AS open,
       count(*) FILTER (WHERE state LIKE 'idle in transaction%'
                          AND state_change < clock_timestamp() - interval '1 s') AS idle
FROM pg_stat_activity
WHERE usename = 'finpay_app' AND datname = current_database()
