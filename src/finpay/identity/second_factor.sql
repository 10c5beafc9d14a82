-- Named queries of finpay.identity.second_factor. All times are from the database's clock, but for
-- the time steps of codes, which are the app's.
--
-- Lock order: the user, then the factor or the challenge.

-- name: insert_second_factor
-- Replaces a secret of which no code was shown. No row: the second factor is on.
INSERT INTO identity.second_factors AS f (user_id, secret) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, created_at = clock_timestamp()
WHERE f.confirmed_at IS NULL RETURNING user_id

-- name: get_second_factor
SELECT secret, confirmed_at IS NOT NULL AS confirmed FROM identity.second_factors
WHERE user_id = $1

-- name: set_step_used
-- A code, and every older one, works once.
UPDATE identity.second_factors SET last_step = $2 WHERE user_id = $1 AND last_step < $2
RETURNING user_id

-- name: set_recovery_code_used
UPDATE identity.recovery_codes SET used_at = clock_timestamp()
WHERE user_id = $1 AND hash = $2 AND used_at IS NULL RETURNING user_id

-- name: enable_second_factor
WITH confirmed AS (
    UPDATE identity.second_factors SET confirmed_at = clock_timestamp() WHERE user_id = $1
), codes AS (
    INSERT INTO identity.recovery_codes (user_id, hash) SELECT $1, unnest($2::bytea[])
), session AS (
    UPDATE identity.sessions SET second_factor = true WHERE id = $3
), recorded AS (
    SELECT audit.record($1, 'second_factor.enabled', $1, $4, $5)
)
UPDATE identity.users SET second_factor = true FROM recorded WHERE id = $1

-- name: disable_second_factor
-- With its recovery codes, and a mail to the user. $2: the actor; $6: the reason of an operator,
-- null otherwise.
WITH deleted AS (
    DELETE FROM identity.second_factors WHERE user_id = $1
), challenges AS (
    DELETE FROM identity.login_challenges WHERE user_id = $1
), mailed AS (
    INSERT INTO mail.messages (id, user_id, kind) VALUES ($5, $1, 'second_factor_disabled')
), recorded AS (
    SELECT audit.record($2, 'second_factor.disabled', $1, $3, $4, $6)
)
UPDATE identity.users SET second_factor = false FROM recorded WHERE id = $1

-- name: record_failed_code
SELECT audit.record(NULL, 'second_factor.failed', $1, $2, $3)

-- name: insert_challenge
-- Only if the password is still the one that was verified, and a code is needed.
WITH verified AS (
    SELECT id FROM identity.users WHERE id = $2 AND password_hash = $3 AND second_factor
    FOR NO KEY UPDATE
)
INSERT INTO identity.login_challenges (hash, user_id, expires_at)
SELECT $1, id, clock_timestamp() + make_interval(secs => $4) FROM verified RETURNING user_id

-- name: get_challenge
SELECT c.user_id, u.email FROM identity.login_challenges c
JOIN identity.users u ON u.id = c.user_id
WHERE c.hash = $1 AND c.expires_at > clock_timestamp() AND c.failures < $2

-- name: lock_challenge
SELECT user_id FROM identity.login_challenges
WHERE hash = $1 AND expires_at > clock_timestamp() AND failures < $2 FOR UPDATE

-- name: record_challenge_failure
UPDATE identity.login_challenges SET failures = failures + 1 WHERE hash = $1

-- name: delete_challenge
DELETE FROM identity.login_challenges WHERE hash = $1
