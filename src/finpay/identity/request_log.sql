-- Named queries of finpay.identity.request_log.

-- name: insert_requests
INSERT INTO identity.requests (user_id, session_id, api_key_id, created_at, duration_us, status,
                               request_id, method, route, code)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::integer[],
                     $6::smallint[], $7::text[], $8::text[], $9::text[], $10::text[])

-- name: list_requests
-- Newest first. $2, $3: the position before which the page begins, null for the first page; $4:
-- days for which requests are shown.
SELECT number, session_id, api_key_id, created_at, duration_us, status, request_id, method, route,
       code
FROM identity.requests
WHERE user_id = $1 AND created_at > now() - make_interval(days => $4)
  AND ($2::timestamptz IS NULL OR (created_at, number) < ($2, $3))
ORDER BY created_at DESC, number DESC LIMIT $5

-- name: get_request
-- The newest of those with this id: a client may repeat its X-Request-Id.
SELECT number, session_id, api_key_id, created_at, duration_us, status, request_id, method, route,
       code
FROM identity.requests
WHERE user_id = $1 AND request_id = $2 AND created_at > now() - make_interval(days => $3)
ORDER BY created_at DESC, number DESC LIMIT 1
