-- Named queries of finpay.outbox.events.

-- name: list_events_before
-- Newest first, between two sequences. $5: the types include a frequent one; if not, the index of
-- the other types is read instead of the whole history.
SELECT * FROM outbox.event_details
WHERE account_id = $1 AND sequence > $2 AND sequence < $3
  AND ($4::text[] IS NULL OR type = ANY ($4))
  AND ($5 OR type NOT IN ('hold.captured', 'hold.created', 'hold.expired', 'hold.voided',
                          'transaction.completed', 'transaction.refunded'))
  AND ($6::timestamptz IS NULL OR created_at >= $6)
  AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY sequence DESC
LIMIT $8

-- name: list_events_after
-- As list_events_before, oldest first.
SELECT * FROM outbox.event_details
WHERE account_id = $1 AND sequence > $2 AND sequence < $3
  AND ($4::text[] IS NULL OR type = ANY ($4))
  AND ($5 OR type NOT IN ('hold.captured', 'hold.created', 'hold.expired', 'hold.voided',
                          'transaction.completed', 'transaction.refunded'))
  AND ($6::timestamptz IS NULL OR created_at >= $6)
  AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY sequence
LIMIT $8

-- name: get_scanned_before
-- How far a page of some types reads, newest first: the 10 000th event, null where there are fewer.
-- $4 as $5 of list_events_before.
SELECT sequence FROM outbox.events
WHERE account_id = $1 AND sequence > $2 AND sequence < $3
  AND ($4 OR type NOT IN ('hold.captured', 'hold.created', 'hold.expired', 'hold.voided',
                          'transaction.completed', 'transaction.refunded'))
ORDER BY sequence DESC OFFSET 9999 LIMIT 1

-- name: get_scanned_after
-- As get_scanned_before, oldest first.
SELECT sequence FROM outbox.events
WHERE account_id = $1 AND sequence > $2 AND sequence < $3
  AND ($4 OR type NOT IN ('hold.captured', 'hold.created', 'hold.expired', 'hold.voided',
                          'transaction.completed', 'transaction.refunded'))
ORDER BY sequence OFFSET 9999 LIMIT 1

-- name: get_sequence_range
-- Bounds of the sequences of a time range.
SELECT after, before FROM outbox.sequence_range($1, $2, $3)

-- name: get_event
SELECT * FROM outbox.event_details WHERE account_id = $1 AND sequence = $2

-- name: get_events
-- OFFSET 0 keeps it one index probe per key, whatever the planner's statistics are.
SELECT e.*
FROM unnest($1::uuid[], $2::bigint[]) AS k (account_id, sequence)
CROSS JOIN LATERAL (
    SELECT * FROM outbox.event_details t
    WHERE t.account_id = k.account_id AND t.sequence = k.sequence OFFSET 0
) e
