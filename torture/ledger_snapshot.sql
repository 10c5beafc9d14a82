-- What the harness asks PostgreSQL, past the proxy and past the API.

-- name: bank
-- The whole bank in one statement: users and the outside world, and the poorest user.
SELECT COALESCE(sum(balance) FILTER (WHERE user_id IS NOT NULL), 0)::bigint AS users,
       COALESCE(sum(balance), 0)::bigint AS everybody,
       COALESCE(min(balance) FILTER (WHERE user_id IS NOT NULL), 0)::bigint AS lowest
FROM ledger.accounts

-- name: deadlocks
SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()

-- name: accounts
SELECT id, public_id, user_id IS NULL AS is_system, balance FROM ledger.accounts

-- name: transactions
SELECT id, status, sender_id, receiver_id, amount, description FROM ledger.transactions

-- name: steps
-- Each account's history in its own order: what moved, and what failed.
SELECT account_id, sequence, transaction_id, amount, balance_after FROM ledger.entries
UNION ALL
SELECT account_id, sequence, transaction_id, 0, balance_after FROM ledger.failed_transactions
ORDER BY account_id, sequence

-- name: audit
SELECT subject_id, action FROM audit.log
WHERE action LIKE 'transaction.%' AND subject_id IS NOT NULL

-- name: events
SELECT account_id, sequence, transaction_id, type FROM outbox.events
WHERE transaction_id IS NOT NULL

-- name: sessions
-- How many connections of ours there are, and how many of them forgot to commit.
SELECT count(*) AS open,
       count(*) FILTER (WHERE state LIKE 'idle in transaction%'
                          AND state_change < clock_timestamp() - interval '1 s') AS idle
FROM pg_stat_activity
WHERE usename = 'finpay_app' AND datname = current_database()
