-- Named queries of finpay.identity.leaving.

-- name: end_sessions
-- All of the user, and what ended ones say about devices. `was_active`: Redis may know it.
WITH active AS (
    SELECT id FROM identity.sessions WHERE user_id = $1 AND ended_at IS NULL
)
UPDATE identity.sessions s
SET device = NULL, address = NULL, ended_at = COALESCE(s.ended_at, clock_timestamp()),
    end_reason = COALESCE(s.end_reason, 'account_closed')
WHERE s.user_id = $1
RETURNING s.id, s.id IN (SELECT id FROM active) AS was_active

-- name: delete_refresh_tokens
DELETE FROM identity.refresh_tokens t USING identity.sessions s
WHERE s.user_id = $1 AND t.session_id = s.id

-- name: revoke_api_keys
UPDATE identity.api_keys
SET revoked_at = COALESCE(revoked_at, clock_timestamp()), name = 'closed', allowed_cidrs = '{}'
WHERE user_id = $1
RETURNING id

-- name: insert_closed_email
-- Kept for 90 days; twice where a user left, came back and leaves again.
INSERT INTO identity.closed_emails (email_hash, free_at)
VALUES (sha256(convert_to($1, 'UTF8')), clock_timestamp() + interval '90 days')
ON CONFLICT (email_hash) DO UPDATE SET free_at = excluded.free_at

-- name: delete_mails
-- Before their tokens: a worker that makes one meanwhile has locked its mail.
DELETE FROM mail.messages WHERE user_id = $1

-- name: delete_credentials
-- What proves that an address or a login is the user's.
WITH tokens AS (
    DELETE FROM mail.tokens WHERE user_id = $1
), codes AS (
    DELETE FROM identity.recovery_codes WHERE user_id = $1
), challenges AS (
    DELETE FROM identity.login_challenges WHERE user_id = $1
)
DELETE FROM identity.second_factors WHERE user_id = $1

-- name: update_user
-- No user has this address. Without a hash of a password the user is one who left.
UPDATE identity.users
SET email = id || '@closed.invalid', name = NULL, password_hash = NULL, second_factor = false
WHERE id = $1

-- name: delete_free_emails
DELETE FROM identity.closed_emails WHERE free_at < clock_timestamp()
