-- Ways in which holds, refunds, withdrawals and limits can be wrong: as corruptions.sql.
--
-- The subjects are what the operations of test_verify.py leave behind: the holds :opened and :part
-- (of alice to bob, 3 of 9 captured), :voided and :captured (of bob to alice, 5 of 8), the
-- transfers :purchase (2 of 6 refunded by :refund) and :back (reversed), and the withdrawals
-- :withdrawal (pending) and :canceled of bob.

-- name: an_account_holds_one_more
-- alice: holds
UPDATE ledger.accounts SET held = held + 1 WHERE id = :alice;

-- name: a_change_of_what_is_held_is_missing
-- alice: held_history
DELETE FROM ledger.held_changes WHERE account_id = :alice;

-- name: an_open_hold_calls_itself_voided
-- alice: holds, limits, operation_events
UPDATE ledger.holds SET status = 'voided' WHERE id = :opened;

-- name: a_hold_is_voided_for_its_receiver_alone
-- opened: holds, operation_events
UPDATE ledger.holds SET status = 'voided' WHERE id = :opened AND account_id = :bob;

-- name: a_hold_has_no_row_for_its_receiver
-- opened: holds, hold_expiries
DELETE FROM ledger.holds WHERE id = :opened AND account_id = :bob;

-- name: a_hold_has_no_row_for_its_sender
-- opened: holds, hold_expiries, limits, held_history, audit
DELETE FROM ledger.holds WHERE id = :opened AND account_id = :alice;

-- name: a_hold_belongs_to_a_third_account
-- opened: holds, hold_expiries, operation_events
UPDATE ledger.holds SET account_id = :unknown WHERE id = :opened AND account_id = :bob;

-- name: one_more_was_captured_than_moved
-- part: holds
UPDATE ledger.holds SET captured_amount = captured_amount + 1 WHERE id = :part;

-- name: a_capture_names_another_hold
-- part: holds
UPDATE ledger.transactions SET origin_id = :opened WHERE origin_id = :part;

-- name: a_captured_hold_is_open
-- bob: holds, limits, held_history, operation_events
UPDATE ledger.holds SET status = 'open' WHERE id = :captured;

-- name: a_hold_expires_later_for_one_party
-- opened: holds, hold_expiries
UPDATE ledger.holds SET expires_at = expires_at + interval '1 second'
WHERE id = :opened AND account_id = :bob;

-- name: an_open_hold_has_no_expiry_for_its_receiver
-- opened: hold_expiries
DELETE FROM ledger.hold_expiries WHERE hold_id = :opened AND account_id = :bob;

-- name: an_open_hold_has_its_expiry_later
-- opened: hold_expiries
UPDATE ledger.hold_expiries SET expires_at = expires_at + interval '1 second'
WHERE hold_id = :opened AND account_id = :alice;

-- name: an_expiry_has_no_hold
-- unknown: hold_expiries
INSERT INTO ledger.hold_expiries VALUES (now(), :alice, :unknown);

-- name: one_more_was_refunded_than_moved
-- purchase: refunds
UPDATE ledger.transactions SET refunded_amount = refunded_amount + 1 WHERE id = :purchase;

-- name: a_refund_names_another_transaction
-- purchase: refunds
UPDATE ledger.transactions SET origin_id = :early WHERE id = :refund;

-- name: a_refund_has_no_origin
-- refund: refunds
UPDATE ledger.transactions SET origin_id = NULL, origin_type = NULL WHERE id = :refund;

-- name: a_transaction_refunded_in_part_is_reversed
-- purchase: refunds
UPDATE ledger.transactions SET status = 'reversed' WHERE id = :purchase;

-- name: a_reversed_transaction_is_completed
-- back: refunds
UPDATE ledger.transactions SET status = 'completed' WHERE id = :back;

-- name: a_refund_goes_the_wrong_way
-- refund: entries, events, parties, idempotency_keys
UPDATE ledger.transactions SET sender_id = receiver_id, receiver_id = sender_id WHERE id = :refund;

-- name: a_refund_has_no_event_for_the_payer
-- alice: refunds, sequences
DELETE FROM outbox.events
WHERE account_id = :alice AND transaction_id = :purchase AND type = 'transaction.refunded';

-- name: a_pending_withdrawal_is_rejected_without_a_reason
-- withdrawal: holds, withdrawals, limits, operation_events
UPDATE ledger.withdrawals SET status = 'rejected' WHERE id = :withdrawal;

-- name: a_canceled_withdrawal_is_pending
-- bob: holds, limits, operation_events
UPDATE ledger.withdrawals SET status = 'pending' WHERE id = :canceled;

-- name: a_withdrawal_has_a_transaction_that_moved_nothing
-- withdrawal: withdrawals
UPDATE ledger.withdrawals SET transaction_id = :late WHERE id = :withdrawal;

-- name: one_more_was_sent_today
-- alice: limits
UPDATE ledger.accounts SET sent_today = sent_today + 1 WHERE id = :alice;

-- name: the_key_of_a_hold_has_no_audit_row
-- alice_user: operation_events, idempotency_keys
DELETE FROM audit.log WHERE subject_id = :opened;
