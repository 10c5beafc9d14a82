-- What has to be true of the past of holds and withdrawals. See the comment at the top of
-- verify.sql.

-- name: held_history
-- What an account had on hold after each of its entries, and after each commit that changed it, is
-- what its holds and withdrawals had reserved until then. A capture and a completed withdrawal
-- release in their entry, one step before the event of the end. Of each moment the last record, by
-- its step, says what was held.
WITH steps AS (
    SELECT account_id, opened_sequence AS sequence, created_at AS moment, amount AS change
    FROM ledger.holds WHERE account_id = sender_id
    UNION ALL
    SELECT account_id, closed_sequence - (status = 'captured')::integer, closed_at,
           captured_amount - amount
    FROM ledger.holds WHERE account_id = sender_id AND closed_sequence IS NOT NULL
    UNION ALL
    SELECT e.account_id, e.sequence, t.created_at, e.amount
    FROM ledger.transactions t
    JOIN ledger.entries e ON e.account_id = t.sender_id AND e.version = t.sender_version
    WHERE t.origin_type = 'hold'
    UNION ALL
    SELECT account_id, opened_sequence, created_at, amount FROM ledger.withdrawals
    UNION ALL
    SELECT account_id, closed_sequence - (status = 'completed')::integer, closed_at, -amount
    FROM ledger.withdrawals WHERE closed_sequence IS NOT NULL
), records AS (
    SELECT account_id, sequence, created_at, held_after, true AS is_read FROM ledger.entries
    UNION ALL
    SELECT account_id, sequence, created_at, held_after, false FROM ledger.failed_transactions
    UNION ALL
    SELECT account_id, sequence, created_at, held, true FROM ledger.held_changes
), history AS (
    SELECT account_id, sequence, moment, held, sum(change) OVER so_far AS total,
           max(ARRAY[sequence, held]) FILTER (WHERE is_read) OVER so_far AS last_record,
           lead(moment) OVER so_far IS DISTINCT FROM moment AS is_end
    FROM (
        SELECT account_id, sequence, moment, NULL::bigint AS held, change, false AS is_read
        FROM steps
        UNION ALL
        SELECT account_id, sequence, created_at, COALESCE(held_after, 0), 0, is_read FROM records
        WHERE held_after IS NOT NULL OR account_id IN (SELECT account_id FROM steps)
    ) both_kinds
    WINDOW so_far AS (PARTITION BY account_id ORDER BY sequence)
)
SELECT format('acc:%s had %s on hold after its step %s, but its holds and withdrawals until then '
              'had reserved %s.', account_id, held, sequence, total) AS sentence
FROM history WHERE held::numeric <> total
UNION ALL
SELECT format('acc:%s had %s on hold at %s, after its step %s, but its last record says %s.',
              account_id, total, moment, sequence, COALESCE(last_record[2], 0))
FROM history WHERE is_end AND total <> COALESCE(last_record[2], 0)

-- name: operation_events
-- Each party's row of a hold and each withdrawal has the events of its begin and of its end at the
-- steps that it names, and one audit row of its begin. It has an end unless it is open.
WITH operations AS (
    SELECT 'hold' AS kind, 'hld' AS prefix, id, account_id, status::text,
           status = 'open' AS is_open, account_id = sender_id AS is_made, opened_sequence,
           closed_sequence, closed_at
    FROM ledger.holds
    UNION ALL
    SELECT 'withdrawal', 'wdr', id, account_id, status::text, status = 'pending', true,
           opened_sequence, closed_sequence, closed_at
    FROM ledger.withdrawals
), events AS (
    SELECT account_id, sequence, type,
           CASE WHEN type LIKE 'withdrawal.%' THEN data ->> 'id'
                ELSE ledger.type_id('hld', hold_id) END AS object_id
    FROM outbox.events WHERE type LIKE 'hold.%' OR type LIKE 'withdrawal.%'
)
SELECT format('The %s %s:%s of acc:%s is %s since %s, but its events are %s and %s, and its begin '
              'has %s audit rows.', o.kind, o.prefix, o.id, o.account_id, o.status, o.closed_at,
              COALESCE(b.type, 'none'), COALESCE(c.type, 'none'), COALESCE(l.rows, 0)) AS sentence
FROM operations o
LEFT JOIN outbox.retention_watermarks m ON m.account_id = o.account_id
LEFT JOIN events b ON b.account_id = o.account_id AND b.sequence = o.opened_sequence
    AND b.object_id = ledger.type_id(o.prefix, o.id)
LEFT JOIN events c ON c.account_id = o.account_id AND c.sequence = o.closed_sequence
    AND c.object_id = ledger.type_id(o.prefix, o.id)
LEFT JOIN (
    SELECT subject_id, count(*) AS rows FROM audit.log
    WHERE action IN ('hold.created', 'withdrawal.created') GROUP BY subject_id
) l ON l.subject_id = o.id
WHERE o.is_open <> (o.closed_at IS NULL) OR o.is_open <> (o.closed_sequence IS NULL)
   OR (o.opened_sequence > COALESCE(m.up_to_sequence, 0)
       AND b.type IS DISTINCT FROM o.kind || '.created')
   OR (o.closed_sequence > COALESCE(m.up_to_sequence, 0)
       AND c.type IS DISTINCT FROM o.kind || '.' || o.status)
   OR (o.is_made AND COALESCE(l.rows, 0) <> 1)
