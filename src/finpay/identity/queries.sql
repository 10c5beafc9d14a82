-- Named queries of finpay.identity. All times are from the database's clock.
--
-- Lock order, against deadlocks: the user, the session, its refresh token, and last the account,
-- whose row outbox.record locks until the commit.

-- name: get_login_by_email
SELECT id, password_hash FROM identity.users WHERE email = $1

-- name: get_user
SELECT id, email, name, created_at FROM identity.users WHERE id = $1

-- name: get_credentials
SELECT password_hash, email, name FROM identity.users WHERE id = $1

-- name: replace_password_hash
-- Only if the stored hash is the one that was verified.
UPDATE identity.users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING id

-- name: register_user
-- The user, the account, the first session and its first refresh token.
WITH registered AS (
    INSERT INTO identity.users (id, email, name, password_hash) VALUES ($1, $2, $3, $4)
    RETURNING id, email, name, created_at
), session AS (
    INSERT INTO identity.sessions (id, user_id) SELECT $5, id FROM registered RETURNING id
), token AS (
    INSERT INTO identity.refresh_tokens (hash, session_id, expires_at)
    SELECT $6, id, clock_timestamp() + make_interval(secs => $7) FROM session
)
SELECT u.id, u.email, u.name, u.created_at, a.id, a.balance, a.held, a.currency, a.status,
       a.version, a.created_at
FROM registered u CROSS JOIN LATERAL ledger.open_account($8, u.id, $9) a

-- name: record_registration
-- The user's event stores no e-mail address and no name. They are read when the event is encoded,
-- so that erasing a person means erasing one row.
SELECT audit.record($1, 'user.registered', $1, $4, $5),
       audit.record($1, 'account.created', $2, $4, $5),
       audit.record($1, 'session.created', $3, $4, $5),
       outbox.record($1, 'user.registered', json_build_object(
           'id', ledger.type_id('usr', $1), 'object', 'user'), $1, $4),
       outbox.record($1, 'account.created', ledger.account_object(a), $1, $4)
FROM ledger.accounts a WHERE a.id = $2

-- name: open_session
-- A session for a user whose password hash is still the one that was verified; otherwise no row.
-- The lock makes a concurrent password change wait, which then revokes this session too.
WITH verified AS (
    SELECT id, email, name, created_at FROM identity.users
    WHERE id = $1 AND password_hash = $2 FOR NO KEY UPDATE
), session AS (
    INSERT INTO identity.sessions (id, user_id) SELECT $3, id FROM verified RETURNING id
), token AS (
    INSERT INTO identity.refresh_tokens (hash, session_id, expires_at)
    SELECT $4, id, clock_timestamp() + make_interval(secs => $5) FROM session
)
SELECT u.id, u.email, u.name, u.created_at, a.id, a.balance, a.held, a.currency, a.status,
       a.version, a.created_at,
       audit.record(u.id, 'session.created', s.id, $6, $7)
FROM verified u CROSS JOIN session s JOIN ledger.accounts a ON a.user_id = u.id

-- name: record_failed_login
-- No actor: the client knew the e-mail address only.
SELECT audit.record(NULL, 'login.failed', $1, $2, $3)

-- name: record_failed_password_change
SELECT audit.record($1, 'password.change_failed', $1, $2, $3)

-- name: record_password_change
SELECT audit.record($1, 'password.changed', $1, $2, $3)

-- name: is_session_active
SELECT id FROM identity.sessions WHERE id = $1 AND user_id = $2 AND ended_at IS NULL

-- name: lock_refresh_token
-- The state of the token after both locks are held, so of two concurrent calls with one token the
-- second sees the rotation by the first. $2 is the grace in seconds.
WITH token AS (
    SELECT t.session_id, s.user_id, s.ended_at, t.expires_at, t.rotated_at
    FROM identity.refresh_tokens t JOIN identity.sessions s ON s.id = t.session_id
    WHERE t.hash = $1
    FOR NO KEY UPDATE
)
SELECT t.session_id, t.user_id, a.id AS account_id,
       t.ended_at IS NOT NULL AS ended,
       t.expires_at <= clock_timestamp() AS expired,
       t.rotated_at IS NOT NULL
           AND t.rotated_at + make_interval(secs => $2) <= clock_timestamp() AS reused
FROM token t JOIN ledger.accounts a ON a.user_id = t.user_id

-- name: rotate_refresh_token
-- The grace counts from the first rotation: a second use of the old token does not prolong it.
WITH rotated AS (
    UPDATE identity.refresh_tokens SET rotated_at = COALESCE(rotated_at, clock_timestamp())
    WHERE hash = $1 RETURNING session_id
), token AS (
    INSERT INTO identity.refresh_tokens (hash, session_id, expires_at)
    SELECT $2, session_id, clock_timestamp() + make_interval(secs => $3) FROM rotated
)
SELECT audit.record($4, 'session.refreshed', session_id, $5, $6) FROM rotated

-- name: revoke_session
UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = $3
WHERE id = $1 AND user_id = $2 AND ended_at IS NULL RETURNING id

-- name: revoke_other_sessions
UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = $3
WHERE user_id = $2 AND id <> $1 AND ended_at IS NULL RETURNING id

-- name: record_revoked_sessions
-- Set-based: a user may have thousands of sessions, and the account is locked meanwhile. The event
-- names the request only if its actor is the user; the audit row always does.
SELECT audit.record_each($3, 'session.revoked', $2, $4, $5,
                         json_build_object('reason', $6::text)),
       outbox.record_events($1, 'session.revoked', array_agg(json_build_object(
           'id', ledger.type_id('ses', s.id), 'object', 'session',
           'created_at', ledger.format_timestamp(s.created_at),
           'ended_at', ledger.format_timestamp(s.ended_at),
           'reason', s.end_reason) ORDER BY s.id),
       $3, CASE WHEN $3 IS NOT NULL THEN $4 END, '{"ended_at":null,"reason":null}')
FROM identity.sessions s WHERE s.id = ANY ($2)
HAVING count(*) > 0
