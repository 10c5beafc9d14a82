-- Named queries of finpay.webhooks.endpoints.
--
-- Order of locks: the user, the endpoint, its secrets; last the account, whose row the table's
-- trigger locks when the account gets its first enabled endpoint or loses the last one.

-- name: insert_endpoint
-- No row if the owner has $8 already.
INSERT INTO webhooks.endpoints (id, user_id, account_id, url, description, event_types, enabled,
                                disabled_at, disabled_reason)
SELECT $1, $2, $3, $4, $5, $6, $7,
       CASE WHEN NOT $7 THEN clock_timestamp() END, CASE WHEN NOT $7 THEN 'owner' END
WHERE $8 > (SELECT count(*) FROM webhooks.endpoints WHERE user_id = $2 AND deleted_at IS NULL)
RETURNING id

-- name: insert_secret
INSERT INTO webhooks.secrets (endpoint_id, secret) VALUES ($1, $2)

-- name: list_endpoints
-- The owner's endpoints, newest first: all before the id $2, or the one with the id $4.
SELECT e.id, e.url, e.description, e.event_types, e.enabled, e.disabled_reason, e.disabled_at,
       e.first_failing_at, e.created_at, e.updated_at, s.overlap_until
FROM webhooks.endpoints e
CROSS JOIN LATERAL (
    SELECT max(s.expires_at) AS overlap_until FROM webhooks.secrets s
    WHERE s.endpoint_id = e.id AND s.expires_at > clock_timestamp()
) s
WHERE e.user_id = $1 AND e.deleted_at IS NULL
  AND ($2::uuid IS NULL OR e.id < $2) AND ($4::uuid IS NULL OR e.id = $4)
ORDER BY e.id DESC
LIMIT $3

-- name: lock_endpoint
SELECT enabled FROM webhooks.endpoints
WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: update_endpoint
-- Sets the columns that $2 names.
UPDATE webhooks.endpoints e SET
    url = CASE WHEN 'url' = ANY ($2::text[]) THEN $3 ELSE e.url END,
    description = CASE WHEN 'description' = ANY ($2) THEN $4 ELSE e.description END,
    event_types = CASE WHEN 'event_types' = ANY ($2) THEN $5 ELSE e.event_types END,
    updated_at = clock_timestamp()
WHERE e.id = $1

-- name: enable_endpoint
UPDATE webhooks.endpoints SET enabled = true, disabled_at = NULL, disabled_reason = NULL,
       first_failing_at = NULL, failures_in_row = 0, updated_at = clock_timestamp()
WHERE id = $1 AND NOT enabled

-- name: disable_endpoint
UPDATE webhooks.endpoints SET enabled = false, disabled_at = clock_timestamp(),
       disabled_reason = 'owner', updated_at = clock_timestamp()
WHERE id = $1 AND enabled

-- name: delete_endpoint
UPDATE webhooks.endpoints SET enabled = false, deleted_at = clock_timestamp(),
       disabled_at = COALESCE(disabled_at, clock_timestamp()),
       disabled_reason = COALESCE(disabled_reason, 'owner'), updated_at = clock_timestamp()
WHERE id = $1

-- name: delete_endpoints_of_user
-- With what their owner wrote. Their deliveries still name them.
UPDATE webhooks.endpoints SET enabled = false, url = 'https://closed.invalid/', description = NULL,
       deleted_at = COALESCE(deleted_at, clock_timestamp()),
       disabled_at = COALESCE(disabled_at, clock_timestamp()),
       disabled_reason = COALESCE(disabled_reason, 'owner'), updated_at = clock_timestamp()
WHERE user_id = $1 RETURNING id

-- name: delete_secrets_of_user
DELETE FROM webhooks.secrets s USING webhooks.endpoints e
WHERE e.user_id = $1 AND s.endpoint_id = e.id

-- name: delete_answers_of_user
-- What the endpoints answered.
UPDATE webhooks.attempts a SET answer = NULL
FROM webhooks.deliveries d JOIN webhooks.endpoints e ON e.id = d.endpoint_id
WHERE e.user_id = $1 AND a.delivery_id = d.id AND a.answer IS NOT NULL

-- name: delete_secrets
DELETE FROM webhooks.secrets WHERE endpoint_id = $1

-- name: retire_secrets
-- All secrets expire after the overlap of $2 seconds, older ones possibly sooner. 0 ends a leaked
-- secret at once.
UPDATE webhooks.secrets
SET expires_at = LEAST(expires_at, clock_timestamp() + make_interval(secs => $2))
WHERE endpoint_id = $1

-- name: delete_surplus_secrets
-- Keeps the newest $2: each secret is another signature in every delivery.
DELETE FROM webhooks.secrets s
WHERE s.endpoint_id = $1 AND (s.expires_at <= clock_timestamp() OR s.created_at NOT IN (
    SELECT n.created_at FROM webhooks.secrets n
    WHERE n.endpoint_id = $1 ORDER BY n.created_at DESC LIMIT $2))

-- name: record_audit
SELECT audit.record($1, $2, $3, $4, $5, $6::text::json)
