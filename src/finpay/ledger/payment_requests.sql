-- name: create_payment_requests
SELECT c.* FROM ledger.create_payment_requests(
    ROW($1, $2, $3, $4, $5)::ledger.change_origin, $6, $7, $8, $9, $10, $11, $12, $13, $14
) c

-- name: end_payment_request
SELECT c.* FROM ledger.end_payment_request(
    ROW($1, $2, $3, $4, $5)::ledger.change_origin, $6, $7, $8
) c

-- name: expire_payment_requests
SELECT ledger.expire_payment_requests($1, $2) AS ended

-- name: get_payment_request
-- The requester's side, and what the caller is to it: null for who may not know of it.
SELECT r.id, r.requester_id, u.name AS requester_name, r.amount, r.currency, r.payer_email,
       ledger.payment_request_status_at(r, clock_timestamp())::text AS status, r.description,
       r.metadata, r.transaction_id, r.expires_at, r.created_at,
       CASE WHEN r.requester_id = $2 THEN 'sent'
            WHEN r.payer_id = $2 THEN 'received'
            WHEN r.payer_id IS NULL AND r.payer_email = (
                SELECT c.email FROM identity.users c
                WHERE c.id = $3 AND identity.can_be_found(c.email_verified_at)) THEN 'received'
            WHEN r.payer_email IS NULL AND r.status = 'open'
                 AND r.expires_at > clock_timestamp() THEN 'anyone' END AS caller
FROM ledger.payment_requests r
JOIN ledger.accounts a ON a.id = r.requester_id
JOIN identity.users u ON u.id = a.user_id
WHERE r.id = $1 AND r.account_id = r.requester_id

-- name: list_payment_requests
-- The account's sides, newest first, before a position: one index range for each direction and
-- status, merged. Those to the user's e-mail address from before the user registered have the
-- requester's side alone. $7: a status was asked for, so open ones whose time is over are not open.
WITH page AS (
    SELECT s.* FROM unnest($4::boolean[]) AS d (is_sent)
    CROSS JOIN unnest($5::ledger.payment_request_status[]) AS w (status)
    CROSS JOIN LATERAL (
        SELECT r.*, d.is_sent FROM ledger.payment_requests r
        WHERE r.account_id = $1 AND (r.account_id = r.requester_id) = d.is_sent
          AND r.status = w.status AND (r.created_at, r.id) < ($2, $3)
          AND NOT ($7 AND r.status = 'open' AND r.expires_at <= clock_timestamp())
        ORDER BY r.created_at DESC, r.id DESC LIMIT $6
    ) s
    UNION ALL
    SELECT s.* FROM unnest($5::ledger.payment_request_status[]) AS w (status)
    CROSS JOIN LATERAL (
        SELECT r.*, false FROM ledger.payment_requests r
        WHERE false = ANY ($4) AND r.payer_id IS NULL
          AND r.payer_email = (SELECT c.email FROM identity.users c
                               WHERE c.id = $8 AND identity.can_be_found(c.email_verified_at))
          AND r.status = w.status AND (r.created_at, r.id) < ($2, $3)
          AND NOT ($7 AND r.status = 'open' AND r.expires_at <= clock_timestamp())
        ORDER BY r.created_at DESC, r.id DESC LIMIT $6
    ) s
)
SELECT p.id, p.requester_id, u.name AS requester_name, p.amount, p.currency, p.payer_email,
       CASE WHEN p.status = 'open' AND p.expires_at <= clock_timestamp() THEN 'expired'
            ELSE p.status::text END AS status,
       p.description, p.metadata, p.transaction_id, p.expires_at, p.created_at,
       CASE WHEN p.is_sent THEN 'sent' ELSE 'received' END AS caller
FROM (SELECT * FROM page ORDER BY created_at DESC, id DESC LIMIT $6) p
JOIN ledger.accounts a ON a.id = p.requester_id
JOIN identity.users u ON u.id = a.user_id
ORDER BY p.created_at DESC, p.id DESC
