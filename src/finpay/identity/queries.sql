-- Named queries of finpay.identity. All times are from the database's clock.
--
-- Lock order, against deadlocks: the user, the session, its refresh token, and last the account,
-- whose row outbox.record locks until the commit.

-- name: lock_user
-- No row: there is no such user, or they have left, and so have no hash of a password.
SELECT id, email, password_hash, second_factor, email_verified_at IS NOT NULL AS email_verified
FROM identity.users WHERE id = $1 AND password_hash IS NOT NULL FOR NO KEY UPDATE

-- name: get_operator
SELECT id FROM identity.users WHERE id = $1 AND role = 'operator'

-- name: get_login_by_email
SELECT id, password_hash, second_factor FROM identity.users WHERE email = $1

-- name: get_user
SELECT id, email, name, email_verified_at IS NOT NULL AS email_verified, created_at
FROM identity.users WHERE id = $1

-- name: update_user
-- The audit row has no name: it is a person's, and audit rows are kept for ever.
UPDATE identity.users SET name = $2 WHERE id = $1 AND password_hash IS NOT NULL
RETURNING id, email, name, email_verified_at IS NOT NULL AS email_verified, created_at,
          audit.record($1, 'user.updated', $1, $3, $4)

-- name: get_credentials
SELECT password_hash, email, name FROM identity.users WHERE id = $1

-- name: replace_password_hash
-- Only if the stored hash is the one that was verified.
UPDATE identity.users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING id

-- name: register_user
-- The user, the account, the first session and its first refresh token. No row: the address is that
-- of a user who left, and not free yet. Where addresses have to be verified it is free at once.
WITH registered AS (
    INSERT INTO identity.users (id, email, name, password_hash)
    SELECT $1::uuid, $2::text, $3::text, $4::text
    WHERE NOT identity.can_be_found(NULL) OR NOT EXISTS (
        SELECT FROM identity.closed_emails c
        WHERE c.email_hash = sha256(convert_to($2, 'UTF8')) AND c.free_at > clock_timestamp())
    RETURNING id, email, name, created_at
), session AS (
    INSERT INTO identity.sessions (id, user_id, refresh_key, device, address)
    SELECT $5, id, $10, $11, $12 FROM registered RETURNING id
), token AS (
    INSERT INTO identity.refresh_tokens (hash, session_id, generation, expires_at)
    SELECT $6, id, 0, clock_timestamp() + make_interval(secs => $7) FROM session
)
SELECT u.id, u.email, u.name, false, u.created_at, a.id, a.balance, a.held, a.currency, a.status,
       a.version, ledger.limits_object(a)::text, a.created_at, 'user' AS role
FROM registered u CROSS JOIN LATERAL ledger.open_account($8, u.id, $9, $13, $14) a

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
-- A session for a user whose password hash is still the one that was verified; otherwise no row, as
-- also if a code is needed ($10: one was shown) or no longer is. The lock makes a concurrent
-- password change wait, which then revokes this session too. The first login of a device, as far
-- as its sessions are known, is announced by a mail.
WITH verified AS (
    SELECT id, email, name, email_verified_at, created_at, role FROM identity.users
    WHERE id = $1 AND password_hash = $2 AND second_factor = $10 FOR NO KEY UPDATE
), session AS (
    INSERT INTO identity.sessions (id, user_id, refresh_key, device, address, second_factor)
    SELECT $3, id, $8, $9, $7, $10 FROM verified RETURNING id
), token AS (
    INSERT INTO identity.refresh_tokens (hash, session_id, generation, expires_at)
    SELECT $4, id, 0, clock_timestamp() + make_interval(secs => $5) FROM session
), mailed AS (
    INSERT INTO mail.messages (id, user_id, kind)
    SELECT $11, v.id, 'new_device' FROM verified v
    WHERE NOT EXISTS (SELECT FROM identity.sessions s
                      WHERE s.user_id = $1 AND s.device IS NOT DISTINCT FROM $9)
)
SELECT u.id, u.email, u.name, u.email_verified_at IS NOT NULL, u.created_at,
       a.id, a.balance, a.held, a.currency, a.status,
       a.version, ledger.limits_object(a)::text, a.created_at,
       u.role,
       audit.record(u.id, 'session.created', s.id, $6, $7)
FROM verified u CROSS JOIN session s JOIN ledger.accounts a ON a.user_id = u.id

-- name: record_failed_login
-- No actor: the client knew the e-mail address only.
SELECT audit.record(NULL, 'login.failed', $1, $2, $3)

-- name: record_failed_password_change
SELECT audit.record($1, 'password.change_failed', $1, $2, $3)

-- name: record_password_change
-- With a mail to the user. A login that waits for a code had shown the old password.
WITH deleted AS (
    DELETE FROM identity.login_challenges WHERE user_id = $1
), mailed AS (
    INSERT INTO mail.messages (id, user_id, kind) VALUES ($4, $1, 'password_changed')
)
SELECT audit.record($1, 'password.changed', $1, $2, $3)

-- name: get_active_session
-- No row: the session has ended, or belongs to another user. $3 is the generation of the access
-- token; `first_use`: its use is not recorded yet, and matters to the refresh token before it.
SELECT EXISTS (
    SELECT FROM identity.refresh_tokens t
    WHERE t.session_id = s.id AND t.generation = $3 - 1 AND t.successor_used_at IS NULL
) AS first_use
FROM identity.sessions s
WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND s.expires_at > clock_timestamp()

-- name: record_first_use
-- Of generation $2: its refresh token, or an access token issued with it.
WITH seen AS (
    UPDATE identity.sessions SET seen_at = clock_timestamp() WHERE id = $1
)
UPDATE identity.refresh_tokens SET successor_used_at = clock_timestamp()
WHERE session_id = $1 AND generation = $2 - 1 AND successor_used_at IS NULL

-- name: list_sessions
-- Active ones, newest first. $2: the id before which the page begins, null for the first.
SELECT id, device, address, created_at, seen_at, expires_at FROM identity.sessions
WHERE user_id = $1 AND ended_at IS NULL AND expires_at > clock_timestamp()
  AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3

-- name: lock_session_of_refresh_token
SELECT id FROM identity.sessions
WHERE id = (SELECT session_id FROM identity.refresh_tokens WHERE hash = $1) FOR NO KEY UPDATE

-- name: get_refresh_token
-- Read after the session was locked, so of two concurrent exchanges of one token the second sees
-- the first. $2: seconds that a token is answered after its successor was first used.
SELECT t.session_id, s.user_id, a.id AS account_id, u.role, s.second_factor,
       s.refresh_key, t.generation, t.expires_at,
       s.ended_at IS NOT NULL AS ended,
       LEAST(t.expires_at, s.expires_at) <= clock_timestamp() AS expired,
       COALESCE(t.successor_used_at + make_interval(secs => $2) <= clock_timestamp(), false)
           AS reused,
       extract(epoch FROM s.expires_at - clock_timestamp())::float8 AS session_ends_in_s
FROM identity.refresh_tokens t JOIN identity.sessions s ON s.id = t.session_id
JOIN identity.users u ON u.id = s.user_id JOIN ledger.accounts a ON a.user_id = u.id
WHERE t.hash = $1

-- name: insert_successor
-- Once per token: a repeated exchange does not prolong. The successor expires no earlier than its
-- predecessor, whatever the lifetime is set to meanwhile: the cleanup deletes in this order.
INSERT INTO identity.refresh_tokens (hash, session_id, generation, expires_at)
SELECT $1, s.id, $3,
       LEAST(s.expires_at, GREATEST($4, clock_timestamp() + make_interval(secs => $5)))
FROM identity.sessions s WHERE s.id = $2
ON CONFLICT DO NOTHING

-- name: record_refresh
SELECT audit.record($1, 'session.refreshed', $2, $3, $4)

-- name: lock_active_session
SELECT extract(epoch FROM s.expires_at - clock_timestamp())::float8 AS ends_in_s, s.second_factor,
       (SELECT max(t.generation) FROM identity.refresh_tokens t WHERE t.session_id = s.id)
           AS generation
FROM identity.sessions s
WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND s.expires_at > clock_timestamp()
FOR NO KEY UPDATE

-- name: replace_refresh_tokens
-- All refresh tokens of the session become unknown; the new one has the generation $3.
WITH deleted AS (
    DELETE FROM identity.refresh_tokens WHERE session_id = $1
)
INSERT INTO identity.refresh_tokens (hash, session_id, generation, expires_at)
SELECT $2, s.id, $3, LEAST(s.expires_at, clock_timestamp() + make_interval(secs => $4))
FROM identity.sessions s WHERE s.id = $1

-- name: revoke_session
UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = $3
WHERE id = $1 AND user_id = $2 AND ended_at IS NULL RETURNING id

-- name: revoke_other_sessions
UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = $3
WHERE user_id = $2 AND id <> $1 AND ended_at IS NULL RETURNING id

-- name: revoke_all_sessions
-- The user is locked, by a login too: its session is among these, or it begins afterwards.
UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = $2
WHERE user_id = $1 AND ended_at IS NULL RETURNING id

-- name: record_revoked_sessions
-- Set-based: a user may have thousands of sessions, and the account is locked meanwhile. The event
-- names actor and request only if the actor is the user; the audit row always does.
SELECT audit.record_each($3, 'session.revoked', $2, $4, $5,
                         json_build_object('reason', $6::text)),
       outbox.record_events($1, 'session.revoked', array_agg(json_build_object(
           'id', ledger.type_id('ses', s.id), 'object', 'session',
           'created_at', ledger.format_timestamp(s.created_at),
           'ended_at', ledger.format_timestamp(s.ended_at),
           'reason', s.end_reason) ORDER BY s.id),
       CASE WHEN $3 = $1 THEN $3 END, CASE WHEN $3 = $1 THEN $4 END,
       '{"ended_at":null,"reason":null}')
FROM identity.sessions s WHERE s.id = ANY ($2)
HAVING count(*) > 0
