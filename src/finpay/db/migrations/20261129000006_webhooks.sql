-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Webhook endpoints with their secrets, deliveries, attempts and workers; the function that adds a
-- delivery for each endpoint of an event.

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

-- Where a user's events are delivered. Deleting an endpoint sets deleted_at and deletes its
-- secrets: the audit log and its deliveries still name it. At most 16 active ones per user: adding
-- one locks the user's row and counts them.
CREATE TABLE webhooks.endpoints (
    id               uuid        NOT NULL,
    user_id          uuid        NOT NULL,
    account_id       uuid        NOT NULL,  -- the user's; copied here to save a join
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at       timestamptz,
    disabled_at      timestamptz,
    first_failing_at timestamptz,           -- of the failures since the last success
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
    CONSTRAINT endpoints_event_types CHECK (cardinality(event_types) BETWEEN 1 AND 64),
    CONSTRAINT endpoints_disabled CHECK (enabled = (disabled_at IS NULL)
                                         AND enabled = (disabled_reason IS NULL)),
    CONSTRAINT endpoints_disabled_reason CHECK (disabled_reason IN ('owner', 'gone', 'failing')),
    CONSTRAINT endpoints_deleted CHECK (deleted_at IS NULL OR NOT enabled)
);
CREATE INDEX endpoints_active_by_account ON webhooks.endpoints (account_id)
    WHERE deleted_at IS NULL;
CREATE INDEX endpoints_active_by_user ON webhooks.endpoints (user_id, id)
    WHERE deleted_at IS NULL;

-- Signing secrets. Every secret that has not expired signs: the current one has no expiry, replaced
-- ones expire after the overlap of a rotation.
CREATE TABLE webhooks.secrets (
    endpoint_id uuid        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,             -- null: the current one
    secret      text        NOT NULL,    -- whsec_ and base64, as the receiver has it
    CONSTRAINT secrets_pkey PRIMARY KEY (endpoint_id, created_at),
    CONSTRAINT secrets_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES webhooks.endpoints (id)
);
CREATE UNIQUE INDEX secrets_current ON webhooks.secrets (endpoint_id) WHERE expires_at IS NULL;

-- One event for one endpoint.
--
--     pending ─→ leased ─→ delivered       ready; leased by a worker; answered with 2xx
--        ↑         ├─────→ scheduled       an attempt failed, the next is at due_at
--        │         ├─────→ failed          the retry schedule is exhausted
--        └─────────┴─────  (released)      canceled: endpoint disabled or deleted
--
-- A lease outlives its transaction: it is valid while its worker sends heartbeats. No foreign keys:
-- rows are added in the ledger's own commits, and the row of an endpoint stays when it is deleted.
CREATE TABLE webhooks.deliveries (
    id          uuid        NOT NULL,
    endpoint_id uuid        NOT NULL,
    account_id  uuid        NOT NULL,
    sequence    bigint,                   -- with account_id the event; null: see payload
    created_at  timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,     -- of a scheduled one: the time of its next attempt
    finished_at timestamptz,
    worker_id   uuid,                     -- the worker that has the lease
    attempts    integer     NOT NULL DEFAULT 0,
    retry_index smallint    NOT NULL DEFAULT 0,  -- attempts since it was created or redelivered
    status      text        NOT NULL DEFAULT 'pending',
    event_type  text        NOT NULL,
    payload     text,                     -- the body of a ping, which is no event of the outbox
    CONSTRAINT deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT deliveries_event_key UNIQUE (endpoint_id, sequence),  -- one per event and endpoint
    CONSTRAINT deliveries_content CHECK ((sequence IS NULL) <> (payload IS NULL)),
    CONSTRAINT deliveries_status CHECK (
        status IN ('pending', 'leased', 'scheduled', 'delivered', 'failed', 'canceled')),
    CONSTRAINT deliveries_lease CHECK ((status = 'leased') = (worker_id IS NOT NULL)),
    CONSTRAINT deliveries_finished CHECK (
        (status IN ('delivered', 'failed', 'canceled')) = (finished_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
-- The owner's list, newest first.
CREATE INDEX deliveries_by_endpoint ON webhooks.deliveries (endpoint_id, id);
-- The queue, by endpoint: a long queue of one endpoint is skipped in one descent of the index.
CREATE INDEX deliveries_pending ON webhooks.deliveries (endpoint_id, id) WHERE status = 'pending';
CREATE INDEX deliveries_leased ON webhooks.deliveries (endpoint_id, worker_id)
    WHERE status = 'leased';
CREATE INDEX deliveries_scheduled ON webhooks.deliveries (due_at) WHERE status = 'scheduled';
-- The unsuccessful deliveries of one endpoint: a delivery that succeeds at once is never in it.
CREATE INDEX deliveries_unsuccessful ON webhooks.deliveries (endpoint_id, id)
    WHERE status IN ('scheduled', 'failed', 'canceled');
-- The age of the oldest one, and the deliveries that retention keeps.
CREATE INDEX deliveries_unfinished ON webhooks.deliveries (created_at) WHERE finished_at IS NULL;

-- Each attempt to call an endpoint, answered or not.
CREATE TABLE webhooks.attempts (
    delivery_id uuid        NOT NULL,
    started_at  timestamptz NOT NULL,
    number      integer     NOT NULL,   -- 1, 2, … within its delivery
    duration_ms integer     NOT NULL,
    http_status smallint,               -- null: no response
    error       text,                   -- null: it succeeded; else dns_failed, bad_status, …
    answer      text,                   -- the first 2 kB, as text
    CONSTRAINT attempts_pkey PRIMARY KEY (delivery_id, number),
    CONSTRAINT attempts_answer CHECK (octet_length(answer) <= 8192)
);

-- Running worker processes. A worker loses its leases when its heartbeats stop (active_until), and
-- at once when it loses its connection and with it the advisory lock (LOCK_CLASS, lock_key): a
-- killed process is noticed within a second, a hanging one within seconds.
CREATE TABLE webhooks.workers (
    id           uuid        NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    active_until timestamptz NOT NULL,
    lock_key     integer     NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (id)
);

-- Keeps ledger.accounts.subscribed. The account is locked after the endpoint, as everywhere: a
-- transfer that has the lock commits without this endpoint, the next one sees it.
CREATE FUNCTION webhooks.sync_subscribed() RETURNS trigger
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
CREATE TRIGGER endpoints_sync_subscribed AFTER INSERT OR UPDATE OF enabled, deleted_at
    ON webhooks.endpoints
    FOR EACH ROW EXECUTE FUNCTION webhooks.sync_subscribed();

-- Adds the deliveries of events in the transaction that writes the events: rolled back with it, and
-- never skipped, however late it commits. Event i is (account_ids[i], sequences[i]) of types[i].
-- Returns the number of deliveries. Called only for subscribed accounts, whose rows are locked.
CREATE FUNCTION webhooks.enqueue(
    account_ids uuid[], sequences bigint[], types text[]
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    now  CONSTANT timestamptz := clock_timestamp();
    added integer;
BEGIN
    -- OFFSET 0 keeps it one index probe per event, whatever the statistics of the day say.
    INSERT INTO webhooks.deliveries (
        id, endpoint_id, account_id, sequence, created_at, due_at, event_type
    )
    SELECT webhooks.new_id(), e.id, v.account_id, v.sequence, now, now, v.type
    FROM unnest(account_ids, sequences, types) AS v (account_id, sequence, type)
    CROSS JOIN LATERAL (
        SELECT * FROM webhooks.endpoints p
        WHERE p.account_id = v.account_id AND p.deleted_at IS NULL OFFSET 0
    ) e
    WHERE e.enabled
      AND e.event_types && ARRAY[v.type, split_part(v.type, '.', 1) || '.*', '*'];
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
