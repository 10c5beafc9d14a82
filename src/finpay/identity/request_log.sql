-- Named queries of finpay.identity.request_log.

-- name: insert_requests
-- A client may send the id of another request of its own: the first one stays.
INSERT INTO identity.requests (user_id, id, credential_id, created_at, duration_ms, status,
                               is_api_key, method, route, code, request_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::integer[],
                     $6::smallint[], $7::boolean[], $8::text[], $9::text[], $10::text[],
                     $11::text[])
ON CONFLICT DO NOTHING

-- name: list_requests
-- Newest first, before an id.
SELECT id, credential_id, created_at, duration_ms, status, is_api_key, method, route, code,
       request_id
FROM identity.requests WHERE user_id = $1 AND id < $2
ORDER BY id DESC
LIMIT $3

-- name: get_request
SELECT id, credential_id, created_at, duration_ms, status, is_api_key, method, route, code,
       request_id
FROM identity.requests WHERE user_id = $1 AND id = $2

-- name: delete_old_requests
-- At most so many; now() is stable, so the index can be used.
WITH old AS (
    SELECT user_id, id FROM identity.requests
    WHERE created_at < now() - interval '7 days'
    ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM identity.requests r USING old
WHERE r.user_id = old.user_id AND r.id = old.id RETURNING r.id
