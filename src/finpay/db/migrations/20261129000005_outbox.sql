-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Events: the closed list of types, the table, the view that builds events from the ledger's rows,
-- and the functions that record, find and delete them.

-- The closed list of event types, and who records each: the ledger's own functions, or the app
-- through outbox.record. `finpay ledger verify` finds events of any other type.
CREATE TABLE outbox.event_types (
    type        text NOT NULL,
    recorded_by text NOT NULL,
    CONSTRAINT event_types_pkey PRIMARY KEY (type),
    CONSTRAINT event_types_type CHECK (type ~ '^[a-z_]+[.][a-z_]+$'),
    CONSTRAINT event_types_recorded_by CHECK (recorded_by IN ('ledger', 'app'))
);
INSERT INTO outbox.event_types (type, recorded_by) VALUES
    ('account.created', 'app'),
    ('account.updated', 'ledger'),
    ('hold.captured', 'ledger'),
    ('hold.created', 'ledger'),
    ('hold.expired', 'ledger'),
    ('hold.voided', 'ledger'),
    ('payment_request.canceled', 'ledger'),
    ('payment_request.created', 'ledger'),
    ('payment_request.declined', 'ledger'),
    ('payment_request.expired', 'ledger'),
    ('payment_request.paid', 'ledger'),
    ('schedule.created', 'ledger'),
    ('schedule.ended', 'ledger'),
    ('schedule.failed', 'ledger'),
    ('schedule.paused', 'ledger'),
    ('schedule.resumed', 'ledger'),
    ('session.revoked', 'app'),
    ('transaction.completed', 'ledger'),
    ('transaction.failed', 'ledger'),
    ('transaction.refunded', 'ledger'),
    ('user.registered', 'app'),
    ('webhook_endpoint.disabled', 'app'),
    ('withdrawal.canceled', 'ledger'),
    ('withdrawal.completed', 'ledger'),
    ('withdrawal.created', 'ledger'),
    ('withdrawal.rejected', 'ledger');

-- What happened, in the commit that did it. One row per account that sees it, under that account's
-- own sequence; the row refers to its transaction instead of repeating it.
CREATE TABLE outbox.events (
    account_id      uuid        NOT NULL,
    sequence        bigint      NOT NULL,
    transaction_id  uuid,
    hold_id         uuid,
    actor_id        uuid,         -- the user who caused it; null in the other party's event
    created_at      timestamptz NOT NULL,
    type            text        NOT NULL,  -- of outbox.event_types
    request_id      text,
    idempotency_key text,
    -- The object that the event is about; of a transaction or hold only what may change later, null
    -- where it is as it was when it was made.
    data            json,
    previous        json,         -- its members that changed, with their former values
    CONSTRAINT events_pkey PRIMARY KEY (account_id, sequence)
);
-- All but the frequent types, so that a list of uncommon types need not read a long history.
-- Transfers, holds, captures and refunds write nothing to it.
CREATE INDEX events_uncommon_type ON outbox.events (account_id, sequence) WHERE type NOT IN (
    'hold.captured', 'hold.created', 'hold.expired', 'hold.voided', 'transaction.completed',
    'transaction.refunded');

-- How far retention went: of an account's events up to this sequence some or all may be deleted,
-- none beyond it. The statement that deletes events raises it, so that `finpay ledger verify` never
-- takes a deleted event for a lost one.
CREATE TABLE outbox.retention_watermarks (
    account_id     uuid   NOT NULL,
    up_to_sequence bigint NOT NULL,
    CONSTRAINT retention_watermarks_pkey PRIMARY KEY (account_id),
    CONSTRAINT retention_watermarks_sequence CHECK (up_to_sequence > 0)
);

-- Events with everything that their JSON needs. A transaction's event is built from rows that never
-- change: the transaction, with the status of the event's type, and the account's own entry or
-- failed transaction at this sequence, whose balance is the only one in it. A hold's event is built
-- from the account's own row of the hold. What may change of either is in the event. A new user's
-- name and e-mail are looked up, so that a person is erased in one place.
CREATE VIEW outbox.event_details AS
SELECT e.account_id, e.sequence, e.type, e.created_at, e.actor_id, e.request_id, e.idempotency_key,
       e.data, e.previous,
       -- in the order of finpay.ledger.reads.AccountTransaction
       t.id AS transaction_id, t.type AS transaction_type,
       CASE e.type WHEN 'transaction.refunded' THEN e.data ->> 'status'
                   ELSE split_part(e.type, '.', 2) END AS status,
       t.sender_id, t.receiver_id, t.amount, t.currency,
       t.description, t.metadata, t.failure_code, t.created_at AS transaction_created_at,
       COALESCE(n.version, f.version + 1) AS entry_version,
       COALESCE(n.sequence, f.sequence) AS entry_sequence,
       COALESCE(n.balance_after, f.balance_after) AS balance_after,
       COALESCE(n.held_after, f.held_after, 0) AS held_after,
       t.origin_type, t.origin_id, t.scheduled_for,
       CASE e.type WHEN 'transaction.refunded' THEN (e.data ->> 'refunded_amount')::bigint
                   ELSE 0 END AS refunded_amount,
       -- in the order of finpay.identity.models.User
       u.id AS user_id, u.email, u.name, false AS email_verified, u.created_at AS user_created_at,
       -- in the order of finpay.ledger.holds.Hold
       h.id AS hold_id, h.sender_id AS hold_sender_id, h.receiver_id AS hold_receiver_id,
       h.amount AS hold_amount,
       -- The data of other events may be what ->> can't read: only a hold's own are read.
       CASE WHEN h.id IS NOT NULL THEN COALESCE((e.data ->> 'captured_amount')::bigint, 0) END
           AS captured_amount,
       CASE WHEN h.id IS NOT NULL THEN COALESCE(e.data ->> 'status', 'open') END AS hold_status,
       h.currency AS hold_currency,
       h.description AS hold_description, h.metadata AS hold_metadata, h.expires_at,
       h.created_at AS hold_created_at
FROM outbox.events e
LEFT JOIN ledger.transactions t ON t.id = e.transaction_id
LEFT JOIN ledger.entries n ON n.account_id = e.account_id
    AND n.version = CASE e.account_id WHEN t.sender_id THEN t.sender_version
                                      WHEN t.receiver_id THEN t.receiver_version END
LEFT JOIN ledger.failed_transactions f
    ON f.account_id = e.account_id AND f.sequence = t.failure_sequence
LEFT JOIN ledger.holds h ON h.account_id = e.account_id AND h.id = e.hold_id
LEFT JOIN identity.users u ON u.id = CASE e.type WHEN 'user.registered' THEN e.actor_id END;

-- The sequences that a time range can be among: its events lie after `after` and before `before`.
-- An account's sequences have no gaps and were given in the order of time, so the range is found by
-- bisection: 2 * 40 probes of the key for 10^12 events, instead of reading the history to its end.
-- A clock may have been set back, by a minute at most: that much is left around the range, whose
-- rows are compared by the caller.
CREATE FUNCTION outbox.sequence_range(
    of_account uuid, created_from timestamptz, created_to timestamptz,
    OUT after bigint, OUT before bigint
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    set_back  CONSTANT interval := '1 minute';
    watermark CONSTANT bigint := COALESCE(
        (SELECT w.up_to_sequence FROM outbox.retention_watermarks w
         WHERE w.account_id = of_account), 0);
    newest    CONSTANT bigint := COALESCE(
        (SELECT a.sequence FROM ledger.accounts a WHERE a.id = of_account), 0);
BEGIN
    -- What retention left of the sequences up to the watermark has gaps: it counts as within.
    after := outbox.first_sequence_since(of_account, created_from - set_back, watermark, newest)
        - 1;
    IF after IS NULL OR after <= watermark THEN
        after := 0;
    END IF;
    before := outbox.first_sequence_since(of_account, created_to + set_back, watermark, newest);
    IF before IS NULL OR before > newest THEN
        before := 9223372036854775807;  -- the next commit's events may be within
    END IF;
END
$$;

-- The first sequence after `low` whose event is not older than a moment, as far as `high`; one
-- beyond it if all are older.
CREATE FUNCTION outbox.first_sequence_since(
    of_account uuid, moment timestamptz, low bigint, high bigint
) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    middle bigint;
BEGIN
    IF low < 0 OR high = 9223372036854775807 THEN
        RAISE EXCEPTION 'a range begins at 0 or later and ends before 2^63 - 1'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    high := high + 1;
    WHILE high - low > 1 LOOP  -- halves each time: at most 63 times
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

-- Adds events that are not about a transaction, one for each of `data`, under the next sequences of
-- the user's account. Its row stays locked until the caller's commit, so sequences appear in order.
-- Each of `data` is the whole object as it is now; `previous` its members that changed, with their
-- former values. Returns the last sequence. 42501 for the ledger's own types and for unknown ones,
-- compared exactly; 22023 for an unknown user, another actor, and documents that are too large.
CREATE FUNCTION outbox.record_events(
    of_user uuid, type text, data json[], actor uuid, request_id text, previous json DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    max_bytes CONSTANT integer := 16384;  -- of one document: a worker holds thousands of events
    invalid   text;
    account   ledger.accounts;
BEGIN
    IF NOT EXISTS (SELECT FROM outbox.event_types k
                   WHERE k.type = record_events.type AND k.recorded_by = 'app') THEN
        RAISE EXCEPTION 'finpay_app may not record events of type %', type
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    invalid := CASE
        WHEN array_dims(data) IS DISTINCT FROM format('[1:%s]', cardinality(data))
            OR cardinality(data) > 100000 OR pg_column_size(data) > 67108864
            THEN 'data is not an array of 1 to 100000 documents, 64 MiB together'
        WHEN EXISTS (SELECT FROM unnest(data) AS d (document) WHERE d.document IS NULL)
            THEN 'data has a null'
        WHEN octet_length(request_id) > 128 THEN 'request_id has more than 128 bytes'
        WHEN actor <> of_user THEN 'actor is another user'
        WHEN actor IS NULL AND request_id IS NOT NULL THEN 'request_id is given without its actor'
        WHEN ledger.json_error(previous, max_bytes) IS NOT NULL
            THEN 'previous ' || ledger.json_error(previous, max_bytes)
        ELSE (SELECT 'data ' || e.error
              FROM unnest(data) AS d (document),
                   ledger.json_error(d.document, max_bytes) AS e (error)
              WHERE e.error IS NOT NULL LIMIT 1)
    END;
    IF invalid IS NOT NULL THEN
        RAISE EXCEPTION '%', invalid USING ERRCODE = 'invalid_parameter_value';
    END IF;

    UPDATE ledger.accounts a SET sequence = a.sequence + cardinality(data)
    WHERE a.user_id = of_user RETURNING * INTO account;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'of_user has no account' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO outbox.events (
        account_id, sequence, actor_id, created_at, type, request_id, data, previous
    )
    SELECT account.id, account.sequence - cardinality(data) + d.n, actor, clock_timestamp(),
           type, request_id, d.document, previous
    FROM unnest(data) WITH ORDINALITY AS d (document, n);
    IF account.subscribed THEN
        PERFORM webhooks.enqueue(array_agg(account.id), array_agg(n), array_agg(type))
        FROM generate_series(account.sequence - cardinality(data) + 1, account.sequence) n;
    END IF;
    RETURN account.sequence;
END
$$;

-- One event, as record_events.
CREATE FUNCTION outbox.record(
    of_user uuid, type text, data json, actor uuid, request_id text, previous json DEFAULT NULL
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT outbox.record_events(of_user, type, ARRAY[data], actor, request_id, previous)
$$;

-- Retention: deletes the oldest events of the next accounts after `after`, each up to the first one
-- that is younger than `keep_s` seconds or has an unfinished delivery to an active endpoint, and at
-- most `events` of each. Returns where to continue; null at the end. It locks no row of another
-- transaction. keep_s is at least a day for every caller: stolen app credentials can't delete
-- younger events.
CREATE FUNCTION outbox.prune(
    after uuid, keep_s integer, accounts integer, events integer,
    OUT removed bigint, OUT last uuid
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz :=
        clock_timestamp() - make_interval(secs => GREATEST(keep_s, 86400));
    account_ids    uuid[];
    last_sequences bigint[];  -- per account: the last to delete; null: none
    unfinished     integer;   -- the first account with more than `events` to delete
BEGIN
    IF (accounts BETWEEN 1 AND 10000 AND events BETWEEN 1 AND 10000) IS NOT TRUE THEN
        RAISE EXCEPTION 'accounts and events are 1 to 10000 each'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(o.id ORDER BY o.id), array_agg(o.last_sequence ORDER BY o.id),
           min(o.n) FILTER (WHERE o.is_full)
    INTO account_ids, last_sequences, unfinished
    FROM (
        SELECT next.id, next.n, old.last_sequence, old.is_full
        FROM (SELECT a.id, row_number() OVER (ORDER BY a.id) AS n FROM ledger.accounts a
              WHERE a.id > after AND a.user_id IS NOT NULL ORDER BY a.id LIMIT accounts) next
        CROSS JOIN LATERAL (
            SELECT COALESCE(min(e.sequence) FILTER (WHERE e.is_kept) - 1, max(e.sequence))
                       AS last_sequence,
                   count(*) FILTER (WHERE NOT e.is_kept) = events AS is_full
            FROM (
                SELECT v.sequence, v.created_at >= cutoff OR EXISTS (
                           SELECT FROM webhooks.endpoints p
                           JOIN webhooks.deliveries d
                               ON d.endpoint_id = p.id AND d.sequence = v.sequence
                           WHERE p.account_id = v.account_id AND p.deleted_at IS NULL
                             AND d.finished_at IS NULL) AS is_kept
                FROM outbox.events v WHERE v.account_id = next.id ORDER BY v.sequence LIMIT events
            ) e
        ) old
    ) o;
    last := CASE WHEN unfinished IS NULL THEN account_ids[cardinality(account_ids)]
                 WHEN unfinished = 1 THEN after ELSE account_ids[unfinished - 1] END;

    WITH deleted AS (
        DELETE FROM outbox.events v
        USING unnest(account_ids, last_sequences) AS o (account_id, last_sequence)
        WHERE v.account_id = o.account_id AND v.sequence <= o.last_sequence
        RETURNING v.account_id, v.sequence
    ), raised AS (
        INSERT INTO outbox.retention_watermarks AS w (account_id, up_to_sequence)
        SELECT account_id, max(sequence) FROM deleted GROUP BY account_id
        ON CONFLICT (account_id) DO UPDATE
            SET up_to_sequence = GREATEST(w.up_to_sequence, excluded.up_to_sequence)
    )
    SELECT count(*) INTO removed FROM deleted;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
