-- Named queries of finpay.identity.api_keys. All times are from the database's clock.

-- name: get_api_key_by_hash
-- Revoked and expired ones too: they are as unknown as any other, and look-ups of them are cached.
SELECT k.id, k.user_id, a.id AS account_id, k.scopes, k.allowed_cidrs::text[] AS allowed_cidrs,
       COALESCE(floor(extract(epoch FROM k.expires_at))::bigint, 9007199254740991) AS expires_at
FROM identity.api_keys k JOIN ledger.accounts a ON a.user_id = k.user_id
WHERE k.secret_hash = $1

-- name: get_active_api_key
SELECT COALESCE(last_used_at > clock_timestamp() - interval '1 minute', false) AS used_recently
FROM identity.api_keys
WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > clock_timestamp())

-- name: record_api_key_use
UPDATE identity.api_keys SET last_used_at = clock_timestamp() WHERE id = $1

-- name: insert_api_key
-- No row: the user has $9 keys already.
INSERT INTO identity.api_keys
    (id, user_id, secret_hash, prefix, name, scopes, allowed_cidrs, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7::text[]::cidr[], $8
WHERE (SELECT count(*) FROM identity.api_keys WHERE user_id = $2 AND revoked_at IS NULL) < $9
RETURNING id, prefix, name, scopes, allowed_cidrs::text[], last_used_at, expires_at, created_at

-- name: list_api_keys
-- Newest first, expired ones too. $2: the id before which the page begins, null for the first.
SELECT id, prefix, name, scopes, allowed_cidrs::text[], last_used_at, expires_at, created_at
FROM identity.api_keys
WHERE user_id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3

-- name: revoke_api_key
WITH revoked AS (
    UPDATE identity.api_keys SET revoked_at = clock_timestamp()
    WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL RETURNING id
)
SELECT id, audit.record($2, 'api_key.revoked', id, $3, $4) FROM revoked

-- name: revoke_api_keys
WITH revoked AS (
    UPDATE identity.api_keys SET revoked_at = clock_timestamp()
    WHERE user_id = $1 AND revoked_at IS NULL RETURNING id
)
SELECT id, audit.record(NULL, 'api_key.revoked', id, $2, $3) FROM revoked

-- name: record_api_key_creation
-- With a mail to the user.
WITH mailed AS (
    INSERT INTO mail.messages (id, user_id, kind) VALUES ($6, $1, 'api_key_created')
)
SELECT audit.record($1, 'api_key.created', $2, $3, $4, $5)
