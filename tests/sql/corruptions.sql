-- Ways in which a ledger can be wrong by one unit or one row: what is changed, the subject that the
-- proof has to name, and the checks that find it.
--
-- The subjects are what the traffic of test_verify.py leaves behind: the accounts :alice, :bob,
-- :dollars and :system, the user :alice_user, the transactions :early and :late (completed, alice
-- to bob) and :failed (of alice, between the two), of :bob_user's transfer
-- batches :many, :many_failed, :many_last and :whole_last, and the id :unknown, which no row has.

-- name: a_balance_is_one_more
-- alice: totals, balances
UPDATE ledger.accounts SET balance = balance + 1 WHERE id = :alice;

-- name: one_unit_has_moved_without_an_entry
-- alice: balances
UPDATE ledger.accounts SET balance = balance + CASE id WHEN :alice THEN 1 ELSE -1 END
WHERE id IN (:alice, :bob);

-- name: the_system_account_is_one_less
-- system: totals, balances
UPDATE ledger.accounts SET balance = balance - 1 WHERE id = :system;

-- name: the_system_account_is_gone
-- system: totals, balances, events, overdrafts, parties, idempotency_keys
DELETE FROM ledger.accounts WHERE id = :system;

-- name: an_entry_is_one_more
-- early: double_entry, entries, balances, running_balances
UPDATE ledger.entries SET amount = amount + 1
WHERE account_id = :alice AND transaction_id = :early;

-- name: an_entry_of_the_receiver_is_one_more
-- late: double_entry, entries, balances, running_balances
UPDATE ledger.entries SET amount = amount + 1 WHERE account_id = :bob AND transaction_id = :late;

-- name: an_entry_left_one_more
-- alice: running_balances, failed_transactions
UPDATE ledger.entries SET balance_after = balance_after + 1
WHERE account_id = :alice AND transaction_id = :early;

-- name: the_last_entry_left_one_more
-- alice: balances, running_balances
UPDATE ledger.entries SET balance_after = balance_after + 1
WHERE account_id = :alice AND transaction_id = :late;

-- name: both_entries_are_one_more
-- late: entries, balances, running_balances
UPDATE ledger.entries SET amount = amount + sign(amount) WHERE transaction_id = :late;

-- name: an_entry_is_gone
-- late: double_entry, balances, versions, events
DELETE FROM ledger.entries WHERE account_id = :alice AND transaction_id = :late;

-- name: an_entry_in_the_middle_is_gone
-- early: double_entry, balances, running_balances, versions, events, failed_transactions
DELETE FROM ledger.entries WHERE account_id = :alice AND transaction_id = :early;

-- name: an_entry_belongs_to_another_account
-- late: entries, balances, running_balances, versions, events, held_history
UPDATE ledger.entries SET account_id = :unknown
WHERE account_id = :alice AND transaction_id = :late;

-- name: an_entry_is_of_another_moment
-- late: entries
UPDATE ledger.entries SET created_at = created_at + interval '1 microsecond'
WHERE account_id = :alice AND transaction_id = :late;

-- name: a_transaction_is_one_more
-- late: entries, limits
UPDATE ledger.transactions SET amount = amount + 1 WHERE id = :late;

-- name: a_transaction_is_gone
-- late: double_entry, limits, idempotency_keys, audit
DELETE FROM ledger.transactions WHERE id = :late;

-- name: a_transaction_names_the_next_entry_of_its_sender
-- late: entries
UPDATE ledger.transactions SET sender_version = sender_version + 1 WHERE id = :late;

-- name: a_transaction_names_the_next_entry_of_its_receiver
-- late: entries
UPDATE ledger.transactions SET receiver_version = receiver_version + 1 WHERE id = :late;

-- name: a_transaction_names_an_entry_and_a_failure
-- late: failed_transactions
UPDATE ledger.transactions SET failure_sequence = 1 WHERE id = :late;

-- name: a_failed_transaction_names_an_entry_of_its_sender
-- failed: failed_transactions
UPDATE ledger.transactions SET sender_version = 1 WHERE id = :failed;

-- name: a_failed_transaction_names_an_entry_of_its_receiver
-- failed: failed_transactions
UPDATE ledger.transactions SET receiver_version = 1 WHERE id = :failed;

-- name: a_failed_transaction_calls_itself_completed
-- failed: double_entry, events, failed_transactions, limits, idempotency_keys, audit
UPDATE ledger.transactions
SET status = 'completed', failure_code = NULL, sender_version = 1, receiver_version = 1
WHERE id = :failed;

-- name: a_transaction_is_in_another_currency
-- late: parties
UPDATE ledger.transactions SET currency = 'USD' WHERE id = :late;

-- name: a_transfer_calls_itself_funding
-- late: limits, parties
UPDATE ledger.transactions SET type = 'funding' WHERE id = :late;

-- name: a_failed_transaction_has_an_unknown_receiver
-- failed: parties
UPDATE ledger.transactions SET receiver_id = :unknown WHERE id = :failed;

-- name: a_failed_transaction_was_sent_to_the_system
-- failed: parties
UPDATE ledger.transactions SET receiver_id = :system WHERE id = :failed;

-- name: a_failed_transaction_was_sent_to_itself
-- failed: parties
ALTER TABLE ledger.transactions DROP CONSTRAINT transactions_parties;
UPDATE ledger.transactions SET receiver_id = sender_id WHERE id = :failed;

-- name: a_failed_transaction_was_sent_into_another_currency
-- failed: parties
UPDATE ledger.transactions SET receiver_id = :dollars WHERE id = :failed;

-- name: a_funding_calls_itself_a_transfer
-- system: parties
UPDATE ledger.transactions SET type = 'transfer' WHERE receiver_id = :alice AND type = 'funding';

-- name: an_amount_is_zero
-- failed: amounts
ALTER TABLE ledger.transactions DROP CONSTRAINT transactions_amount;
UPDATE ledger.transactions SET amount = 0 WHERE id = :failed;

-- name: an_amount_is_one_above_the_limit
-- failed: amounts
ALTER TABLE ledger.transactions DROP CONSTRAINT transactions_amount;
UPDATE ledger.transactions SET amount = 9007199254740992 WHERE id = :failed;

-- name: an_account_is_in_another_currency
-- late: parties, totals, schedules
UPDATE ledger.accounts SET currency = 'USD' WHERE id = :alice;

-- name: an_account_counts_one_entry_more
-- alice: versions
UPDATE ledger.accounts SET version = version + 1 WHERE id = :alice;

-- name: an_entry_is_numbered_after_all_others
-- alice: entries, balances, running_balances, versions, failed_transactions
UPDATE ledger.entries SET version = 99 WHERE account_id = :alice AND version = 2;

-- name: an_account_counts_one_step_more
-- alice: sequences
UPDATE ledger.accounts SET sequence = sequence + 1 WHERE id = :alice;

-- name: the_system_account_counts_one_step_more
-- system: sequences
UPDATE ledger.accounts SET sequence = sequence + 1 WHERE id = :system;

-- name: an_entry_of_the_system_account_counts_one_step_more
-- system: sequences, versions
UPDATE ledger.entries SET sequence = sequence + 1 WHERE account_id = :system AND version = 1;

-- name: an_account_holds_one_back
-- alice: holds
UPDATE ledger.accounts SET held = 1 WHERE id = :alice;

-- name: an_account_is_one_below_zero
-- alice: overdrafts, holds
ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_never_overdrawn;
UPDATE ledger.accounts SET held = balance + 1 WHERE id = :alice;

-- name: an_account_was_one_below_zero
-- alice: overdrafts, running_balances
UPDATE ledger.entries SET balance_after = -1 WHERE account_id = :alice AND version = 1;

-- name: an_account_is_one_above_the_limit
-- alice: totals, balances, overdrafts
ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_balance_limit;
UPDATE ledger.accounts SET balance = 9007199254740992 WHERE id = :alice;

-- name: an_account_was_one_above_the_limit
-- alice: overdrafts, running_balances
UPDATE ledger.entries SET balance_after = 9007199254740992
WHERE account_id = :alice AND version = 1;

-- name: an_accounts_user_is_gone
-- alice: owners
DELETE FROM identity.users WHERE id = :alice_user;

-- name: an_account_says_that_its_owner_is_verified
-- alice: owners
UPDATE ledger.accounts SET email_verified = true WHERE id = :alice;

-- name: a_user_has_no_account
-- unknown: owners
INSERT INTO identity.users (id, email, password_hash)
VALUES (:unknown, 'unknown@example.com', 'none');

-- name: an_entry_counts_one_step_more
-- alice: events
UPDATE ledger.entries SET sequence = sequence + 1
WHERE account_id = :alice AND transaction_id = :late;

-- name: an_event_in_the_middle_is_gone
-- alice: sequences, operation_events
DELETE FROM outbox.events WHERE account_id = :alice AND transaction_id IS NULL;

-- name: the_last_event_is_gone
-- alice: sequences, events
DELETE FROM outbox.events WHERE account_id = :alice AND transaction_id = :late;

-- name: an_event_names_another_transaction
-- late: events, idempotency_keys
UPDATE outbox.events SET transaction_id = :early
WHERE account_id = :alice AND transaction_id = :late;

-- name: an_event_names_another_outcome
-- failed: events
UPDATE outbox.events SET type = 'transaction.completed' WHERE transaction_id = :failed;

-- name: an_event_of_the_receiver_names_the_sender
-- late: events
UPDATE outbox.events SET actor_id = :alice_user WHERE account_id = :bob AND transaction_id = :late;

-- name: an_event_of_the_receiver_names_the_request
-- bob: events
UPDATE outbox.events SET request_id = 'req_other'
WHERE account_id = :bob AND transaction_id = :late;

-- name: an_event_names_an_unknown_transaction
-- alice: events, operation_events
UPDATE outbox.events SET type = 'transaction.completed'
WHERE account_id = :alice AND transaction_id IS NULL;

-- name: retention_forgot_to_say_how_far_it_went
-- bob: sequences, events
DELETE FROM outbox.events WHERE account_id = :bob AND sequence <= 2;

-- name: retention_went_further_than_it_says
-- bob: sequences, events
DELETE FROM outbox.events WHERE account_id = :bob AND sequence <= 2;
INSERT INTO outbox.retention_watermarks (account_id, up_to_sequence) VALUES (:bob, 1);

-- name: retention_says_more_than_there_was
-- bob: sequences
INSERT INTO outbox.retention_watermarks (account_id, up_to_sequence) VALUES (:bob, 1000000);

-- name: retention_names_an_unknown_account
-- unknown: sequences
INSERT INTO outbox.retention_watermarks (account_id, up_to_sequence) VALUES (:unknown, 1);

-- name: an_event_is_of_another_moment
-- late: events
UPDATE outbox.events SET created_at = created_at + interval '1 microsecond'
WHERE account_id = :bob AND transaction_id = :late;

-- name: an_event_belongs_to_an_unknown_account
-- unknown: events
INSERT INTO outbox.events (account_id, sequence, created_at, type, data)
VALUES (:unknown, 1, now(), 'account.updated', '{}');

-- name: the_system_account_has_an_event
-- system: events
INSERT INTO outbox.events (account_id, sequence, created_at, type, data)
VALUES (:system, 1, now(), 'account.updated', '{}');

-- name: a_failure_left_one_more
-- failed: failed_transactions
UPDATE ledger.failed_transactions SET balance_after = balance_after + 1
WHERE transaction_id = :failed;

-- name: a_failure_stands_one_entry_later
-- failed: failed_transactions
UPDATE ledger.failed_transactions SET version = version + 1 WHERE transaction_id = :failed;

-- name: a_failure_is_gone
-- failed: failed_transactions, events
DELETE FROM ledger.failed_transactions WHERE transaction_id = :failed;

-- name: a_failure_is_of_another_moment
-- failed: failed_transactions
UPDATE ledger.failed_transactions SET created_at = created_at + interval '1 microsecond'
WHERE transaction_id = :failed;

-- name: a_failure_stands_before_the_entry_that_it_follows
-- failed: failed_transactions, events
UPDATE ledger.failed_transactions SET sequence = 2 WHERE transaction_id = :failed;
UPDATE ledger.transactions SET failure_sequence = 2 WHERE id = :failed;

-- name: a_failure_stands_after_the_next_entry
-- failed: failed_transactions, events
UPDATE ledger.failed_transactions SET sequence = 4 WHERE transaction_id = :failed;
UPDATE ledger.transactions SET failure_sequence = 4 WHERE id = :failed;

-- name: a_failure_follows_an_entry_that_is_not_there
-- failed: failed_transactions
UPDATE ledger.failed_transactions SET version = 99, balance_after = 0
WHERE transaction_id = :failed;

-- name: a_transaction_names_another_failure
-- failed: failed_transactions
UPDATE ledger.transactions SET failure_sequence = failure_sequence + 1 WHERE id = :failed;

-- name: a_key_is_gone
-- late: idempotency_keys
DELETE FROM ledger.idempotency_keys WHERE transaction_id = :late;

-- name: a_transaction_has_two_keys
-- late: idempotency_keys
INSERT INTO ledger.idempotency_keys
SELECT principal_id, transaction_id, created_at, http_status, 'another', fingerprint, answer
FROM ledger.idempotency_keys WHERE transaction_id = :late;

-- name: a_key_names_a_transaction_that_is_not_there
-- late: idempotency_keys
UPDATE ledger.idempotency_keys SET transaction_id = :unknown WHERE transaction_id = :late;

-- name: a_key_answers_another_status
-- late: idempotency_keys
UPDATE ledger.idempotency_keys SET http_status = 402 WHERE transaction_id = :late;

-- name: a_key_of_a_failure_says_it_is_done
-- failed: idempotency_keys
UPDATE ledger.idempotency_keys SET http_status = 201 WHERE transaction_id = :failed;

-- name: a_key_of_a_refusal_says_it_is_done
-- alice_user: idempotency_keys, audit
UPDATE ledger.idempotency_keys SET http_status = 200
WHERE transaction_id IS NULL AND principal_id = :alice_user AND http_status = 422;

-- name: a_key_of_the_operator_says_it_is_done
-- system: idempotency_keys
UPDATE ledger.idempotency_keys SET http_status = 201
WHERE transaction_id IS NULL AND principal_id = :system;

-- name: a_key_is_of_another_moment
-- late: idempotency_keys
UPDATE ledger.idempotency_keys SET created_at = created_at + interval '1 microsecond'
WHERE transaction_id = :late;

-- name: a_key_belongs_to_the_receiver
-- late: idempotency_keys
UPDATE ledger.idempotency_keys k SET principal_id = a.user_id FROM ledger.accounts a
WHERE a.id = :bob AND k.transaction_id = :late;

-- name: a_key_belongs_to_an_unknown_user
-- unknown: idempotency_keys
UPDATE ledger.idempotency_keys SET principal_id = :unknown
WHERE transaction_id IS NULL AND http_status = 200 AND principal_id = :system;

-- name: an_event_names_another_key
-- late: idempotency_keys
UPDATE outbox.events SET idempotency_key = 'another'
WHERE account_id = :alice AND transaction_id = :late;

-- name: an_audit_row_is_gone
-- late: audit
DELETE FROM audit.log WHERE subject_id = :late;

-- name: a_transaction_has_two_audit_rows
-- late: audit
INSERT INTO audit.log (created_at, actor_id, subject_id, action)
SELECT created_at, actor_id, subject_id, action FROM audit.log WHERE subject_id = :late;

-- name: an_audit_row_names_another_user
-- late: audit
UPDATE audit.log SET actor_id = :unknown WHERE subject_id = :late;

-- name: an_audit_row_names_another_outcome
-- failed: audit
UPDATE audit.log SET action = 'transaction.completed' WHERE subject_id = :failed;

-- name: an_audit_row_is_of_another_moment
-- late: audit
UPDATE audit.log SET created_at = created_at + interval '1 microsecond' WHERE subject_id = :late;

-- name: an_audit_row_names_an_unknown_transaction
-- unknown: audit
INSERT INTO audit.log (created_at, subject_id, action)
VALUES (now(), :unknown, 'transaction.completed');

-- name: an_audit_row_names_an_unknown_account
-- unknown: audit
INSERT INTO audit.log (created_at, subject_id, action)
VALUES (now(), :unknown, 'account.updated');

-- name: a_refusal_has_no_audit_row
-- alice_user: audit
DELETE FROM audit.log WHERE action = 'transaction.refused';
