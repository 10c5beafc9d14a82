-- Named queries of the worker. All times are the database's clock. Rows are chosen by
-- `= ANY (ARRAY(…))`, which probes the key once per row whatever the planner's statistics are; a
-- join may read the whole table.
--
-- Order of locks: deliveries before endpoints when attempts are recorded, endpoints with SKIP
-- LOCKED when deliveries are claimed, the account last (by the trigger of endpoints and by
-- outbox.record). The ledger locks none of these rows: it only inserts deliveries.

-- name: list_ready_endpoints
-- Endpoints with pending deliveries after the id $1, at most $2, in order: one descent of the index
-- per endpoint, so that a backlog of a million rows costs as much as one row.
WITH RECURSIVE ready AS (
    (SELECT d.endpoint_id AS id FROM webhooks.deliveries d
     WHERE d.status = 'pending' AND d.endpoint_id > $1 ORDER BY d.endpoint_id, d.id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.endpoint_id FROM webhooks.deliveries d
            WHERE d.status = 'pending' AND d.endpoint_id > r.id
            ORDER BY d.endpoint_id, d.id LIMIT 1)
    FROM ready r WHERE r.id IS NOT NULL
)
SELECT id FROM ready WHERE id IS NOT NULL LIMIT $2

-- name: lock_endpoints
-- Until the claim commits, so that the next worker counts the leases of this one. Endpoints that
-- another worker has locked are skipped.
SELECT e.id, e.user_id, e.url, e.enabled, e.failures_in_row,
       (SELECT count(*) FROM webhooks.deliveries d
        WHERE d.endpoint_id = e.id AND d.status = 'leased') AS leased,
       ARRAY(SELECT s.secret FROM webhooks.secrets s
             WHERE s.endpoint_id = e.id
               AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
             ORDER BY s.created_at DESC) AS secrets
FROM webhooks.endpoints e
WHERE e.id = ANY ($1::uuid[])
ORDER BY e.id
FOR NO KEY UPDATE SKIP LOCKED

-- name: lease_deliveries
-- The oldest deliveries of each endpoint $1[i], at most $5[i], and at most $2[i] with those that
-- are leased already. $3 is the worker, $4 its free leases.
WITH chosen AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::uuid[], $2::integer[], $5::integer[]) AS e (id, max_leased, quota)
    CROSS JOIN LATERAL (
        SELECT p.id FROM webhooks.deliveries p
        WHERE p.status = 'pending' AND p.endpoint_id = e.id
        ORDER BY p.id
        LIMIT LEAST(e.quota, GREATEST(0, e.max_leased - (
            SELECT count(*) FROM webhooks.deliveries l
            WHERE l.endpoint_id = e.id AND l.status = 'leased')))
        FOR NO KEY UPDATE SKIP LOCKED
    ) d
    LIMIT $4
)
UPDATE webhooks.deliveries d SET status = 'leased', worker_id = $3
WHERE d.id = ANY (ARRAY(SELECT id FROM chosen))
RETURNING d.id, d.endpoint_id, d.account_id, d.sequence, d.retry_index, d.payload, d.event_type

-- name: cancel_deliveries
-- Pending deliveries of endpoints that were disabled or deleted, at most $2.
UPDATE webhooks.deliveries SET status = 'canceled', finished_at = clock_timestamp()
WHERE id = ANY (ARRAY(SELECT id FROM webhooks.deliveries
                      WHERE status = 'pending' AND endpoint_id = ANY ($1::uuid[])
                      ORDER BY endpoint_id, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED))

-- name: enqueue_due_retries
-- Retries that are due, at most $1.
UPDATE webhooks.deliveries SET status = 'pending'
WHERE id = ANY (ARRAY(SELECT id FROM webhooks.deliveries
                      WHERE status = 'scheduled' AND due_at <= statement_timestamp()
                      ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED))
RETURNING id

-- name: record_heartbeat
-- Extends the worker $1 by $2 seconds and takes its advisory lock ($3, its key), which ends with
-- the connection. `held` is false if a session has the lock: an earlier connection of this worker
-- whose loss PostgreSQL has not noticed yet.
INSERT INTO webhooks.workers AS w (id, active_until, lock_key)
VALUES ($1, clock_timestamp() + make_interval(secs => $2), hashtext($1::uuid::text))
ON CONFLICT (id) DO UPDATE SET active_until = excluded.active_until
RETURNING pg_try_advisory_lock($3, w.lock_key) AS held

-- name: reclaim_leases
-- Makes the leased deliveries of exited workers pending ($1 is the class of the workers' locks).
WITH active AS MATERIALIZED (
    SELECT w.id
    FROM webhooks.workers w
    JOIN pg_locks l ON l.locktype = 'advisory' AND l.classid::bigint = $1
        AND l.objid::bigint = w.lock_key & 4294967295 AND l.granted
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    WHERE w.active_until > clock_timestamp()
), orphans AS (
    SELECT d.id FROM webhooks.deliveries d
    WHERE d.status = 'leased' AND d.worker_id NOT IN (SELECT id FROM active)
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE webhooks.deliveries d SET status = 'pending', worker_id = NULL
WHERE d.id = ANY (ARRAY(SELECT id FROM orphans))
RETURNING d.id

-- name: delete_expired_workers
DELETE FROM webhooks.workers WHERE active_until < clock_timestamp() - interval '1 hour'

-- name: release_leases
-- Makes the unfinished leases of a stopping worker pending.
UPDATE webhooks.deliveries SET status = 'pending', worker_id = NULL
WHERE status = 'leased' AND worker_id = $1

-- name: release_unknown_leases
-- Leases that this worker does not know of: the claim committed, but its result was lost.
UPDATE webhooks.deliveries SET status = 'pending', worker_id = NULL
WHERE status = 'leased' AND worker_id = $1 AND id <> ALL ($2::uuid[])

-- name: deregister_worker
DELETE FROM webhooks.workers WHERE id = $1

-- name: record_attempts
-- One row per attempt. Attempt i is ($2[i], …): the delivery is `delivered`, `failed`, or
-- `scheduled` for $4[i] seconds; it started $5[i] seconds ago. If the worker $1 has lost the lease,
-- the attempt changes the status only when it delivered.
WITH tried AS (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::float8[], $5::float8[], $6::integer[],
                         $7::smallint[], $8::text[], $9::text[])
        AS t (id, outcome, wait_s, ago_s, duration_ms, http_status, error, answer)
), decided AS (
    SELECT d.id,
           CASE WHEN d.worker_id = $1 OR t.outcome = 'delivered' THEN t.outcome ELSE d.status END
               AS status
    FROM webhooks.deliveries d JOIN tried t USING (id)
    WHERE d.id = ANY ($2)
    ORDER BY d.id FOR NO KEY UPDATE OF d
), done AS (
    UPDATE webhooks.deliveries d
    SET attempts = d.attempts + 1, retry_index = d.retry_index + 1, status = n.status,
        worker_id = CASE n.status WHEN 'leased' THEN d.worker_id END,
        due_at = CASE n.status WHEN 'scheduled'
                      THEN clock_timestamp() + make_interval(secs => t.wait_s) ELSE d.due_at END,
        finished_at = CASE WHEN n.status IN ('delivered', 'failed', 'canceled')
                           THEN COALESCE(d.finished_at, clock_timestamp()) END
    FROM decided n JOIN tried t USING (id)
    WHERE d.id = n.id AND d.id = ANY ($2)
    RETURNING d.id, d.attempts
)
INSERT INTO webhooks.attempts (
    delivery_id, started_at, number, duration_ms, http_status, error, answer
)
SELECT t.id, clock_timestamp() - make_interval(secs => t.ago_s), done.attempts, t.duration_ms,
       t.http_status, t.error, t.answer
FROM done JOIN tried t USING (id)

-- name: cancel_delivery
-- One whose event was removed by retention, or whose attempt can't be recorded.
UPDATE webhooks.deliveries
SET status = 'canceled', worker_id = NULL, finished_at = clock_timestamp()
WHERE id = $1

-- name: cancel_unreadable_event
-- A delivery whose event can't be decoded; $2 is the error of the attempt that shows it.
WITH canceled AS (
    UPDATE webhooks.deliveries
    SET status = 'canceled', worker_id = NULL, finished_at = clock_timestamp(),
        attempts = attempts + 1
    WHERE id = $1
    RETURNING id, attempts
)
INSERT INTO webhooks.attempts (delivery_id, started_at, number, duration_ms, error)
SELECT id, clock_timestamp(), attempts, 0, $2 FROM canceled

-- name: record_health
-- After attempts at the endpoints $1: $2[i] counts failures, 0 where one succeeded; $3 is for how
-- many seconds an endpoint may fail. Rows are locked in id order, as in every statement that locks
-- several endpoints.
WITH counted AS MATERIALIZED (
    SELECT e.id, t.failures
    FROM webhooks.endpoints e JOIN unnest($1::uuid[], $2::integer[]) AS t (id, failures) USING (id)
    ORDER BY e.id FOR NO KEY UPDATE OF e
)
UPDATE webhooks.endpoints e
SET first_failing_at = CASE WHEN t.failures > 0
                            THEN COALESCE(e.first_failing_at, clock_timestamp()) END,
    failures_in_row = CASE WHEN t.failures > 0
                           THEN LEAST(e.failures_in_row, 1000000) + t.failures ELSE 0 END
FROM counted t
WHERE e.id = t.id AND (t.failures > 0 OR e.failures_in_row > 0)
RETURNING e.id, e.first_failing_at < clock_timestamp() - make_interval(secs => $3)
                AND e.enabled AS to_disable

-- name: disable_endpoint
-- No row if it is disabled already, so that several attempts record one event.
UPDATE webhooks.endpoints
SET enabled = false, disabled_at = clock_timestamp(), disabled_reason = $2,
    updated_at = clock_timestamp()
WHERE id = $1 AND enabled AND deleted_at IS NULL
RETURNING user_id, id, url, description, event_types, enabled, disabled_reason, created_at,
          first_failing_at

-- name: record_disabled
SELECT audit.record(NULL, 'webhook_endpoint.disabled', $2, NULL, NULL, $5::json),
       outbox.record($1, 'webhook_endpoint.disabled', $3::json, NULL, NULL, $4::json)

-- name: get_oldest_unfinished_age
SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS age_s
FROM webhooks.deliveries WHERE finished_at IS NULL
