-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- How far the continuous check of the ledger came, and what it found: one row for all workers.
-- Whoever's turn it is claims the row by moving due_at, checks a slice, and writes down where the
-- next one begins. What was found stays a suspect, and is looked at in every round until it is
-- right again.
CREATE TABLE ledger.integrity (
    singleton        boolean     NOT NULL DEFAULT true,
    violations       integer     NOT NULL DEFAULT 0,
    transaction_id   uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    account_id       uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    due_at           timestamptz NOT NULL DEFAULT '-infinity',  -- of the next slice
    checked_through  timestamptz,            -- every transaction up to this moment was checked
    checked_at       timestamptz,            -- when a slice last ended; null: none ever did
    succeeded_at     timestamptz,            -- when a whole round last found nothing
    transactions     uuid[]      NOT NULL DEFAULT '{}',         -- suspects
    accounts         uuid[]      NOT NULL DEFAULT '{}',
    sentences        text[]      NOT NULL DEFAULT '{}',         -- the first violations, in words
    CONSTRAINT integrity_pkey PRIMARY KEY (singleton),
    CONSTRAINT integrity_singleton CHECK (singleton),
    CONSTRAINT integrity_violations CHECK (violations >= 0)
);
INSERT INTO ledger.integrity DEFAULT VALUES;

-- The row, for whoever comes first once it is due, and for lease_s seconds for nobody else. A
-- worker that dies on the way is followed by another after that time. Locks the one row, shortly.
CREATE FUNCTION ledger.claim_integrity(
    lease_s integer,
    OUT now timestamptz, OUT transaction_id uuid, OUT account_id uuid,
    OUT transactions uuid[], OUT accounts uuid[]
) RETURNS SETOF record
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE ledger.integrity i SET due_at = clock_timestamp() + make_interval(secs => lease_s)
    WHERE i.due_at <= clock_timestamp()
    RETURNING clock_timestamp(), i.transaction_id, i.account_id, i.transactions, i.accounts
$$;

-- What a slice found, and where the next one begins, `next_s` seconds from now. `done`: it was the
-- round's last.
CREATE FUNCTION ledger.note_integrity(
    transaction_id uuid, account_id uuid, checked_through timestamptz,
    transactions uuid[], accounts uuid[], violations integer, sentences text[],
    next_s integer, done boolean
) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE ledger.integrity i
    SET transaction_id = $1, account_id = $2, transactions = $4, accounts = $5,
        checked_through = COALESCE($3, i.checked_through), violations = $6, sentences = $7,
        due_at = clock_timestamp() + make_interval(secs => next_s),
        checked_at = clock_timestamp(),
        succeeded_at = CASE WHEN done AND $6 = 0 THEN clock_timestamp() ELSE i.succeeded_at END
$$;

REVOKE EXECUTE ON FUNCTION ledger.claim_integrity, ledger.note_integrity FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.claim_integrity, ledger.note_integrity TO finpay_app;
GRANT SELECT ON ledger.integrity TO finpay_app;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
