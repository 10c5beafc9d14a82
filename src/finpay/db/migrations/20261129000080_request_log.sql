-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The latest requests of users, for GET /requests. Kept for seven days, under load only a part: see
-- finpay.identity.request_log. No bodies, no paths, no addresses.
CREATE TABLE identity.requests (
    number      bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id     uuid        NOT NULL,
    session_id  uuid,                   -- one of the two is null
    api_key_id  uuid,
    created_at  timestamptz NOT NULL,   -- when it arrived, by the clock of the API process
    duration_us integer     NOT NULL,
    status      smallint    NOT NULL,
    request_id  text        NOT NULL,   -- X-Request-Id: of the client or new, so not unique
    method      text        NOT NULL,
    route       text        NOT NULL,   -- as in the routes table, with {id}
    code        text,                   -- of a problem
    CONSTRAINT requests_pkey PRIMARY KEY (user_id, created_at, number),
    CONSTRAINT requests_caller CHECK ((session_id IS NULL) <> (api_key_id IS NULL)),
    CONSTRAINT requests_lengths CHECK (
        octet_length(request_id) <= 128 AND octet_length(method) <= 16
        AND octet_length(route) <= 100 AND octet_length(code) <= 64)
);
CREATE INDEX requests_by_request_id ON identity.requests (user_id, request_id);
-- The cleanup deletes old ones.
CREATE INDEX requests_by_time ON identity.requests (created_at);

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
