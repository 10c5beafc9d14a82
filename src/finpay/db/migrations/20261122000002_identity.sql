-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Who may log in. The e-mail is stored NFKC-normalised and lower-cased, so equal means equal.
CREATE TABLE identity.users (
    id            uuid        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    email         text        NOT NULL,
    name          text,
    password_hash text        NOT NULL,   -- argon2id, with its parameters and salt
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_email_length CHECK (char_length(email) BETWEEN 3 AND 254),
    CONSTRAINT users_name_length CHECK (char_length(name) <= 100)
);

-- One row per login. A session that ended never lives again.
CREATE TABLE identity.sessions (
    id         uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    end_reason text,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id),
    CONSTRAINT sessions_end CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CONSTRAINT sessions_end_reason
        CHECK (end_reason IN ('logout', 'password_changed', 'refresh_token_reused'))
);
-- Password change ends the user's other sessions.
CREATE INDEX sessions_living_of_user ON identity.sessions (user_id) WHERE ended_at IS NULL;

-- Every refresh token that a session ever had, as a SHA-256: the tokens have 256 random bits, so a
-- plain hash is enough. A rotated one is kept: that is how reuse is seen.
CREATE TABLE identity.refresh_tokens (
    hash       bytea       NOT NULL,
    session_id uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    rotated_at timestamptz,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (hash),
    CONSTRAINT refresh_tokens_session_fkey
        FOREIGN KEY (session_id) REFERENCES identity.sessions (id)
);
CREATE INDEX refresh_tokens_of_session ON identity.refresh_tokens (session_id);
-- Pruning finds those that expired long ago.
CREATE INDEX refresh_tokens_expiry ON identity.refresh_tokens (expires_at);

-- migrate:down
-- Only forward: a mistake is put right by another migration.
