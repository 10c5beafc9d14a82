-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Users, their sessions, refresh tokens and API keys.

-- A login. The e-mail is stored in its canonical form, so equal means equal.
CREATE TABLE identity.users (
    id            uuid        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    email         text        NOT NULL,
    name          text,
    password_hash text,                  -- argon2id, with its parameters and salt; NULL: closed
    role          text        NOT NULL DEFAULT 'user',   -- finpay_app may not write it
    email_verified_at timestamptz,   -- the user read a mail to the address
    second_factor boolean   NOT NULL DEFAULT false,   -- a login needs a code
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_email_length CHECK (char_length(email) BETWEEN 3 AND 254),
    CONSTRAINT users_name_length CHECK (char_length(name) <= 100),
    CONSTRAINT users_role CHECK (role IN ('user', 'operator', 'auditor'))
);

-- One row per login. A revoked session stays revoked, and none outlives expires_at, whatever is
-- refreshed. Each refresh token is the HMAC of the one before it under refresh_key.
CREATE TABLE identity.sessions (
    id          uuid        NOT NULL,
    user_id     uuid        NOT NULL,
    refresh_key bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL DEFAULT clock_timestamp() + interval '90 days',
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),   -- login, refresh or first use
    device      text,       -- User-Agent of the login, so that its owner recognises it
    address     text,       -- IP address of the login
    ended_at    timestamptz,
    end_reason  text,
    second_factor boolean   NOT NULL DEFAULT false,   -- its user showed a code
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id),
    CONSTRAINT sessions_refresh_key_length CHECK (octet_length(refresh_key) = 32),
    CONSTRAINT sessions_end CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CONSTRAINT sessions_end_reason
        CHECK (end_reason IN
            ('account_closed', 'logout', 'password_changed', 'password_reset',
             'refresh_token_reused', 'revoked', 'role_changed', 'second_factor_changed')),
    CONSTRAINT sessions_device_length CHECK (char_length(device) <= 200)
);
-- The list of active sessions; a password change revokes the user's other ones.
CREATE INDEX sessions_active_by_user ON identity.sessions (user_id, id) WHERE ended_at IS NULL;
-- Whether a login comes from a device that the user has used before.
CREATE INDEX sessions_by_device ON identity.sessions (user_id, device);

-- Every refresh token of a session, as a SHA-256: the tokens have 256 random bits, so a plain hash
-- is enough. Exchanged ones are kept, so that reuse is detected. The successor of generation n is
-- generation n + 1; access tokens carry the generation of the refresh token issued with them.
CREATE TABLE identity.refresh_tokens (
    hash              bytea       NOT NULL,
    session_id        uuid        NOT NULL,
    generation        integer     NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at        timestamptz NOT NULL,
    successor_used_at timestamptz,   -- first use of the successor or of an access token with it
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (hash),
    CONSTRAINT refresh_tokens_generation_key UNIQUE (session_id, generation),
    CONSTRAINT refresh_tokens_generation CHECK (generation >= 0),
    CONSTRAINT refresh_tokens_session_fkey
        FOREIGN KEY (session_id) REFERENCES identity.sessions (id)
);
-- The cleanup deletes long expired ones.
CREATE INDEX refresh_tokens_by_expiry ON identity.refresh_tokens (expires_at);

-- A key of a user's server. Only the SHA-256 of the secret is stored: it has 238 random bits. All
-- but last_used_at and revoked_at is final, so processes may remember it.
CREATE TABLE identity.api_keys (
    id            uuid        NOT NULL,
    user_id       uuid        NOT NULL,
    secret_hash   bytea       NOT NULL,
    prefix        text        NOT NULL,   -- the first characters of the secret
    name          text        NOT NULL,
    scopes        text[]      NOT NULL,
    allowed_cidrs cidr[]      NOT NULL,   -- none: from every address
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz,
    last_used_at  timestamptz,            -- up to a minute old
    revoked_at    timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_secret_hash_key UNIQUE (secret_hash),
    CONSTRAINT api_keys_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id),
    CONSTRAINT api_keys_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_scopes CHECK (cardinality(scopes) > 0)
);
CREATE INDEX api_keys_active_by_user ON identity.api_keys (user_id, id) WHERE revoked_at IS NULL;

-- Whether a user may be found by an e-mail address. Where FinPay sends mails, which the app says in
-- a setting of its connections, an address belongs to the user who has verified it.
CREATE FUNCTION identity.can_be_found(email_verified_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN email_verified_at IS NOT NULL
    OR current_setting('finpay.require_verified_receiver', true) IS DISTINCT FROM 'on';

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
