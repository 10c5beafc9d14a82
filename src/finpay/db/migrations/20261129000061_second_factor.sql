-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The second factor of a login: the secret that time-based codes (RFC 6238) are made of. It has no
-- effect before the user has shown a code. The secret is in no log, event, audit row or export.
CREATE TABLE identity.second_factors (
    user_id      uuid        NOT NULL,
    secret       text        NOT NULL,             -- in base 32, as authenticators read it
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    confirmed_at timestamptz,
    last_step    bigint      NOT NULL DEFAULT 0,   -- of the newest code that was used
    CONSTRAINT second_factors_pkey PRIMARY KEY (user_id),
    CONSTRAINT second_factors_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id)
);

-- Codes for a user who has lost the authenticator, as a SHA-256: they have 120 random bits.
CREATE TABLE identity.recovery_codes (
    user_id uuid  NOT NULL,
    hash    bytea NOT NULL,
    used_at timestamptz,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, hash),
    CONSTRAINT recovery_codes_factor_fkey
        FOREIGN KEY (user_id) REFERENCES identity.second_factors (user_id) ON DELETE CASCADE
);

-- A login with the right password that waits for a code. The token is stored as a SHA-256.
CREATE TABLE identity.login_challenges (
    hash       bytea       NOT NULL,
    user_id    uuid        NOT NULL,
    expires_at timestamptz NOT NULL,
    failures   integer     NOT NULL DEFAULT 0,
    CONSTRAINT login_challenges_pkey PRIMARY KEY (hash),
    CONSTRAINT login_challenges_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id)
);
CREATE INDEX login_challenges_by_user ON identity.login_challenges (user_id);
-- The cleanup deletes expired ones.
CREATE INDEX login_challenges_by_expiry ON identity.login_challenges (expires_at);

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
