-- Named queries of finpay.webhooks.deliveries: the owner's reads.

-- name: list_deliveries
-- Newest first, before an id. $3 is the status; null: any. The endpoint is given by two bounds:
-- with `=` the planner may scan the key of all endpoints' deliveries.
SELECT d.*
FROM webhooks.deliveries d
WHERE d.endpoint_id >= $1
  AND (d.endpoint_id, d.id) < ($1, COALESCE($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  AND ($3::text IS NULL OR d.status = $3)
ORDER BY d.endpoint_id DESC, d.id DESC
LIMIT $4

-- name: list_pending_deliveries
-- Unfinished deliveries have three statuses, each with its own index. Two of the indexes have this
-- order; the leased rows are few, and sorted.
SELECT d.*
FROM (
    (SELECT * FROM webhooks.deliveries d
     WHERE d.endpoint_id >= $1 AND d.status = 'pending'
       AND (d.endpoint_id, d.id)
           < ($1, COALESCE($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
     ORDER BY d.endpoint_id DESC, d.id DESC LIMIT $3)
    UNION ALL
    (SELECT * FROM webhooks.deliveries d
     WHERE d.endpoint_id >= $1 AND d.status = 'scheduled'
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
SELECT d.*
FROM webhooks.deliveries d
JOIN webhooks.endpoints e ON e.id = d.endpoint_id AND e.deleted_at IS NULL
WHERE d.id = $1 AND e.user_id = $2

-- name: list_attempts
-- The last $2 attempts of each delivery, in order.
SELECT d.id, a.number, a.started_at, a.duration_ms, a.http_status, a.error, a.answer
FROM unnest($1::uuid[]) AS d (id)
CROSS JOIN LATERAL (
    SELECT * FROM webhooks.attempts a WHERE a.delivery_id = d.id ORDER BY a.number DESC LIMIT $2
) a
ORDER BY a.number
