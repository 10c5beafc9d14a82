-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Where money is. One row per user, and one system account per currency (user_id null) that
-- stands for the outside world, so that all balances of a currency sum to zero.
CREATE TABLE ledger.accounts (
    -- 16 bytes
    id         uuid        NOT NULL,
    user_id    uuid,
    -- 8 bytes
    balance    bigint      NOT NULL DEFAULT 0,  -- minor units; the sum of the entries
    held       bigint      NOT NULL DEFAULT 0,  -- reserved by open holds
    version    bigint      NOT NULL DEFAULT 0,  -- counts entries
    sequence   bigint      NOT NULL DEFAULT 0,  -- counts what the owner can see
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- variable
    currency   text        NOT NULL,
    status     text        NOT NULL DEFAULT 'active',
    public_id  text        NOT NULL GENERATED ALWAYS AS (ledger.type_id('acc', id)) STORED,
    CONSTRAINT accounts_pkey PRIMARY KEY (id),
    CONSTRAINT accounts_user_key UNIQUE (user_id),
    CONSTRAINT accounts_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT accounts_status CHECK (status IN ('active', 'frozen')),
    CONSTRAINT accounts_held CHECK (held >= 0),
    CONSTRAINT accounts_never_overdrawn CHECK (user_id IS NULL OR balance - held >= 0),
    CONSTRAINT accounts_balance_limit CHECK (user_id IS NULL OR balance <= 9007199254740991)
) WITH (fillfactor = 50);  -- room for the new version of a row beside the old: HOT updates
CREATE UNIQUE INDEX accounts_system_key ON ledger.accounts (currency) WHERE user_id IS NULL;

-- Money that moved, or was refused for lack of funds. No foreign keys and no second index: the
-- posting function checks the parties under their locks, `finpay ledger verify` proves it, and
-- history is read through entries and failures, which lead with the account.
CREATE TABLE ledger.transactions (
    id           uuid        NOT NULL,
    sender_id    uuid        NOT NULL,
    receiver_id  uuid        NOT NULL,
    amount       bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    -- where its rows are: entries (account, version), or failures (sender, sequence)
    sender_version   bigint,
    receiver_version bigint,
    failure_sequence bigint,
    type         text        NOT NULL,
    status       text        NOT NULL,
    currency     text        NOT NULL,
    failure_code text,
    description  text,
    metadata     json        NOT NULL,  -- json, not jsonb: answered as it was sent
    CONSTRAINT transactions_pkey PRIMARY KEY (id),
    CONSTRAINT transactions_type CHECK (type IN ('transfer', 'funding')),
    CONSTRAINT transactions_status
        CHECK (status IN ('pending', 'completed', 'failed', 'reversed')),
    CONSTRAINT transactions_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT transactions_parties CHECK (sender_id <> receiver_id),
    CONSTRAINT transactions_failure CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CONSTRAINT transactions_rows CHECK (
        CASE WHEN status = 'failed' THEN failure_sequence IS NOT NULL
             ELSE sender_version IS NOT NULL AND receiver_version IS NOT NULL END)
);

-- One side of a completed transaction. The key is the account's own history in order, so a page
-- is one index range, and a gap in version is a missing row.
CREATE TABLE ledger.entries (
    account_id     uuid        NOT NULL,
    transaction_id uuid        NOT NULL,
    version        bigint      NOT NULL,
    sequence       bigint      NOT NULL,
    amount         bigint      NOT NULL,  -- signed: negative where money left
    balance_after  bigint      NOT NULL,
    created_at     timestamptz NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (account_id, version),
    CONSTRAINT entries_amount CHECK (amount <> 0)
);

-- A failed transaction's place in its sender's history. It moves nothing, so it has no entry and
-- takes no version; `version` is the sender's at that moment.
CREATE TABLE ledger.failures (
    account_id     uuid        NOT NULL,
    transaction_id uuid        NOT NULL,
    sequence       bigint      NOT NULL,
    version        bigint      NOT NULL,
    balance_after  bigint      NOT NULL,  -- unchanged by it
    created_at     timestamptz NOT NULL,
    CONSTRAINT failures_pkey PRIMARY KEY (account_id, sequence)
);

-- Every answer that the ledger gave, for ever. The principal is the user, or the system account
-- for operator commands. `answer` is the body byte for byte, so it is text and not jsonb.
CREATE TABLE ledger.idempotency_keys (
    principal_id   uuid        NOT NULL,
    transaction_id uuid,                  -- null where nothing was recorded
    created_at     timestamptz NOT NULL,
    http_status    smallint    NOT NULL,
    key            text        NOT NULL,
    fingerprint    bytea       NOT NULL,
    answer         text        NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal_id, key),
    CONSTRAINT idempotency_keys_key CHECK (octet_length(key) BETWEEN 1 AND 255)
);

CREATE TRIGGER entries_are_final BEFORE UPDATE OR DELETE ON ledger.entries
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER entries_are_kept BEFORE TRUNCATE ON ledger.entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER failures_are_final BEFORE UPDATE OR DELETE ON ledger.failures
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER failures_are_kept BEFORE TRUNCATE ON ledger.failures
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
-- A later status may come (reversed); amounts and parties never change.
CREATE TRIGGER transactions_are_final BEFORE UPDATE OF
    id, sender_id, receiver_id, amount, currency, type, created_at ON ledger.transactions
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER transactions_are_kept BEFORE DELETE ON ledger.transactions
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER transactions_are_not_truncated BEFORE TRUNCATE ON ledger.transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- What can become of a transfer, in order of precedence: a request that is wrong in two ways gets
-- the first. finpay.ledger.outcome has the same list; a test compares them.
CREATE TYPE ledger.outcome AS ENUM (
    'idempotency_key_reuse',
    'duplicate',
    'account_frozen',
    'same_account',
    'receiver_not_found',
    'receiver_unavailable',
    'currency_mismatch',
    'insufficient_funds',
    'balance_limit',
    'completed'
);

-- The HTTP status that a refusal is stored and answered with.
CREATE FUNCTION ledger.http_status(outcome ledger.outcome) RETURNS smallint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE outcome
        WHEN 'completed' THEN 201
        WHEN 'insufficient_funds' THEN 402
        WHEN 'account_frozen' THEN 403
        WHEN 'receiver_not_found' THEN 404
        ELSE 422
    END::smallint
$$;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
