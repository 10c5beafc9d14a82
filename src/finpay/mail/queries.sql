-- Named queries of finpay.mail. All times are from the database's clock.

-- name: lease_due_messages
-- $1: maximum number, $2: seconds until another worker may try the same message. The delay of the
-- next attempt is set by `retry_message`.
WITH due AS (
    SELECT id FROM mail.messages
    WHERE next_attempt_at <= statement_timestamp() AND sent_at IS NULL AND failed_at IS NULL
    ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE mail.messages m
SET attempts = m.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $2)
FROM due, identity.users u
WHERE m.id = due.id AND u.id = m.user_id
RETURNING m.id, m.kind, m.attempts, u.email

-- name: record_sent_message
UPDATE mail.messages SET sent_at = clock_timestamp() WHERE id = $1

-- name: retry_message
UPDATE mail.messages SET next_attempt_at = clock_timestamp() + make_interval(secs => $2)
WHERE id = $1

-- name: record_failed_message
UPDATE mail.messages SET failed_at = clock_timestamp() WHERE id = $1

-- name: replace_token
-- For the mail $1. One token of a kind per user: a newer mail makes the links of older ones
-- worthless. No row: the mail was voided after it was leased, as by another password.
WITH message AS (
    SELECT user_id, kind FROM mail.messages WHERE id = $1 AND failed_at IS NULL
    FOR NO KEY UPDATE
), deleted AS (
    DELETE FROM mail.tokens t USING message m
    WHERE t.user_id = m.user_id AND t.kind = m.kind AND t.hash <> $2
)
INSERT INTO mail.tokens (hash, user_id, kind, expires_at)
SELECT $2, user_id, kind, clock_timestamp() + make_interval(secs => $3) FROM message
RETURNING user_id

-- name: delete_old_messages
-- Sent or not: one that is days late is of no use. $1: days; $2: maximum number. now() is
-- stable, so the index is used.
WITH old AS (
    SELECT id FROM mail.messages WHERE created_at < now() - make_interval(days => $1)
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM mail.messages m USING old WHERE m.id = old.id RETURNING 1 AS deleted

-- name: delete_expired_tokens
DELETE FROM mail.tokens WHERE hash IN (
    SELECT hash FROM mail.tokens WHERE expires_at < now()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
