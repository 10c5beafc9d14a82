-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Requests of users of the last days, for those who build on the API: no bodies, no addresses, and
-- under load a sample. Nothing depends on it, and its commits don't wait for the disk.
CREATE TABLE identity.requests (
    user_id       uuid        NOT NULL,
    id            uuid        NOT NULL,  -- of req_…, or a new one for another X-Request-Id
    credential_id uuid        NOT NULL,  -- the session or API key
    created_at    timestamptz NOT NULL,
    duration_ms   integer     NOT NULL,
    status        smallint    NOT NULL,
    is_api_key    boolean     NOT NULL,
    method        text        NOT NULL,
    route         text        NOT NULL,
    code          text,
    request_id    text        NOT NULL,  -- as in X-Request-Id
    CONSTRAINT requests_pkey PRIMARY KEY (user_id, id)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);
-- What is pruned.
CREATE INDEX requests_by_age ON identity.requests (created_at);

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
