-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Closed lists are enums and formats are domains, checked where a value is written. A CHECK of a
-- table is parsed anew by each statement that writes to it, which took a tenth of the time of a
-- single transfer: the tables have those that keep money right whatever writes to them. The
-- functions keep the other rules, as they check their arguments, and `finpay ledger verify` proves
-- them.
CREATE TYPE ledger.account_status AS ENUM ('active', 'frozen', 'closed');
CREATE TYPE ledger.transaction_type AS ENUM
    ('transfer', 'funding', 'deposit', 'withdrawal', 'refund');
CREATE TYPE ledger.transaction_status AS ENUM ('completed', 'failed', 'reversed');
CREATE TYPE ledger.transaction_origin AS ENUM
    ('hold', 'payment_request', 'schedule', 'withdrawal', 'transaction');
CREATE TYPE ledger.hold_status AS ENUM ('open', 'captured', 'voided', 'expired');
CREATE TYPE ledger.withdrawal_status AS ENUM ('pending', 'completed', 'rejected', 'canceled');
-- squawk-ignore ban-create-domain-with-constraint -- ISO 4217 will not change its format
CREATE DOMAIN ledger.currency AS text CHECK (VALUE ~ '^[A-Z]{3}$');
-- squawk-ignore ban-create-domain-with-constraint -- nothing less than nothing is ever held
CREATE DOMAIN ledger.held_amount AS bigint CHECK (VALUE >= 0);

-- Balances. One row per user, and one system account per currency (user_id null) that stands for
-- the outside world, so that all balances of a currency sum to zero.
CREATE TABLE ledger.accounts (
    -- 16 bytes
    id         uuid        NOT NULL,
    user_id    uuid,
    -- 8 bytes
    balance    bigint      NOT NULL DEFAULT 0,  -- minor units; the sum of the entries
    held       ledger.held_amount NOT NULL DEFAULT 0,  -- by open holds and withdrawals
    version    bigint      NOT NULL DEFAULT 0,  -- counts entries
    sequence   bigint      NOT NULL DEFAULT 0,  -- counts what the owner can see
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    limit_single bigint,  -- the largest amount of one payment; null: none
    limit_daily  bigint,  -- of all payments of a day in UTC; null: none
    sent_today   bigint   NOT NULL DEFAULT 0,  -- counted on sent_on
    -- 4 bytes
    sent_on      date,
    -- An enabled webhook endpoint wants this account's events. Kept by a trigger of
    -- webhooks.endpoints; the ledger reads it from rows that it locks anyway.
    subscribed boolean     NOT NULL DEFAULT false,
    -- The owner's e-mail address is verified. Kept by a trigger of identity.users.
    email_verified boolean NOT NULL DEFAULT false,
    -- variable length
    status     ledger.account_status NOT NULL DEFAULT 'active',
    currency   ledger.currency NOT NULL,
    public_id  text        NOT NULL,  -- the TypeID of id, set by a trigger
    CONSTRAINT accounts_pkey PRIMARY KEY (id),
    CONSTRAINT accounts_user_key UNIQUE (user_id),
    CONSTRAINT accounts_never_overdrawn CHECK (user_id IS NULL OR balance - held >= 0),
    CONSTRAINT accounts_balance_limit CHECK (user_id IS NULL OR balance <= 9007199254740991)
) WITH (fillfactor = 50);  -- free space for the new version of a row in its own page: HOT updates
CREATE UNIQUE INDEX accounts_system_key ON ledger.accounts (currency) WHERE user_id IS NULL;
-- Operators list the frozen ones. It has no row of an active account, so no transfer pays for it.
CREATE INDEX accounts_not_active ON ledger.accounts (user_id) WHERE status <> 'active';

-- A trigger and no generated column: each UPDATE of an account would parse its expression anew, for
-- each row, which took a twentieth of the time of a transfer.
CREATE FUNCTION ledger.set_public_id() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.public_id := ledger.type_id('acc', NEW.id);
    RETURN NEW;
END
$$;
CREATE TRIGGER accounts_public_id BEFORE INSERT ON ledger.accounts
    FOR EACH ROW EXECUTE FUNCTION ledger.set_public_id();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER accounts_public_id;
CREATE TRIGGER accounts_fixed_columns BEFORE UPDATE OF
    id, user_id, public_id, currency, created_at
    ON ledger.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();

-- Money that moved, or was refused for lack of funds. No foreign keys and no second index: the
-- posting function checks the parties under their locks, `finpay ledger verify` proves it, and
-- history is read through entries and failed_transactions, whose keys begin with the account.
CREATE TABLE ledger.transactions (
    id           uuid        NOT NULL,
    sender_id    uuid        NOT NULL,
    receiver_id  uuid        NOT NULL,
    amount       bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    -- The keys of its rows: entries (account, version), or failed_transactions (sender, sequence).
    sender_version   bigint,
    receiver_version bigint,
    failure_sequence bigint,
    -- Null where there is none: what it came of, the planned time of a schedule's run, and how much
    -- of it was given back. The last and the status are all that ever changes.
    origin_id       uuid,
    scheduled_for   timestamptz,
    refunded_amount bigint,
    origin_type     ledger.transaction_origin,
    type         ledger.transaction_type   NOT NULL,
    status       ledger.transaction_status NOT NULL,
    currency     text        NOT NULL,  -- that of both accounts
    failure_code text,
    description  text,
    metadata     json        NOT NULL,  -- json, not jsonb: returned byte for byte as it was sent
    CONSTRAINT transactions_pkey PRIMARY KEY (id),
    CONSTRAINT transactions_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT transactions_parties CHECK (sender_id <> receiver_id)
);

-- One side of a completed transaction. The key is the account's own history in order, so a page
-- is one index range, and a gap in version is a missing row.
CREATE TABLE ledger.entries (
    account_id     uuid        NOT NULL,
    transaction_id uuid        NOT NULL,
    version        bigint      NOT NULL,
    sequence       bigint      NOT NULL,
    amount         bigint      NOT NULL,  -- signed: negative for the sender
    balance_after  bigint      NOT NULL,
    held_after     bigint,                -- null: nothing was held
    created_at     timestamptz NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (account_id, version)
);

-- A failed transaction's row in its sender's history. It moves nothing, so it has no entry and
-- takes no version; `version` is the sender's at that moment.
CREATE TABLE ledger.failed_transactions (
    account_id     uuid        NOT NULL,
    transaction_id uuid        NOT NULL,
    sequence       bigint      NOT NULL,
    version        bigint      NOT NULL,
    balance_after  bigint      NOT NULL,  -- unchanged by it, as the next
    held_after     bigint,
    created_at     timestamptz NOT NULL,
    CONSTRAINT failed_transactions_pkey PRIMARY KEY (account_id, sequence)
);

-- Money that a sender has reserved for a receiver. One row for each party, whose key begins with
-- its account, so that a party's rows are next to its account wherever that is. The sender's row is
-- what `held` counts. The parties' rows expire each under its own account's lock; every other
-- change is made to both at once.
CREATE TABLE ledger.holds (
    account_id      uuid        NOT NULL,  -- the sender's or the receiver's
    id              uuid        NOT NULL,
    sender_id       uuid        NOT NULL,
    receiver_id     uuid        NOT NULL,
    amount          bigint      NOT NULL,
    captured_amount bigint      NOT NULL DEFAULT 0,
    -- Of the account, when it was made and when it was closed: the second null while it is open.
    opened_sequence bigint      NOT NULL,
    closed_sequence bigint,
    created_at      timestamptz NOT NULL,
    closed_at       timestamptz,
    expires_at      timestamptz NOT NULL,
    status          ledger.hold_status NOT NULL,
    currency        text        NOT NULL,
    description     text,
    metadata        json        NOT NULL,
    CONSTRAINT holds_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT holds_captured CHECK (captured_amount BETWEEN 0 AND amount)
) WITH (fillfactor = 80);
-- Operators know a hold by its id alone.
CREATE UNIQUE INDEX holds_of_senders ON ledger.holds (id) WHERE account_id = sender_id;

-- When each row of a hold expires, the longest due first: what workers read. Written with that row
-- and deleted after its time, whatever became of the hold. No index of holds has a column that a
-- capture or void changes, so that these are HOT updates.
CREATE TABLE ledger.hold_expiries (
    expires_at timestamptz NOT NULL,
    account_id uuid        NOT NULL,
    hold_id    uuid        NOT NULL,
    CONSTRAINT hold_expiries_pkey PRIMARY KEY (expires_at, account_id, hold_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

-- What was held of an account after each commit that changed it: the past of accounts.held. Such a
-- commit writes one row with its moment, which its entries have too. Others write none, and none is
-- written where the last entry has it, as after captures.
CREATE TABLE ledger.held_changes (
    account_id uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    sequence   bigint      NOT NULL,  -- of the account after the change
    held       bigint      NOT NULL,  -- after it
    CONSTRAINT held_changes_pkey PRIMARY KEY (account_id, created_at, sequence)
);

-- Money that a user wants paid out. It is held until an operator completes or rejects it, or its
-- owner cancels it.
CREATE TABLE ledger.withdrawals (
    account_id     uuid        NOT NULL,
    id             uuid        NOT NULL,
    transaction_id uuid,                  -- of a completed one
    amount         bigint      NOT NULL,
    opened_sequence bigint     NOT NULL,  -- as of a hold
    closed_sequence bigint,
    created_at     timestamptz NOT NULL,
    closed_at      timestamptz,
    status         ledger.withdrawal_status NOT NULL,
    currency       text        NOT NULL,
    description    text,
    destination    json        NOT NULL,  -- where to pay it; for its owner and operators alone
    reference      text,                  -- of the payment outside, given by the operator
    reason         text,                  -- of a rejection
    CONSTRAINT withdrawals_pkey PRIMARY KEY (account_id, id)
);
-- Operators find a withdrawal by its id, and those that wait for them.
CREATE UNIQUE INDEX withdrawals_id ON ledger.withdrawals (id);
CREATE INDEX withdrawals_pending ON ledger.withdrawals (id) WHERE status = 'pending';

-- Every answer that the ledger gave, kept for ever. The principal is the user, or for operator
-- commands the system account. `answer` is the body byte for byte, so it is text and not jsonb.
CREATE TABLE ledger.idempotency_keys (
    principal_id   uuid        NOT NULL,
    transaction_id uuid,                  -- null where no transaction was recorded
    created_at     timestamptz NOT NULL,
    http_status    smallint    NOT NULL,
    key            text        NOT NULL,
    fingerprint    bytea       NOT NULL,
    answer         text        NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal_id, key)
);

-- The transactions of a key under which many transfers were sent. All items are posted under one
-- lock of the sender, so two half-open ranges of the sender's history name them, however many: its
-- entries have the versions [version_from, version_to), its steps the sequences [sequence_from,
-- sequence_to). Items refused without a transaction have an audit row alone. Written with the key.
CREATE TABLE ledger.transfer_batches (
    principal_id  uuid        NOT NULL,
    created_at    timestamptz NOT NULL,
    version_from  bigint      NOT NULL,
    version_to    bigint      NOT NULL,
    sequence_from bigint      NOT NULL,
    sequence_to   bigint      NOT NULL,
    items         integer     NOT NULL,
    refused       integer     NOT NULL,  -- without a transaction
    mode          text        NOT NULL,
    key           text        NOT NULL,
    CONSTRAINT transfer_batches_pkey PRIMARY KEY (principal_id, key),
    CONSTRAINT transfer_batches_mode CHECK (mode IN ('independent', 'atomic')),
    CONSTRAINT transfer_batches_entries
        CHECK (version_to - version_from BETWEEN 0 AND sequence_to - sequence_from),
    -- An atomic batch is refused for its first refused item, and then nothing is recorded.
    CONSTRAINT transfer_batches_items CHECK (
        refused >= 0 AND CASE WHEN mode = 'atomic' AND refused > 0
            THEN refused = 1 AND sequence_to = sequence_from
            ELSE sequence_to - sequence_from + refused = items END)
);

CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON ledger.entries
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER entries_no_truncate BEFORE TRUNCATE ON ledger.entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER held_changes_append_only BEFORE UPDATE OR DELETE ON ledger.held_changes
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER held_changes_no_truncate BEFORE TRUNCATE ON ledger.held_changes
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER failed_transactions_append_only BEFORE UPDATE OR DELETE
    ON ledger.failed_transactions
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER failed_transactions_no_truncate BEFORE TRUNCATE ON ledger.failed_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
-- A later status may come (reversed); amounts and parties never change. Columns are refused by
-- triggers of the statement: with one of the row, each update locks the row before it changes it.
CREATE TRIGGER transactions_fixed_columns BEFORE UPDATE OF
    id, sender_id, receiver_id, amount, currency, type, created_at, origin_id, origin_type,
    sender_version, receiver_version, failure_sequence, failure_code, scheduled_for, description,
    metadata
    ON ledger.transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER holds_fixed_columns BEFORE UPDATE OF
    account_id, id, sender_id, receiver_id, amount, currency, opened_sequence, created_at,
    expires_at, description, metadata
    ON ledger.holds
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER holds_no_delete BEFORE DELETE ON ledger.holds
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER holds_no_truncate BEFORE TRUNCATE ON ledger.holds
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER hold_expiries_no_update BEFORE UPDATE OR TRUNCATE ON ledger.hold_expiries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER withdrawals_fixed_columns BEFORE UPDATE OF
    account_id, id, amount, currency, opened_sequence, created_at, description
    ON ledger.withdrawals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
-- A destination is personal: it is erased when its owner leaves, and never replaced by another.
CREATE TRIGGER withdrawals_destination BEFORE UPDATE OF destination ON ledger.withdrawals
    FOR EACH ROW WHEN (NEW.destination::text <> '{}')
    EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER withdrawals_no_delete BEFORE DELETE ON ledger.withdrawals
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER withdrawals_no_truncate BEFORE TRUNCATE ON ledger.withdrawals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER transactions_no_delete BEFORE DELETE ON ledger.transactions
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER transactions_no_truncate BEFORE TRUNCATE ON ledger.transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
