-- name: list_events_before
-- Newest first, between two numbers. $5 is whether the most frequent type may be among the types:
-- if not, the index of all others is read instead of the whole history.
SELECT * FROM outbox.told
WHERE account_id = $1 AND sequence > $2 AND sequence < $3
  AND ($4::text[] IS NULL OR type = ANY ($4))
  AND ($5 OR type <> 'transaction.completed')
  AND ($6::timestamptz IS NULL OR created_at >= $6)
  AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY sequence DESC
LIMIT $8

-- name: list_events_after
-- The same, oldest first.
SELECT * FROM outbox.told
WHERE account_id = $1 AND sequence > $2 AND sequence < $3
  AND ($4::text[] IS NULL OR type = ANY ($4))
  AND ($5 OR type <> 'transaction.completed')
  AND ($6::timestamptz IS NULL OR created_at >= $6)
  AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY sequence
LIMIT $8

-- name: get_sequence_range
-- Which numbers a time range can be among.
SELECT after, before FROM outbox.numbers_within($1, $2, $3)

-- name: get_event
SELECT * FROM outbox.told WHERE account_id = $1 AND sequence = $2

-- name: get_events
-- OFFSET 0 keeps it one index probe per place, whatever the statistics of the day say.
SELECT e.*
FROM unnest($1::uuid[], $2::bigint[]) AS place (account_id, sequence)
CROSS JOIN LATERAL (
    SELECT * FROM outbox.told t
    WHERE t.account_id = place.account_id AND t.sequence = place.sequence OFFSET 0
) e
