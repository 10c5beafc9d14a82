-- name: create_schema
-- The usual schema of a payment API: ordinary tables, foreign keys, the indexes of its lists, a
-- unique idempotency key.
CREATE TABLE accounts (
    id         bigint PRIMARY KEY,
    public_id  text NOT NULL UNIQUE,
    balance    bigint NOT NULL CHECK (balance >= 0),
    currency   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE transactions (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sender_id       bigint NOT NULL REFERENCES accounts (id),
    receiver_id     bigint NOT NULL REFERENCES accounts (id),
    amount          bigint NOT NULL CHECK (amount > 0),
    currency        text NOT NULL,
    status          text NOT NULL,
    description     text,
    idempotency_key text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (sender_id, idempotency_key)
);
CREATE INDEX transactions_of_receiver ON transactions (receiver_id, created_at);
CREATE TABLE entries (
    id             bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    account_id     bigint NOT NULL REFERENCES accounts (id),
    transaction_id uuid NOT NULL REFERENCES transactions (id),
    amount         bigint NOT NULL,
    balance_after  bigint NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX entries_of_account ON entries (account_id, id);

-- name: create_accounts
INSERT INTO accounts (id, public_id, balance, currency)
SELECT n, public_id, $2, 'ZAR' FROM unnest($1::text[]) WITH ORDINALITY AS a (public_id, n)

-- name: lock_accounts
-- In id order, so that two transfers between the same accounts don't deadlock.
SELECT id, public_id, balance, currency FROM accounts WHERE public_id IN ($1, $2)
ORDER BY id FOR UPDATE

-- name: move_amount
UPDATE accounts SET balance = balance + CASE id WHEN $1 THEN -$3::bigint ELSE $3::bigint END
WHERE id IN ($1, $2)

-- name: create_transaction
INSERT INTO transactions (sender_id, receiver_id, amount, currency, status, description,
                          idempotency_key)
VALUES ($1, $2, $3, $4, 'completed', $5, $6) RETURNING id, created_at

-- name: create_entries
INSERT INTO entries (account_id, transaction_id, amount, balance_after)
VALUES ($1, $3, -$4::bigint, $5), ($2, $3, $4::bigint, $6)

-- name: get_transaction_by_key
SELECT t.id, t.amount, t.currency, t.status, t.description, t.created_at,
       s.public_id AS sender_id, r.public_id AS receiver_id
FROM transactions t
JOIN accounts s ON s.id = t.sender_id
JOIN accounts r ON r.id = t.receiver_id
WHERE s.public_id = $1 AND t.idempotency_key = $2
