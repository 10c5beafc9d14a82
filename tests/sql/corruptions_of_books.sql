-- As corruptions.sql: whose keys they are, what is held over time, limits, references.
-- The subjects are those of operation_traffic.py and request_traffic.py.

-- name: the_key_of_a_capture_belongs_to_the_payer
-- alice_user: idempotency_keys
UPDATE ledger.idempotency_keys k SET principal_id = :alice_user
FROM ledger.transactions t WHERE t.id = k.transaction_id AND t.origin_id = :part;

-- name: the_key_of_a_refund_belongs_to_the_payer
-- refund: idempotency_keys
UPDATE ledger.idempotency_keys SET principal_id = :alice_user WHERE transaction_id = :refund;

-- name: the_key_of_a_run_belongs_to_its_owner
-- scheduled: schedules, idempotency_keys
UPDATE ledger.idempotency_keys SET principal_id = :alice_user WHERE principal_id = :scheduled;

-- name: the_key_of_a_payment_belongs_to_the_requester
-- payment: idempotency_keys
UPDATE ledger.idempotency_keys SET principal_id = :alice_user WHERE transaction_id = :payment;

-- name: a_withdrawal_has_no_audit_row
-- withdrawal: operation_events
DELETE FROM audit.log WHERE subject_id = :withdrawal;

-- name: an_entry_left_more_on_hold
-- alice: held_history, holds
UPDATE ledger.entries SET held_after = held_after + 1
WHERE account_id = :alice AND version = (
    SELECT max(version) FROM ledger.entries WHERE account_id = :alice AND held_after IS NOT NULL);

-- name: an_earlier_change_of_what_is_held_says_more
-- alice: held_history
UPDATE ledger.held_changes SET held = held + 1
WHERE account_id = :alice AND sequence = (
    SELECT min(sequence) FROM ledger.held_changes WHERE account_id = :alice);

-- name: a_pending_withdrawal_is_of_one_more
-- bob: holds, limits, held_history
UPDATE ledger.withdrawals SET amount = amount + 1 WHERE id = :withdrawal;

-- name: what_was_sent_today_is_of_yesterday
-- alice: limits
UPDATE ledger.accounts SET sent_on = sent_on - 1 WHERE id = :alice;

-- name: a_closed_hold_has_no_end
-- voided: held_history, operation_events
UPDATE ledger.holds SET closed_at = NULL, closed_sequence = NULL WHERE id = :voided;

-- name: an_open_hold_has_an_end
-- opened: held_history, operation_events
UPDATE ledger.holds SET closed_at = created_at, closed_sequence = opened_sequence
WHERE id = :opened;

-- name: a_hold_has_another_description_for_one_party
-- opened: holds
UPDATE ledger.holds SET description = 'another' WHERE id = :opened AND account_id = :bob;

-- name: an_event_says_that_a_voided_hold_expired
-- voided: operation_events
UPDATE outbox.events SET type = 'hold.expired'
WHERE hold_id = :voided AND type = 'hold.voided' AND account_id = :alice;

-- name: a_canceled_withdrawal_has_no_end
-- canceled: held_history, operation_events
UPDATE ledger.withdrawals SET closed_at = NULL, closed_sequence = NULL WHERE id = :canceled;

-- name: a_deposit_has_no_reference
-- deposit: references
DELETE FROM ledger.payment_references WHERE transaction_id = :deposit;

-- name: a_reference_is_for_a_transfer
-- purchase: references
UPDATE ledger.payment_references SET transaction_id = :purchase WHERE transaction_id = :deposit;

-- name: a_payout_is_of_no_withdrawal
-- payout: refunds, withdrawals
UPDATE ledger.transactions SET origin_id = NULL, origin_type = NULL WHERE id = :payout;

-- name: a_completed_withdrawal_has_no_reference
-- payout: withdrawals
UPDATE ledger.withdrawals SET reference = NULL WHERE transaction_id = :payout;

-- name: a_transfer_was_planned
-- purchase: schedules
UPDATE ledger.transactions SET scheduled_for = created_at WHERE id = :purchase;
