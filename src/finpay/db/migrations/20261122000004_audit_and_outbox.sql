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
    previous        json,         -- its members that changed, as they were; null: none did
    CONSTRAINT events_pkey PRIMARY KEY (account_id, sequence),
    CONSTRAINT events_subject CHECK ((transaction_id IS NULL) <> (data IS NULL))
);
-- All but the frequent type, so that a list of rare ones need not read a long history. A transfer
-- that completes pays nothing for it.
CREATE INDEX events_rare ON outbox.events (account_id, sequence)
    WHERE type <> 'transaction.completed';

-- How far retention went: of an account's events up to this number some or all may be gone, none
-- beyond it. Who removes events moves it in the same transaction, so that the proof never takes a
-- removed one for a lost one.
CREATE TABLE outbox.pruned (
    account_id     uuid   NOT NULL,
    up_to_sequence bigint NOT NULL,
    CONSTRAINT pruned_pkey PRIMARY KEY (account_id),
    CONSTRAINT pruned_sequence CHECK (up_to_sequence > 0)
);

-- Events as they are told. One about a transaction is made here from rows that never change: the
-- transaction, with the status that this event told of, and the account's own entry or failure at
-- this number, whose balance is the only one in it. A new user's name and e-mail stay in one place,
-- where a person can be forgotten, and are only looked up.
CREATE VIEW outbox.told AS
SELECT e.account_id, e.sequence, e.type, e.created_at, e.actor_id, e.request_id, e.idempotency_key,
       e.data, e.previous,
       -- in the order of finpay.ledger.reads.Step
       t.id AS transaction_id, t.type AS transaction_type,
       split_part(e.type, '.', 2) AS status, t.sender_id, t.receiver_id, t.amount, t.currency,
       t.description, t.metadata, t.failure_code, t.created_at AS transaction_created_at,
       COALESCE(n.version, f.version + 1) AS entry_version,
       COALESCE(n.sequence, f.sequence) AS entry_sequence,
       COALESCE(n.balance_after, f.balance_after) AS balance_after,
       -- in the order of finpay.identity.models.User
       u.id AS user_id, u.email, u.name, u.created_at AS user_created_at
FROM outbox.events e
LEFT JOIN ledger.transactions t ON t.id = e.transaction_id
LEFT JOIN ledger.entries n ON n.account_id = e.account_id
    AND n.version = CASE e.account_id WHEN t.sender_id THEN t.sender_version
                                      WHEN t.receiver_id THEN t.receiver_version END
LEFT JOIN ledger.failures f ON f.account_id = e.account_id AND f.sequence = t.failure_sequence
LEFT JOIN identity.users u ON u.id = CASE e.type WHEN 'user.registered' THEN e.actor_id END;

-- Which numbers a time range can be among: all events of it lie after `after` and before `before`.
-- An account's numbers have no holes and were given in the order of time, so it is bisected: 2 * 40
-- probes of the key for 10^12 events, instead of reading the history to its end. A clock may have
-- been set back, by a minute at most: that much is left around the range, whose rows are compared.
CREATE FUNCTION outbox.numbers_within(
    of_account uuid, created_from timestamptz, created_to timestamptz,
    OUT after bigint, OUT before bigint
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    set_back CONSTANT interval := '1 minute';
    pruned bigint := COALESCE(
        (SELECT p.up_to_sequence FROM outbox.pruned p WHERE p.account_id = of_account), 0);
    newest bigint := COALESCE(
        (SELECT a.sequence FROM ledger.accounts a WHERE a.id = of_account), 0);
BEGIN
    -- What retention left of the numbers up to `pruned` has holes: it counts as within.
    after := outbox.first_since(of_account, created_from - set_back, pruned, newest) - 1;
    IF after IS NULL OR after <= pruned THEN
        after := 0;
    END IF;
    before := outbox.first_since(of_account, created_to + set_back, pruned, newest);
    IF before IS NULL OR before > newest THEN
        before := 9223372036854775807;  -- whatever is committed next may be within
    END IF;
END
$$;

-- The first number behind `low` whose event is not older than a moment, as far as `high`; one
-- beyond it if all are older.
CREATE FUNCTION outbox.first_since(
    of_account uuid, moment timestamptz, low bigint, high bigint
) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    middle bigint;
BEGIN
    high := high + 1;
    WHILE high - low > 1 LOOP  -- halves each time
        middle := low + (high - low) / 2;
        IF EXISTS (SELECT FROM outbox.events e WHERE e.account_id = of_account
                   AND e.sequence = middle AND e.created_at >= moment) THEN
            high := middle;
        ELSE
            low := middle;
        END IF;
    END LOOP;
    RETURN high;
END
$$;

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
-- Each of `data` is the subject as it now is, whole; `previous` its members that changed, as they
-- were. Returns the last number.
CREATE FUNCTION outbox.record_each(
    of_user uuid, type text, data json[], actor uuid, request_id text, previous json DEFAULT NULL
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
        account_id, sequence, actor_id, created_at, type, request_id, data, previous
    )
    SELECT account.id, account.sequence - cardinality(data) + told.n, actor, clock_timestamp(),
           type, request_id, told.subject, previous
    FROM unnest(data) WITH ORDINALITY AS told (subject, n);
    IF account.subscribed THEN
        PERFORM webhooks.enqueue(array_agg(account.id), array_agg(n), array_agg(type))
        FROM generate_series(account.sequence - cardinality(data) + 1, account.sequence) n;
    END IF;
    RETURN account.sequence;
END
$$;

CREATE FUNCTION outbox.record(
    of_user uuid, type text, data json, actor uuid, request_id text, previous json DEFAULT NULL
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT outbox.record_each(of_user, type, ARRAY[data], actor, request_id, previous)
$$;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
