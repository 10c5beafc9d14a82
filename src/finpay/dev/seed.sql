-- Named queries of finpay.dev.seed, run as finpay_owner.

-- name: get_account_by_email
SELECT a.id, a.balance
FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
WHERE u.email = $1

-- name: create_user
-- The user and the account. No row if another process created the user first.
WITH registered AS (
    INSERT INTO identity.users (id, email, name, password_hash) VALUES ($1, $2, $3, $4)
    ON CONFLICT (email) DO NOTHING RETURNING id
)
SELECT a.id FROM registered u CROSS JOIN LATERAL ledger.open_account($5, u.id, $6) a

-- name: record_creation
-- The audit rows and events of a registration over HTTP, without those of a session.
SELECT audit.record($1, 'user.registered', $1, 'seed', NULL),
       audit.record($1, 'account.created', $2, 'seed', NULL),
       outbox.record($1, 'user.registered', json_build_object(
           'id', ledger.type_id('usr', $1), 'object', 'user'), $1, 'seed'),
       outbox.record($1, 'account.created', ledger.account_object(a), $1, 'seed')
FROM ledger.accounts a WHERE a.id = $2

-- name: set_email_verified
UPDATE identity.users SET email_verified_at = clock_timestamp() WHERE id = $1
