-- Named queries of finpay.webhooks.redelivery.

-- name: get_endpoint
SELECT id, account_id, url, description, event_types, enabled, disabled_reason, created_at,
       clock_timestamp() AS now
FROM webhooks.endpoints WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL

-- name: get_delivery
SELECT d.id, e.enabled
FROM webhooks.deliveries d
JOIN webhooks.endpoints e ON e.id = d.endpoint_id AND e.deleted_at IS NULL
WHERE d.id = $1 AND e.user_id = $2

-- name: retry_delivery
UPDATE webhooks.deliveries
SET status = 'pending', retry_index = 0, due_at = clock_timestamp(), finished_at = NULL
WHERE id = $1 AND status IN ('scheduled', 'delivered', 'failed', 'canceled')

-- name: insert_ping
INSERT INTO webhooks.deliveries (id, endpoint_id, account_id, created_at, due_at, event_type,
                                 payload)
VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp(), $4, $5)

-- name: lock_replay
-- One replay per endpoint at a time: the lock ends with the transaction, however that ends.
SELECT pg_try_advisory_xact_lock(1179210320 /* FIRP */, hashtext($1::uuid::text)) AS locked

-- name: get_sequence_range
-- Bounds of the sequences of the events from $2 to $3; null: until now.
SELECT n.after, n.before, u.until
FROM (SELECT COALESCE($3::timestamptz, clock_timestamp()) AS until) u
CROSS JOIN LATERAL outbox.sequence_range($1, $2, u.until) n

-- name: replay_events
-- Events from $4 to $5, between the sequences $2 and $3, that match the endpoint, at most $6.
-- Existing deliveries become pending, the other events get one; pending and leased deliveries are
-- not locked, as a worker would wait for them. `seen` < $6: no more events.
WITH endpoint AS (
    SELECT id, account_id, event_types FROM webhooks.endpoints WHERE id = $1
), wanted AS MATERIALIZED (
    SELECT v.sequence, v.type
    FROM outbox.events v
    WHERE v.account_id = (SELECT account_id FROM endpoint) AND v.sequence > $2
      AND v.sequence < $3 AND v.created_at >= $4 AND v.created_at < $5
      AND (SELECT event_types FROM endpoint)
          && ARRAY[v.type, split_part(v.type, '.', 1) || '.*', '*']
    ORDER BY v.sequence
    LIMIT $6
), queued AS (
    INSERT INTO webhooks.deliveries AS d (
        id, endpoint_id, account_id, sequence, created_at, due_at, event_type
    )
    SELECT webhooks.new_id(), e.id, e.account_id, w.sequence, clock_timestamp(), clock_timestamp(),
           w.type
    FROM wanted w CROSS JOIN endpoint e
    WHERE NOT EXISTS (SELECT FROM webhooks.deliveries p
                      WHERE p.endpoint_id = e.id AND p.sequence = w.sequence
                        AND p.status IN ('pending', 'leased'))
    ON CONFLICT (endpoint_id, sequence) DO UPDATE
        SET status = 'pending', retry_index = 0, due_at = clock_timestamp(), finished_at = NULL
        WHERE d.status IN ('scheduled', 'delivered', 'failed', 'canceled')
    RETURNING d.id
)
SELECT (SELECT count(*) FROM queued) AS queued, count(*) AS seen, max(sequence) AS last FROM wanted

-- name: replay_failed_events
-- As replay_events, but only events with a delivery that failed, was canceled or waits for its
-- retry. The range is that of the event's time, not of the delivery's.
WITH wanted AS MATERIALIZED (
    SELECT d.id, d.sequence
    FROM webhooks.deliveries d
    JOIN outbox.events v ON v.account_id = d.account_id AND v.sequence = d.sequence
    WHERE d.endpoint_id = $1 AND d.sequence > $2 AND d.sequence < $3
      AND d.status IN ('scheduled', 'failed', 'canceled')
      AND v.created_at >= $4 AND v.created_at < $5
    ORDER BY d.sequence
    LIMIT $6
), queued AS (
    UPDATE webhooks.deliveries d
    SET status = 'pending', retry_index = 0, due_at = clock_timestamp(), finished_at = NULL
    WHERE d.id = ANY (ARRAY(SELECT id FROM wanted))
      AND d.status IN ('scheduled', 'failed', 'canceled')
    RETURNING d.id
)
SELECT (SELECT count(*) FROM queued) AS queued, count(*) AS seen, max(sequence) AS last FROM wanted
