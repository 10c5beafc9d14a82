-- Named queries of finpay.webhooks.retention.

-- name: delete_old_deliveries
-- Ids begin with their time, so the old ones are one range of the key, from $1 to $2. Deliveries
-- that finished less than $3 seconds ago stay. At most $4.
WITH old AS MATERIALIZED (
    SELECT id FROM webhooks.deliveries
    WHERE id > $1 AND id < $2
      AND finished_at < clock_timestamp() - make_interval(secs => $3::integer)
    ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED
), attempts AS (
    DELETE FROM webhooks.attempts WHERE delivery_id = ANY (ARRAY(SELECT id FROM old))
), gone AS (
    DELETE FROM webhooks.deliveries WHERE id = ANY (ARRAY(SELECT id FROM old)) RETURNING id
)
SELECT (SELECT count(*) FROM gone) AS removed,
       (SELECT id FROM old ORDER BY id DESC LIMIT 1) AS last

-- name: delete_old_events
SELECT removed, last FROM outbox.prune($1, $2, $3, $4)
