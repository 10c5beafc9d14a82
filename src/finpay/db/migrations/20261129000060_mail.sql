-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Mails to users, and the tokens of the links in them.

CREATE SCHEMA mail;

-- Mails to users. A row is written in the commit that causes the mail; a worker sends it, and tries
-- again later if that fails. Address and name are read when it is sent.
CREATE TABLE mail.messages (
    id              uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    kind            text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts        integer     NOT NULL DEFAULT 0,
    sent_at         timestamptz,
    failed_at       timestamptz,   -- given up
    CONSTRAINT messages_pkey PRIMARY KEY (id),
    CONSTRAINT messages_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id),
    CONSTRAINT messages_kind
        CHECK (kind IN
            ('email_verification', 'password_reset', 'password_changed', 'new_device',
             'api_key_created', 'second_factor_disabled', 'limits_raise_requested',
             'limits_raised', 'limits_changed'))
);
CREATE INDEX messages_due ON mail.messages (next_attempt_at)
    WHERE sent_at IS NULL AND failed_at IS NULL;
-- Old ones are deleted.
CREATE INDEX messages_by_age ON mail.messages (created_at);
CREATE INDEX messages_by_user ON mail.messages (user_id, kind, created_at);

-- What a link in a mail proves: a client with the token reads the user's mails. Made when the mail
-- is sent, as a SHA-256: the tokens have 256 random bits.
CREATE TABLE mail.tokens (
    hash       bytea       NOT NULL,
    user_id    uuid        NOT NULL,
    kind       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CONSTRAINT tokens_pkey PRIMARY KEY (hash),
    CONSTRAINT tokens_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id),
    CONSTRAINT tokens_kind CHECK (kind IN ('email_verification', 'password_reset'))
);
CREATE INDEX tokens_by_expiry ON mail.tokens (expires_at);
CREATE INDEX tokens_by_user ON mail.tokens (user_id, kind);

GRANT USAGE ON SCHEMA mail TO finpay_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mail TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
