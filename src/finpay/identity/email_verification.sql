-- Named queries of finpay.identity.email_verification.

-- name: insert_verification_mail
-- A user whose address is verified gets none, the others at most $4 an hour.
WITH unverified AS (
    SELECT u.id FROM identity.users u WHERE u.id = $1 AND u.email_verified_at IS NULL
), mailed AS (
    INSERT INTO mail.messages (id, user_id, kind)
    SELECT $5, k.id, 'email_verification' FROM unverified k
    WHERE (SELECT count(*) FROM mail.messages m
           WHERE m.user_id = k.id AND m.kind = 'email_verification'
             AND m.created_at > clock_timestamp() - interval '1 hour') < $4
)
SELECT audit.record(id, 'email.verification_requested', id, $2, $3) FROM unverified

-- name: get_verification_token
SELECT user_id FROM mail.tokens WHERE hash = $1

-- name: set_email_verified
-- No row: the token is unknown, expired or used.
WITH used AS (
    UPDATE mail.tokens SET used_at = clock_timestamp()
    WHERE hash = $1 AND kind = 'email_verification' AND used_at IS NULL
      AND expires_at > clock_timestamp() RETURNING user_id
)
UPDATE identity.users u
SET email_verified_at = COALESCE(u.email_verified_at, clock_timestamp())
FROM used WHERE u.id = used.user_id RETURNING u.id

-- name: record_verification
-- No actor: the client has the token, and so reads the user's mails.
SELECT audit.record(NULL, 'email.verified', $1, $2, $3)
