-- As corruptions.sql, of payment requests and schedules. The subjects are those of
-- request_traffic.py: the requests :paid (of alice, by bob), :open and :declined (to bob) and the
-- schedules :scheduled (of alice to bob, two runs) and :broke (its only run failed).

-- name: a_request_that_is_open_is_said_to_be_canceled
-- open: payment_requests
UPDATE ledger.payment_requests SET status = 'canceled' WHERE id = :open;

-- name: one_side_of_a_request_asks_for_more
-- open: payment_requests
UPDATE ledger.payment_requests SET amount = amount + 1
WHERE id = :open AND account_id <> requester_id;

-- name: a_side_of_a_request_is_gone
-- declined: payment_requests
DELETE FROM ledger.payment_requests WHERE id = :declined AND account_id <> requester_id;

-- name: a_request_is_gone
-- declined: payment_requests, audit
DELETE FROM ledger.payment_requests WHERE id = :declined AND account_id = requester_id;

-- name: a_paid_request_is_open_again
-- paid: payment_requests
UPDATE ledger.payment_requests SET status = 'open', transaction_id = NULL WHERE id = :paid;

-- name: a_request_is_paid_by_another_transfer
-- paid: payment_requests
UPDATE ledger.payment_requests SET transaction_id = :early WHERE id = :paid;

-- name: a_declined_request_is_paid_by_a_transfer_of_another
-- declined: payment_requests
UPDATE ledger.payment_requests
SET status = 'paid', transaction_id = :payment WHERE id = :declined;

-- name: a_payment_is_said_to_be_of_another_request
-- paid: payment_requests
UPDATE ledger.transactions SET origin_id = :open WHERE id = :payment;

-- name: a_schedule_counts_one_run_more
-- scheduled: schedules
UPDATE ledger.schedules SET runs = runs + 1, next_occurrence = next_occurrence + 1,
    next_at = next_at + interval '1 day'
WHERE id = :scheduled;

-- name: a_schedule_runs_its_last_occurrence_again
-- scheduled: schedules
UPDATE ledger.schedules SET next_occurrence = 1, next_at = next_at - interval '1 day',
    runs = 1
WHERE id = :scheduled;

-- name: a_schedule_is_due_at_another_time
-- scheduled: schedules
UPDATE ledger.schedules SET next_at = next_at + interval '1 hour' WHERE id = :scheduled;

-- name: a_schedule_sends_another_amount
-- scheduled: schedules
UPDATE ledger.schedules SET amount = amount + 1 WHERE id = :scheduled;

-- name: a_schedule_has_the_currency_of_neither_party
-- scheduled: schedules
UPDATE ledger.schedules SET currency = 'USD' WHERE id = :scheduled;

-- name: a_schedule_names_a_last_transaction_that_is_not_its_own
-- scheduled: schedules
UPDATE ledger.schedules SET last_transaction_id = :early WHERE id = :scheduled;

-- name: a_schedule_is_gone
-- scheduled: schedules, audit
DELETE FROM ledger.schedules WHERE id = :scheduled;

-- name: a_run_has_the_key_of_another_occurrence
-- scheduled: schedules
UPDATE ledger.idempotency_keys SET key = '9' WHERE principal_id = :scheduled AND key = '1';

-- name: a_run_is_a_plain_transfer
-- scheduled: idempotency_keys
UPDATE ledger.transactions SET origin_id = NULL, origin_type = NULL, scheduled_for = NULL
WHERE origin_id = :scheduled;

-- name: a_run_was_for_another_time
-- scheduled: schedules
UPDATE ledger.transactions SET scheduled_for = scheduled_for + interval '1 day'
WHERE origin_id = :scheduled;

-- name: a_failed_run_has_no_key
-- broke: schedules, idempotency_keys
DELETE FROM ledger.idempotency_keys WHERE principal_id = :broke;

-- name: a_created_schedule_has_no_audit_row
-- broke: schedules
DELETE FROM audit.log WHERE subject_id = :broke AND action = 'schedule.created';
