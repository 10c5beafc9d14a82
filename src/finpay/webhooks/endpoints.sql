-- Named queries of finpay.webhooks.endpoints: what an owner does to endpoints.
--
-- Locks, always in this order: the user, the endpoint, its secrets; last the account, whose row the
-- table's trigger takes when an endpoint begins or ceases to wait for events.

-- name: lock_owner
-- Of two that add an endpoint at once, the second counts what the first added.
SELECT FROM identity.users WHERE id = $1 FOR NO KEY UPDATE

-- name: insert_endpoint
-- No row if the owner has as many as allowed ($8).
INSERT INTO webhooks.endpoints (id, user_id, account_id, url, description, event_types, enabled,
                                disabled_at, disabled_reason)
SELECT $1, $2, $3, $4, $5, $6, $7,
       CASE WHEN NOT $7 THEN clock_timestamp() END, CASE WHEN NOT $7 THEN 'owner' END
WHERE $8 > (SELECT count(*) FROM webhooks.endpoints WHERE user_id = $2 AND deleted_at IS NULL)
RETURNING id, url, description, event_types, enabled, disabled_reason, disabled_at,
          first_failing_at, created_at, updated_at, NULL::timestamptz AS overlap_until

-- name: insert_secret
INSERT INTO webhooks.secrets (endpoint_id, secret) VALUES ($1, $2)

-- name: list_endpoints
-- The owner's endpoints, newest first, before an id.
SELECT e.id, e.url, e.description, e.event_types, e.enabled, e.disabled_reason, e.disabled_at,
       e.first_failing_at, e.created_at, e.updated_at, s.overlap_until
FROM webhooks.endpoints e
CROSS JOIN LATERAL (
    SELECT max(s.expires_at) AS overlap_until FROM webhooks.secrets s
    WHERE s.endpoint_id = e.id AND s.expires_at > clock_timestamp()
) s
WHERE e.user_id = $1 AND e.deleted_at IS NULL AND ($2::uuid IS NULL OR e.id < $2)
ORDER BY e.id DESC
LIMIT $3

-- name: get_endpoint
SELECT e.id, e.url, e.description, e.event_types, e.enabled, e.disabled_reason, e.disabled_at,
       e.first_failing_at, e.created_at, e.updated_at, s.overlap_until
FROM webhooks.endpoints e
CROSS JOIN LATERAL (
    SELECT max(s.expires_at) AS overlap_until FROM webhooks.secrets s
    WHERE s.endpoint_id = e.id AND s.expires_at > clock_timestamp()
) s
WHERE e.id = $1 AND e.user_id = $2 AND e.deleted_at IS NULL

-- name: lock_endpoint
SELECT enabled FROM webhooks.endpoints
WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: update_endpoint
-- The members that are named in $2 become what they are here. What was switched off by us is
-- switched on with a clean slate; what is on already stays as it is.
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

-- name: delete_secrets
DELETE FROM webhooks.secrets WHERE endpoint_id = $1

-- name: retire_secrets
-- The current one signs on for the overlap of $2 seconds; those before it no longer than that, so
-- that a secret that leaked can be ended at once.
UPDATE webhooks.secrets
SET expires_at = LEAST(expires_at, clock_timestamp() + make_interval(secs => $2))
WHERE endpoint_id = $1

-- name: delete_surplus_secrets
-- Each that lives is another signature in every delivery: only the newest $2 do.
DELETE FROM webhooks.secrets s
WHERE s.endpoint_id = $1 AND (s.expires_at <= clock_timestamp() OR s.created_at NOT IN (
    SELECT n.created_at FROM webhooks.secrets n
    WHERE n.endpoint_id = $1 ORDER BY n.created_at DESC LIMIT $2))

-- name: record_audit
SELECT audit.record($1, $2, $3, $4, $5, $6::text::json)
