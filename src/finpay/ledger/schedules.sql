-- Named queries of finpay.ledger.schedules and schedule_runner.

-- name: create_schedule
SELECT c.* FROM ledger.create_schedule(
    ROW($1, $2, $3, $4, $5)::ledger.change_origin,
    $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18
) c

-- name: set_schedule_status
SELECT c.* FROM ledger.change_schedule(ROW($1, $2, $3, $4, $5)::ledger.change_origin, $6, $7) c

-- name: cancel_schedules
SELECT ledger.change_schedule(ROW($1, $2, $3, NULL, NULL)::ledger.change_origin, s.id, 'cancel')
FROM ledger.schedules s JOIN ledger.accounts a ON a.id = s.account_id
WHERE a.user_id = $1 AND s.status <> 'ended'

-- name: lease_schedules
SELECT account_id, id, occurrence FROM ledger.lease_schedules($1, $2)

-- name: post_schedule_runs
SELECT ledger.run_schedules($1, $2, $3, $4, $5) AS runs

-- name: get_schedule
SELECT ledger.schedule_object(s) AS object FROM ledger.schedules s
WHERE s.account_id = $1 AND s.id = $2

-- name: list_schedules
-- Newest first, before an id: ids are in the order of time.
SELECT s.id, ledger.schedule_object(s) AS object FROM ledger.schedules s
WHERE s.account_id = $1 AND s.id < $2
ORDER BY s.id DESC
LIMIT $3
