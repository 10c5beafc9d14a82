-- Named queries of finpay.webhooks.deliveries: what became of deliveries, for the endpoint's owner.

-- name: list_deliveries
-- Newest first, before an id. $3 is the one state to show; null for all. The endpoint is named by
-- two bounds: with `=` the planner may walk the key of all deliveries, in hope of many of ours.
SELECT d.id, d.endpoint_id, d.account_id, d.sequence, d.payload, d.event_type, d.status, d.attempts,
       d.due_at, d.created_at, d.finished_at
FROM webhooks.deliveries d
WHERE d.endpoint_id >= $1
  AND (d.endpoint_id, d.id) < ($1, COALESCE($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  AND ($3::text IS NULL OR d.status = $3)
ORDER BY d.endpoint_id DESC, d.id DESC
LIMIT $4

-- name: list_pending_deliveries
-- Those that have not ended are in three states, each with an index of its own. Two of them are in
-- this order, and named by bounds as above; what is leased is little, and sorted.
SELECT d.id, d.endpoint_id, d.account_id, d.sequence, d.payload, d.event_type, d.status, d.attempts,
       d.due_at, d.created_at, d.finished_at
FROM (
    (SELECT * FROM webhooks.deliveries d
     WHERE d.endpoint_id >= $1 AND d.status = 'pending'
       AND (d.endpoint_id, d.id)
           < ($1, COALESCE($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
     ORDER BY d.endpoint_id DESC, d.id DESC LIMIT $3)
    UNION ALL
    (SELECT * FROM webhooks.deliveries d
     WHERE d.endpoint_id >= $1 AND d.status = 'waiting'
       AND (d.endpoint_id, d.id)
           < ($1, COALESCE($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
     ORDER BY d.endpoint_id DESC, d.id DESC LIMIT $3)
    UNION ALL
    (SELECT * FROM (
         SELECT * FROM webhooks.deliveries
         WHERE endpoint_id = $1 AND status = 'leased' AND ($2::uuid IS NULL OR id < $2) OFFSET 0
     ) leased
     ORDER BY id DESC LIMIT $3)
) d
ORDER BY d.id DESC
LIMIT $3

-- name: get_delivery
SELECT d.id, d.endpoint_id, d.account_id, d.sequence, d.payload, d.event_type, d.status, d.attempts,
       d.due_at, d.created_at, d.finished_at
FROM webhooks.deliveries d
JOIN webhooks.endpoints e ON e.id = d.endpoint_id AND e.deleted_at IS NULL
WHERE d.id = $1 AND e.user_id = $2

-- name: list_attempts
-- Of each delivery the last $2, in order.
SELECT d.id, a.number, a.started_at, a.duration_ms, a.http_status, a.error, a.answer
FROM unnest($1::uuid[]) AS d (id)
CROSS JOIN LATERAL (
    SELECT * FROM webhooks.attempts a WHERE a.delivery_id = d.id ORDER BY a.number DESC LIMIT $2
) a
ORDER BY a.number
