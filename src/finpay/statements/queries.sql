-- Named queries of finpay.statements.reads.

-- name: get_time
SELECT clock_timestamp()

-- name: get_open_writer
SELECT ledger.open_writer($1)

-- name: is_writer_open
SELECT NOT pg_visible_in_snapshot($1::text::xid8, pg_current_snapshot())

-- name: get_balance_at
SELECT v.version, COALESCE(e.balance_after, 0) AS balance,
       ledger.held_at($1, $2, v.version) AS held
FROM (SELECT ledger.version_at($1, $2) AS version OFFSET 0) v
LEFT JOIN ledger.entries e ON e.account_id = $1 AND e.version = v.version
WHERE v.version IS NOT NULL

-- name: get_balance_of_version
-- Version 0 is the account as it was opened.
SELECT e.balance_after AS balance, e.created_at
FROM ledger.entries e WHERE e.account_id = $1 AND e.version = $2
UNION ALL
SELECT 0, a.created_at FROM ledger.accounts a WHERE a.id = $1 AND $2 = 0

-- name: get_statement_bounds
-- Opening is the version before the period, closing the last one in it: $2 and $3 are its last
-- moments before and in the period.
SELECT a.currency, u.name, u.email, v.opening, v.closing,
       COALESCE(o.balance_after, 0) AS opening_balance,
       COALESCE(c.balance_after, 0) AS closing_balance
FROM ledger.accounts a
JOIN identity.users u ON u.id = a.user_id
CROSS JOIN LATERAL (
    SELECT ledger.version_at(a.id, $2) AS opening, ledger.version_at(a.id, $3) AS closing OFFSET 0
) v
LEFT JOIN ledger.entries o ON o.account_id = a.id AND o.version = v.opening
LEFT JOIN ledger.entries c ON c.account_id = a.id AND c.version = v.closing
WHERE a.id = $1

-- name: list_statement_entries
-- Oldest first, the versions after $2 to $3. OFFSET 0 keeps each look-up a look-up by key.
SELECT e.transaction_id, e.version, e.amount, e.balance_after, e.created_at, t.type, t.description,
       t.counterparty_id, p.name
FROM ledger.entries e
CROSS JOIN LATERAL (
    SELECT t.type::text AS type, t.description,
           CASE WHEN e.amount < 0 THEN t.receiver_id ELSE t.sender_id END AS counterparty_id
    FROM ledger.transactions t WHERE t.id = e.transaction_id OFFSET 0
) t
CROSS JOIN LATERAL (
    SELECT (SELECT u.name FROM identity.users u WHERE u.id = a.user_id) AS name
    FROM ledger.accounts a WHERE a.id = t.counterparty_id OFFSET 0
) p
WHERE e.account_id = $1 AND e.version > $2 AND e.version <= $3
ORDER BY e.version
