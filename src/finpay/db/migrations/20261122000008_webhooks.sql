-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

CREATE SCHEMA webhooks;

-- A UUIDv7: 48 bits of milliseconds, then random ones, so newer ids sort later. finpay.ids does the
-- same in Python; PostgreSQL has it built in since 18.
CREATE FUNCTION webhooks.new_id() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- Where a user wants to be told. Deleting one sets deleted_at and takes its secrets: the audit log
-- and its deliveries still name it. At most 16 living ones per user: whoever adds one locks the
-- user's row first, and counts.
CREATE TABLE webhooks.endpoints (
    id               uuid        NOT NULL,
    user_id          uuid        NOT NULL,
    account_id       uuid        NOT NULL,  -- the user's; here so that one join finds it
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at       timestamptz,
    disabled_at      timestamptz,
    first_failing_at timestamptz,           -- since when no attempt succeeded; null: the last did
    failures_in_row  integer     NOT NULL DEFAULT 0,
    enabled          boolean     NOT NULL DEFAULT true,
    disabled_reason  text,                  -- owner, gone (it answered 410), failing (for days)
    url              text        NOT NULL,
    description      text,
    event_types      text[]      NOT NULL,  -- each a whole type, a group (transaction.*) or *
    CONSTRAINT endpoints_pkey PRIMARY KEY (id),
    CONSTRAINT endpoints_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id),
    CONSTRAINT endpoints_url CHECK (char_length(url) BETWEEN 1 AND 2048),
    CONSTRAINT endpoints_description CHECK (char_length(description) <= 500),
    CONSTRAINT endpoints_event_types CHECK (cardinality(event_types) BETWEEN 1 AND 32),
    CONSTRAINT endpoints_disabled CHECK (enabled = (disabled_at IS NULL)
                                         AND enabled = (disabled_reason IS NULL)),
    CONSTRAINT endpoints_disabled_reason CHECK (disabled_reason IN ('owner', 'gone', 'failing')),
    CONSTRAINT endpoints_deleted CHECK (deleted_at IS NULL OR NOT enabled)
);
CREATE INDEX endpoints_living_of_account ON webhooks.endpoints (account_id)
    WHERE deleted_at IS NULL;
CREATE INDEX endpoints_living_of_user ON webhooks.endpoints (user_id, id)
    WHERE deleted_at IS NULL;

-- What deliveries are signed with. Every secret that has not expired signs: the newest has no end,
-- those that it replaced live on for the overlap of a rotation.
CREATE TABLE webhooks.secrets (
    endpoint_id uuid        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,             -- null: the current one
    secret      text        NOT NULL,    -- whsec_ and base64, as the receiver has it
    CONSTRAINT secrets_pkey PRIMARY KEY (endpoint_id, created_at),
    CONSTRAINT secrets_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES webhooks.endpoints (id)
);
CREATE UNIQUE INDEX secrets_current ON webhooks.secrets (endpoint_id) WHERE expires_at IS NULL;

-- One event on its way to one endpoint.
--
--     pending ─→ leased ─→ delivered       ready now; held by a worker; answered with 2xx
--        ↑         ├─────→ waiting         failed, until due_at
--        │         ├─────→ failed          the schedule is exhausted
--        └─────────┴─────  (released)      canceled: its endpoint was disabled or deleted
--
-- A lease has no transaction behind it: it lasts as long as its worker says that it lives. No
-- foreign keys: rows come in the ledger's own commits, and endpoints stay.
CREATE TABLE webhooks.deliveries (
    id          uuid        NOT NULL,
    endpoint_id uuid        NOT NULL,
    account_id  uuid        NOT NULL,
    sequence    bigint,                   -- with account_id the event; null: see payload
    created_at  timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,     -- of a waiting one: when it is tried again
    finished_at timestamptz,
    worker_id   uuid,                     -- who holds the lease
    attempts    integer     NOT NULL DEFAULT 0,
    step        smallint    NOT NULL DEFAULT 0,  -- tries since it began or was asked for again
    status      text        NOT NULL DEFAULT 'pending',
    event_type  text        NOT NULL,
    payload     text,                     -- the body of what is no event of the outbox: a ping
    CONSTRAINT deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT deliveries_event_key UNIQUE (endpoint_id, sequence),  -- one per event and endpoint
    CONSTRAINT deliveries_content CHECK ((sequence IS NULL) <> (payload IS NULL)),
    CONSTRAINT deliveries_status CHECK (
        status IN ('pending', 'leased', 'waiting', 'delivered', 'failed', 'canceled')),
    CONSTRAINT deliveries_lease CHECK ((status = 'leased') = (worker_id IS NOT NULL)),
    CONSTRAINT deliveries_finished CHECK (
        (status IN ('delivered', 'failed', 'canceled')) = (finished_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
-- The owner's list, newest first.
CREATE INDEX deliveries_of_endpoint ON webhooks.deliveries (endpoint_id, id);
-- The queue, endpoint by endpoint: a long one is stepped over in one descent of the index.
CREATE INDEX deliveries_pending ON webhooks.deliveries (endpoint_id, id) WHERE status = 'pending';
CREATE INDEX deliveries_leased ON webhooks.deliveries (endpoint_id, worker_id)
    WHERE status = 'leased';
CREATE INDEX deliveries_waiting ON webhooks.deliveries (due_at) WHERE status = 'waiting';
-- What went wrong at one endpoint, among millions that did not: a delivery that succeeds at once is
-- never in it.
CREATE INDEX deliveries_troubled ON webhooks.deliveries (endpoint_id, id)
    WHERE status IN ('waiting', 'failed', 'canceled');
-- How old the oldest one is, and what retention has to leave.
CREATE INDEX deliveries_unfinished ON webhooks.deliveries (created_at) WHERE finished_at IS NULL;

-- Each time that an endpoint was called, or could not be.
CREATE TABLE webhooks.attempts (
    delivery_id uuid        NOT NULL,
    started_at  timestamptz NOT NULL,
    number      integer     NOT NULL,   -- 1, 2, … within its delivery
    duration_ms integer     NOT NULL,
    http_status smallint,               -- null: there was no answer
    error       text,                   -- null: it succeeded; else dns_failed, bad_status, …
    answer      text,                   -- the first 2 kB, as text
    CONSTRAINT attempts_pkey PRIMARY KEY (delivery_id, number),
    CONSTRAINT attempts_answer CHECK (octet_length(answer) <= 8192)
);

-- The worker processes that live. Whoever was not heard of in time lost its leases; so did, at
-- once, whoever lost its connection and with it the advisory lock (LOCK_CLASS, lock_key): a process
-- that was killed is missed within a moment, one that hangs within seconds.
CREATE TABLE webhooks.workers (
    id          uuid        NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_until timestamptz NOT NULL,
    lock_key    integer     NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (id)
);

-- Whether an enabled endpoint waits for this account's events. The ledger reads it from the rows
-- that it locks anyway, so accounts without endpoints cost nothing.
ALTER TABLE ledger.accounts ADD COLUMN subscribed boolean NOT NULL DEFAULT false;

-- Keeps ledger.accounts.subscribed. The account's lock comes after the endpoint's, as everywhere:
-- a transfer that holds it committed without this endpoint, the next one sees it.
CREATE FUNCTION webhooks.note_subscription() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM ledger.accounts a WHERE a.id = NEW.account_id FOR NO KEY UPDATE;
    UPDATE ledger.accounts a SET subscribed = e.any
    FROM (SELECT EXISTS (SELECT FROM webhooks.endpoints e
                         WHERE e.account_id = NEW.account_id AND e.deleted_at IS NULL
                           AND e.enabled) AS any) e
    WHERE a.id = NEW.account_id AND a.subscribed <> e.any;
    RETURN NULL;
END
$$;
CREATE TRIGGER endpoints_are_noted AFTER INSERT OR UPDATE OF enabled, deleted_at
    ON webhooks.endpoints
    FOR EACH ROW EXECUTE FUNCTION webhooks.note_subscription();

-- Events become deliveries in the transaction that writes them: rolled back with it, and never
-- skipped, however late it commits. Event i is (account_ids[i], sequences[i]) of types[i]. Returns
-- how many deliveries it made. Called only for subscribed accounts, whose rows are locked.
CREATE FUNCTION webhooks.enqueue(
    account_ids uuid[], sequences bigint[], types text[]
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    now  CONSTANT timestamptz := clock_timestamp();
    made integer;
BEGIN
    -- OFFSET 0 keeps it one index probe per event, whatever the statistics of the day say.
    INSERT INTO webhooks.deliveries (
        id, endpoint_id, account_id, sequence, created_at, due_at, event_type
    )
    SELECT webhooks.new_id(), e.id, told.account_id, told.sequence, now, now, told.type
    FROM unnest(account_ids, sequences, types) AS told (account_id, sequence, type)
    CROSS JOIN LATERAL (
        SELECT * FROM webhooks.endpoints p
        WHERE p.account_id = told.account_id AND p.deleted_at IS NULL OFFSET 0
    ) e
    WHERE e.enabled
      AND e.event_types && ARRAY[told.type, split_part(told.type, '.', 1) || '.*', '*'];
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;

-- Retention: removes the oldest events of the next accounts beyond `after`, each up to the first
-- that is younger than `keep_s` seconds or that an enabled endpoint still waits for, and at most
-- `events` of each. Answers where to go on; null at the end. It locks nothing that anybody else
-- needs. The floor of a day holds whoever calls it: stolen app credentials erase no trail at once.
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
    ids   uuid[];
    edges bigint[];   -- per account: the last number to remove; null: none
    more  integer;    -- the first account that has more than `events` to remove
BEGIN
    SELECT array_agg(a.id ORDER BY a.id), array_agg(a.edge ORDER BY a.id),
           min(a.n) FILTER (WHERE a.full)
    INTO ids, edges, more
    FROM (
        SELECT w.id, w.n, old.edge, old.full
        FROM (SELECT a.id, row_number() OVER (ORDER BY a.id) AS n FROM ledger.accounts a
              WHERE a.id > after AND a.user_id IS NOT NULL ORDER BY a.id LIMIT accounts) w
        CROSS JOIN LATERAL (
            SELECT COALESCE(min(e.sequence) FILTER (WHERE e.stays) - 1, max(e.sequence)) AS edge,
                   count(*) FILTER (WHERE NOT e.stays) = events AS full
            FROM (
                SELECT v.sequence, v.created_at >= cutoff OR EXISTS (
                           SELECT FROM webhooks.endpoints p
                           JOIN webhooks.deliveries d
                               ON d.endpoint_id = p.id AND d.sequence = v.sequence
                           WHERE p.account_id = v.account_id AND p.deleted_at IS NULL
                             AND d.finished_at IS NULL) AS stays
                FROM outbox.events v WHERE v.account_id = w.id ORDER BY v.sequence LIMIT events
            ) e
        ) old
    ) a;
    last := CASE WHEN more IS NULL THEN ids[cardinality(ids)]
                 WHEN more = 1 THEN after ELSE ids[more - 1] END;

    WITH gone AS (
        DELETE FROM outbox.events v USING unnest(ids, edges) AS e (account_id, edge)
        WHERE v.account_id = e.account_id AND v.sequence <= e.edge
        RETURNING v.account_id, v.sequence
    ), noted AS (
        INSERT INTO outbox.pruned AS p (account_id, up_to_sequence)
        SELECT account_id, max(sequence) FROM gone GROUP BY account_id
        ON CONFLICT (account_id) DO UPDATE
            SET up_to_sequence = GREATEST(p.up_to_sequence, excluded.up_to_sequence)
    )
    SELECT count(*) INTO removed FROM gone;
END
$$;

GRANT USAGE ON SCHEMA webhooks TO finpay_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA webhooks TO finpay_app;
GRANT EXECUTE ON FUNCTION webhooks.new_id, outbox.prune TO finpay_app;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
