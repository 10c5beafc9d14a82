-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Who did what, to what, when, from where, in which request. Append-only.
CREATE TABLE audit.log (
    id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    created_at timestamptz NOT NULL,
    actor_id   uuid,                  -- the user; null for the operator and for strangers
    subject_id uuid,                  -- the transaction, account, user or session; null: none
    action     text        NOT NULL,  -- 'transaction.completed', 'session.created', …
    request_id text,
    address    text,                  -- where the request came from
    detail     json,                  -- what else an investigator needs; never a secret
    CONSTRAINT log_pkey PRIMARY KEY (id)
);
CREATE TRIGGER log_is_final BEFORE UPDATE OR DELETE ON audit.log
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER log_is_kept BEFORE TRUNCATE ON audit.log
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- What happened, committed with it. One row per account that saw it, under that account's own
-- sequence; the row refers to its transaction instead of repeating it.
CREATE TABLE outbox.events (
    account_id      uuid        NOT NULL,
    sequence        bigint      NOT NULL,
    transaction_id  uuid,
    actor_id        uuid,         -- the user who caused it; null on the other side's event
    created_at      timestamptz NOT NULL,
    type            text        NOT NULL,
    request_id      text,
    idempotency_key text,
    data            json,         -- the subject, where that is no transaction
    CONSTRAINT events_pkey PRIMARY KEY (account_id, sequence),
    CONSTRAINT events_subject CHECK ((transaction_id IS NULL) <> (data IS NULL))
);

CREATE FUNCTION audit.record(
    actor uuid, action text, subject uuid, request_id text, address text, detail json DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address, detail)
    VALUES (clock_timestamp(), actor, subject, action, request_id, address, detail)
$$;

-- An event that is not about a transaction: takes the next number of the user's account, whose
-- row stays locked until the caller's commit, so numbers appear in order. Returns the number.
CREATE FUNCTION outbox.record(
    of_user uuid, type text, data json, actor uuid, request_id text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    account ledger.accounts;
BEGIN
    UPDATE ledger.accounts a SET sequence = a.sequence + 1
    WHERE a.user_id = of_user RETURNING * INTO STRICT account;
    INSERT INTO outbox.events (
        account_id, sequence, actor_id, created_at, type, request_id, data
    ) VALUES (
        account.id, account.sequence, actor, clock_timestamp(), type, request_id, data
    );
    RETURN account.sequence;
END
$$;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
