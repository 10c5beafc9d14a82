-- Named queries of finpay.identity.password_reset.

-- name: lock_user_by_email
-- Of requests at once each counts the mails of those before it. Who has left has no address.
SELECT id FROM identity.users WHERE email = $1 FOR NO KEY UPDATE

-- name: insert_reset_mail
-- The same work for an unknown e-mail address: one audit row, without a subject. A user gets at
-- most $4 mails an hour.
WITH mailed AS (
    INSERT INTO mail.messages (id, user_id, kind)
    SELECT $5, $1, 'password_reset'
    WHERE $1::uuid IS NOT NULL AND $4 > (
        SELECT count(*) FROM mail.messages m
        WHERE m.user_id = $1 AND m.kind = 'password_reset'
          AND m.created_at > clock_timestamp() - interval '1 hour')
)
SELECT audit.record(NULL, 'password.reset_requested', $1, $2, $3)

-- name: get_reset_token
SELECT t.user_id, u.email, u.name FROM mail.tokens t JOIN identity.users u ON u.id = t.user_id
WHERE t.hash = $1 AND t.kind = 'password_reset' AND t.used_at IS NULL
  AND t.expires_at > clock_timestamp()

-- name: set_token_used
-- Of concurrent calls one gets the row.
UPDATE mail.tokens SET used_at = clock_timestamp()
WHERE hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp() RETURNING user_id

-- name: cancel_reset_mails
-- Those that wait to be sent. They still count among the mails of the hour.
UPDATE mail.messages SET failed_at = clock_timestamp()
WHERE user_id = $1 AND kind = 'password_reset' AND sent_at IS NULL AND failed_at IS NULL

-- name: delete_reset_tokens
DELETE FROM mail.tokens WHERE user_id = $1 AND kind = 'password_reset'

-- name: set_password_hash
-- The user has read a mail to the address, which is verified with it.
UPDATE identity.users
SET password_hash = $2, email_verified_at = COALESCE(email_verified_at, clock_timestamp())
WHERE id = $1

-- name: record_reset
-- With a mail to the user. A login that waits for a code had shown the old password.
WITH deleted AS (
    DELETE FROM identity.login_challenges WHERE user_id = $1
), mailed AS (
    INSERT INTO mail.messages (id, user_id, kind) VALUES ($4, $1, 'password_changed')
)
SELECT audit.record(NULL, 'password.reset', $1, $2, $3)
