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

-- What only the ledger may tell: money, and the status of accounts. Whoever steals the app's login
-- can't forge it through the functions below.
CREATE FUNCTION audit.refuse_ledger_news(news text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF news LIKE 'transaction.%' OR news = 'account.updated' THEN
        RAISE EXCEPTION '% is the ledger''s to tell', news USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

CREATE FUNCTION audit.record(
    actor uuid, action text, subject uuid, request_id text, address text, detail json DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM audit.refuse_ledger_news(action);
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address, detail)
    VALUES (clock_timestamp(), actor, subject, action, request_id, address, detail);
END
$$;

-- Events that are not about a transaction, one for each of `data`: they take the next numbers of
-- the user's account, whose row stays locked until the caller's commit, so numbers appear in order.
-- Returns the last number.
CREATE FUNCTION outbox.record_each(
    of_user uuid, type text, data json[], actor uuid, request_id text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    account ledger.accounts;
BEGIN
    PERFORM audit.refuse_ledger_news(type);
    UPDATE ledger.accounts a SET sequence = a.sequence + cardinality(data)
    WHERE a.user_id = of_user RETURNING * INTO STRICT account;
    INSERT INTO outbox.events (
        account_id, sequence, actor_id, created_at, type, request_id, data
    )
    SELECT account.id, account.sequence - cardinality(data) + told.n, actor, clock_timestamp(),
           type, request_id, told.subject
    FROM unnest(data) WITH ORDINALITY AS told (subject, n);
    RETURN account.sequence;
END
$$;

CREATE FUNCTION outbox.record(
    of_user uuid, type text, data json, actor uuid, request_id text
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT outbox.record_each(of_user, type, ARRAY[data], actor, request_id)
$$;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
