-- Named queries of finpay.ledger.holds.

-- name: get_hold
-- One hold as one of its parties sees it: expired from its time on, though no worker
-- may have written that yet.
SELECT id, sender_id, receiver_id, amount, captured_amount,
       CASE WHEN status = 'open' AND expires_at <= clock_timestamp() THEN 'expired'
            ELSE status::text END AS status,
       currency, description, metadata::text, expires_at, created_at
FROM ledger.holds WHERE account_id = $1 AND id = $2

-- name: list_holds
-- Newest first, before an id. The filters have no index, so it stops after 10 000 rows: see
-- get_scanned_hold.
SELECT h.id, h.sender_id, h.receiver_id, h.amount, h.captured_amount, s.status,
       h.currency, h.description, h.metadata::text, h.expires_at, h.created_at
FROM (SELECT * FROM ledger.holds
      WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT 10000) h
CROSS JOIN LATERAL (
    SELECT CASE WHEN h.status = 'open' AND h.expires_at <= statement_timestamp() THEN 'expired'
                ELSE h.status::text END AS status
) s
WHERE ($3::text IS NULL OR (h.sender_id = $1) = ($3 = 'sent'))
  AND ($4::text IS NULL OR s.status = $4)
  AND ($5::uuid IS NULL OR ($5 <> $1 AND $5 IN (h.sender_id, h.receiver_id)))
  AND ($6::timestamptz IS NULL OR h.created_at >= $6)
  AND ($7::timestamptz IS NULL OR h.created_at < $7)
ORDER BY h.id DESC
LIMIT $8

-- name: get_scanned_hold
-- How far list_holds reads: null where it comes to the end.
SELECT id FROM ledger.holds WHERE account_id = $1 AND id < $2 ORDER BY id DESC OFFSET 9999 LIMIT 1

-- name: list_due_holds
SELECT account_ids, ids, last FROM ledger.list_due_holds($1, $2)

-- name: expire_holds
SELECT expired, queued FROM ledger.expire_holds($1, $2)
